"""The fragment of a webhook's URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.overrides import BAD_EDGE, BAD_RETRY_POLICY, DEFAULT, POLICIES, overrides_of

URL = "https://app.example/sms"


def test_a_url_without_a_fragment_has_none() -> None:
    assert overrides_of(URL) is DEFAULT
    assert DEFAULT.retries == 1
    assert DEFAULT.retried == {"ct"}


def test_each_key_is_read() -> None:
    found = overrides_of(f"{URL}#rc=3&rp=5xx,rt&ct=2000&rt=3000&tt=9000")
    assert (found.retries, found.retried) == (3, {"5xx", "rt"})
    assert (found.connect_s, found.read_s, found.total_s) == (2.0, 3.0, 9.0)
    assert found.problem == 0


def test_all_is_every_policy() -> None:
    assert overrides_of(f"{URL}#rp=all").retried == POLICIES


@pytest.mark.parametrize(
    ("key", "name", "low", "high"),
    [
        ("ct", "connect_s", 100, 10_000),
        ("rt", "read_s", 100, 15_000),
        ("tt", "total_s", 100, 15_000),
    ],
)
def test_times_have_a_range(key: str, name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(overrides_of(f"{URL}#{key}={value}"), name) == value / 1000
    for value in (low - 1, high + 1):
        assert getattr(overrides_of(f"{URL}#{key}={value}"), name) is None


@pytest.mark.parametrize(("text", "retries"), [("0", 0), ("5", 5), ("6", 1), ("-1", 1), ("x", 1)])
def test_retries_have_a_range(text: str, retries: int) -> None:
    assert overrides_of(f"{URL}#rc={text}").retries == retries


def test_a_wrong_policy_or_edge_is_named_and_the_rest_holds() -> None:
    found = overrides_of(f"{URL}#rp=6xx&rc=2")
    assert (found.problem, found.retries, found.retried) == (BAD_RETRY_POLICY, 2, {"ct"})
    assert overrides_of(f"{URL}#e=atlantis").problem == BAD_EDGE
    assert overrides_of(f"{URL}#e=dublin,ashburn").problem == 0


@given(st.text(max_size=60))
def test_no_fragment_breaks_it(text: str) -> None:
    found = overrides_of(f"{URL}#{text}")
    assert 0 <= found.retries <= 5

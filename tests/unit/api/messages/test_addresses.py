"""The forms of a `From`, remembered and not."""

from __future__ import annotations

import pytest

from gateway.api.messages import addresses
from gateway.api.messages.addresses import KEPT_LENGTH, normal_sender


@pytest.mark.parametrize(
    ("text", "filed"),
    [
        ("+447700900101", "+447700900101"),
        ("447700900101", "+447700900101"),
        ("12345", "12345"),
        ("Tandem", "Tandem"),
        ("+44770", None),
        ("", None),
    ],
)
def test_a_from_is_filed_the_same_way_each_time(text: str, filed: str | None) -> None:
    assert [normal_sender(text) for _ in range(2)] == [filed, filed]


@pytest.mark.parametrize(("length", "kept"), [(KEPT_LENGTH, 1), (KEPT_LENGTH + 1, 0)])
def test_what_is_long_is_not_remembered(length: int, kept: int) -> None:
    addresses._filed.cache_clear()
    assert normal_sender("x" * length) is None
    assert addresses._filed.cache_info().currsize == kept

"""The limit of open files at start."""

from __future__ import annotations

import logging
import resource

import pytest

from gateway.runtime.open_files import ENOUGH, raise_open_files


@pytest.mark.parametrize(
    ("soft", "hard", "warned"),
    [(1024, 4096, False), (1024, 4095, True), (4096, 4096, False), (1024, 1024, True)],
)
def test_it_is_raised_to_the_hard_limit_and_too_little_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    soft: int,
    hard: int,
    warned: bool,
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: limits.append(both))
    with caplog.at_level(logging.WARNING):
        assert raise_open_files() == hard
    assert limits[-1] == (hard, hard)
    assert (str(ENOUGH) in caplog.text and "LimitNOFILE" in caplog.text) == warned


def test_a_system_that_gives_no_more_is_lived_with(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(which: int, both: tuple[int, int]) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_open_files() == 256
    assert "stays at 256" in caplog.text

"""What the log says of a database that is away: its beginning, a count now and then, its end."""

from __future__ import annotations

import io
import logging

import pytest

from gateway.observe.logs import TextFormatter, set_up_logging
from gateway.observe.outage_log import AWAY, EVERY_S, OUTAGE, SILENT_S, Outage

GONE = "database: Connection refused"


class Log:
    """A log with the filter, and a clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.outage = Outage(lambda: self.now)
        self.lines: list[str] = []

    def at(self, now: float, *, event: bool = True) -> bool:
        """Whether a line at that moment is shown."""
        self.now = now
        record = logging.makeLogRecord({"msg": GONE, **(AWAY if event else {})})
        shown = self.outage.filter(record)
        if shown:
            self.lines.append(TextFormatter().format(record))
        return shown


def test_the_first_line_is_shown_and_then_one_in_ten_seconds_with_a_count() -> None:
    log = Log()
    assert log.at(100.0)
    for n in range(99):
        assert not log.at(100.0 + n * 0.1)
    assert not log.at(100.0 + EVERY_S - 0.001)
    assert log.at(100.0 + EVERY_S)
    assert "left_out" not in log.lines[0]
    assert "left_out=100" in log.lines[1]
    assert not log.at(100.0 + 2 * EVERY_S - 0.001)
    assert log.at(100.0 + 2 * EVERY_S)
    assert "left_out=1]" in log.lines[2]


def test_an_outage_of_twenty_seconds_is_three_lines_and_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()
    shown = sum(log.at(100.0 + n / 28) for n in range(20 * 28 + 1))
    assert shown == 3
    log.outage.look(available=True)
    assert caplog.messages == []
    log.now += SILENT_S
    log.outage.look(available=True)
    assert caplog.messages == ["the database is back, after 20.0 s"]
    log.now += 100.0
    log.outage.look(available=True)
    assert len(caplog.messages) == 1


def test_other_lines_are_shown_meanwhile() -> None:
    log = Log()
    log.at(100.0)
    assert all(log.at(100.0, event=False) for _ in range(10))


def test_the_drivers_pool_is_one_of_those_who_complain_and_shows_no_traceback() -> None:
    log = Log()
    error = ConnectionError("refused")
    failed = {"name": "asyncpg.pool", "msg": "retrying", "exc_info": (type(error), error, None)}
    first, second = logging.makeLogRecord(failed), logging.makeLogRecord(failed)
    assert log.outage.filter(first)
    assert not log.outage.filter(second)
    assert TextFormatter().format(first).endswith("asyncpg.pool: retrying: refused")
    other = logging.makeLogRecord({"name": "asyncpg.pool", "msg": "slow to close"})
    assert log.outage.filter(other)


def test_it_is_over_when_the_database_is_there_and_nobody_complained_for_a_moment(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()
    log.at(100.0)
    log.now = 100.0 + SILENT_S - 0.001
    log.outage.look(available=True)
    log.now = 200.0
    log.outage.look(available=False)
    assert caplog.messages == []
    log.outage.look(available=True)
    assert len(caplog.messages) == 1


def test_the_beginning_of_the_next_outage_is_shown_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()
    log.at(100.0)
    log.now = 102.0
    log.outage.look(available=True)
    assert log.at(102.5)
    assert len(caplog.messages) == 1


def test_the_log_that_is_set_up_has_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", out := io.StringIO())
    monkeypatch.setattr(OUTAGE, "_began", None)
    try:
        set_up_logging("info", "text")
        for _ in range(5):
            logging.getLogger("gateway").error(GONE, extra=AWAY)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        monkeypatch.setattr(OUTAGE, "_began", None)
    assert out.getvalue().count(GONE) == 1

"""Lines that a peer causes: few of each kind, with how many were left out."""

from __future__ import annotations

import logging

from gateway.observe.peer_faults import BURST, Flood, caused_by_peer


class World:
    def __init__(self, **bounds: int) -> None:
        self.now = 0.0
        self.flood = Flood(lambda: self.now, **bounds)

    def says(self, kind: str | None) -> logging.LogRecord | None:
        record = logging.makeLogRecord(dict(caused_by_peer(kind)) if kind else {})
        return record if self.flood.filter(record) else None


def test_a_kind_has_so_many_lines_a_minute_and_the_next_minute_tells_how_many_were_left_out() -> (
    None
):
    world = World()
    shown = [record for _ in range(5000) if (record := world.says("malformed PDU a"))]
    assert len(shown) == BURST
    assert [hasattr(record, "more") for record in shown] == [False] * (BURST - 1) + [True]
    world.now = 59.9
    assert world.says("malformed PDU a") is None
    world.now = 60.0
    record = world.says("malformed PDU a")
    assert record is not None
    assert vars(record)["left_out"] == 5001 - BURST


def test_other_kinds_and_what_no_peer_causes_are_shown_all_the_same() -> None:
    world = World()
    for _ in range(BURST + 1):
        world.says("malformed PDU a")
    assert world.says("malformed PDU a") is None
    assert world.says("malformed PDU b") is not None
    assert all(world.says(None) is not None for _ in range(100))


def test_the_kinds_that_are_known_are_bounded() -> None:
    world = World(most_kinds=3)
    for number in range(10):
        world.says(f"kind {number}")
    assert len(world.flood._kinds) == 3

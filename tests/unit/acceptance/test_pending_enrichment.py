"""Who is waited for holds up later mail to the same recipient, however often its batch is tried."""

from __future__ import annotations

from random import Random

from gateway.acceptance.draft import Draft, Phase
from gateway.acceptance.pending_enrichment import PendingEnrichment
from gateway.directory.directory import Directory
from gateway.messages.message import Flag, IdSource, Message
from gateway.routing.destination import parse_destination

TO = "+447700900123"
next_id = IdSource(lambda: 1_800_000_000.0, lambda: 0.0, Random(1).randbytes)


def draft(flags: int = 0) -> Draft:
    destination = parse_destination(TO)
    assert destination is not None
    return Draft(Message(next_id(), 1, TO, "hello", flags=flags), destination)


def test_a_draft_whose_batch_was_not_committed_is_counted_again_when_it_is_tried_again() -> None:
    awaited = PendingEnrichment(Directory())
    first, later = draft(Flag.MEDIA | Flag.AWAITS_MEDIA), draft()
    for _ in range(2):
        assert awaited.awaits(first)
        assert awaited.ahead_of(1, TO)
        assert awaited.awaits(later)  # it goes after the first
        for either in (first, later):
            awaited.end(either)
        assert not awaited.ahead_of(1, TO)
    assert not awaited.awaits(later)


def test_what_is_there_is_not_asked_for_again_when_its_place_is_committed() -> None:
    awaited = PendingEnrichment(Directory())
    ready = draft(Flag.MEDIA | Flag.AWAITS_MEDIA)
    assert awaited.awaits(ready)
    ready.phase = Phase.READY
    awaited.end(ready)
    assert not awaited.awaits(ready)
    assert not awaited.ahead_of(1, TO)

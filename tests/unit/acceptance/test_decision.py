"""Deciding changes nothing; what is made true is seen by the next, and is taken back whole."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from random import Random

import pytest

from gateway.acceptance.decision import NO_SERVICE, SENDER_GONE
from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.directory.directory import Directory, SenderRecord, Service
from gateway.directory.sender_rates import SenderRates
from gateway.messages.message import IdSource, Message, Status
from gateway.recipients.recipients import OPTED_OUT, MappingUse, RecipientFacts
from gateway.routing.destination import parse_destination
from gateway.routing.question import Channel, Mapping
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool

WALL = 1_800_000_000.0
NOW = datetime.fromtimestamp(WALL, UTC)
TO = "+447700900123"
next_id = IdSource(lambda: WALL, lambda: 0.0, Random(1).randbytes)


class StandingClock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return WALL


def number(id: int) -> Sender:
    return Sender(id, f"PN{id}", SenderKind.LONG_CODE, f"+44770090020{id}", "GB", carrier_id=1)


def record(sender: Sender) -> SenderRecord:
    return SenderRecord(sender, 1, sender.address, False, {}, NOW, NOW, service_id=1)


@pytest.fixture
def directory() -> Directory:
    """One account with one service of two numbers."""
    directory = Directory()
    numbers = [number(1), number(2)]
    service = Service(1, "MG1", 1, "alerts", {}, NOW, NOW, SenderPool(numbers))
    directory.services_by_id[1] = directory.services["MG1"] = service
    for sender in numbers:
        directory.senders_by_id[sender.id] = record(sender)
    return directory


@pytest.fixture
def router(directory: Directory) -> Router:
    return Router(directory, StandingClock(), SenderRates(directory))


def draft(to: str = TO, **asked: object) -> Draft:
    destination = parse_destination(to)
    assert destination is not None
    message = Message(next_id(), 1, to, "hello", service_id=1)
    return Draft(message, destination, **asked)  # type: ignore[arg-type]


def standing(router: Router) -> list[tuple[float, int, float]]:
    loads = router.loads
    return [(loads.backlog(id), loads.mappings(id), loads.last_used(id)) for id in (1, 2)]


def test_the_same_question_has_the_same_answer_and_leaves_no_trace(router: Router) -> None:
    asked = draft()
    router.prepare(asked)
    facts = RecipientFacts(wall=WALL)
    before, known = standing(router), deepcopy(facts)
    first = router.decider.decide(asked, facts, WALL, fresh=True)
    assert first == router.decider.decide(asked, facts, WALL, fresh=True)
    assert first.sender is not None
    assert first.mapping is MappingUse.MADE
    assert (standing(router), facts) == (before, known)
    assert asked.message.sender_address is None
    assert asked.message.status is Status.ACCEPTED


def test_a_later_one_of_the_batch_sees_what_was_decided_before_it(router: Router) -> None:
    facts = RecipientFacts(wall=WALL)
    batch = [draft(), draft("+447700900124"), draft()]
    router.route(batch, facts)
    first, other, again = (made.message.sender_id for made in batch)
    assert {first, other} == {1, 2}
    assert again == first  # by the mapping that the first has just made
    assert sum(mappings for _, mappings, _ in standing(router)) == 2


def test_what_is_not_committed_is_taken_back_whole(router: Router) -> None:
    before = [entry[:2] for entry in standing(router)]
    facts = RecipientFacts(wall=WALL)
    batch = [draft(), draft("+447700900124"), draft()]
    router.route(batch, facts)
    router.undo(batch, facts)
    assert [entry[:2] for entry in standing(router)] == before
    assert {made.message.status for made in batch} == {Status.ACCEPTED}
    assert {made.message.sender_id for made in batch} == {0}


def test_a_mapping_to_a_number_that_is_gone_is_void_and_another_is_made(router: Router) -> None:
    asked = draft()
    router.prepare(asked)
    facts = RecipientFacts(wall=WALL, mappings={asked.key: Mapping(9, WALL, WALL)})
    decision = router.decider.decide(asked, facts, WALL, fresh=True)
    assert decision.voids
    assert decision.mapping is MappingUse.MADE
    assert facts.mappings[asked.key].sender_id == 9  # until it is made true
    router.route([asked], facts)
    assert facts.mappings[asked.key].sender_id == asked.message.sender_id
    assert facts.dropped == {asked.key: 9}


@pytest.mark.parametrize(
    ("scope", "shown"), [(1, None), (-1, "+447700900201")], ids=["service", "number"]
)
def test_a_block_refuses_and_shows_the_from_that_was_asked_for(
    router: Router, scope: int, shown: str | None
) -> None:
    asked = draft(from_address=shown)
    facts = RecipientFacts(wall=WALL, blocks={(TO, int(Channel.SMS)): {scope}})
    router.route([asked], facts)
    assert asked.message.status is Status.FAILED
    assert asked.message.error_code == OPTED_OUT
    assert asked.message.sender_address == shown
    assert standing(router) == [(0, 0, 0.0)] * 2


def test_what_was_deleted_while_the_message_waited(directory: Directory, router: Router) -> None:
    of_service, of_number = draft(), draft(from_record=record(number(9)))
    of_number.message.service_id = None
    del directory.services_by_id[1]
    facts = RecipientFacts(wall=WALL)
    assert router.decider.decide(of_service, facts, WALL, fresh=True).code == NO_SERVICE
    assert router.decider.decide(of_number, facts, WALL, fresh=True).code == SENDER_GONE

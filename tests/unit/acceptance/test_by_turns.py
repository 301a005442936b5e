"""Large units wait in the order they came, account by account in turn."""

from __future__ import annotations

from random import Random

from gateway.acceptance.committer import AcceptUnit, ByTurns
from gateway.acceptance.draft import Draft
from gateway.messages.message import IdSource, Message
from gateway.routing.destination import parse_destination
from storage.idempotency import IdempotencyKey

TO = parse_destination("+441632960675")
next_id = IdSource(lambda: 1_700_000_000.0, lambda: 0.0, Random(1).randbytes)


def unit(account_id: int, messages: int = 1) -> AcceptUnit:
    assert TO is not None
    drafts = [
        Draft(Message(next_id(), account_id, TO.e164, "x", service_id=1), TO)
        for _ in range(messages)
    ]
    return AcceptUnit(drafts, lambda error: None)


def test_each_account_has_its_turn() -> None:
    waiting = ByTurns()
    units = [unit(1), unit(1), unit(1), unit(2), unit(3), unit(2)]
    for each in units:
        waiting.append(each)
    assert len(waiting) == 6
    taken = [waiting.popleft() for _ in units]
    assert [each.drafts[0].message.account_id for each in taken] == [1, 2, 3, 1, 2, 1]
    assert [each for each in taken if each in units[:3]] == units[:3]
    assert not waiting


def test_the_messages_of_an_account_that_wait_are_counted() -> None:
    waiting = ByTurns()
    for each in (unit(1, 3), unit(2, 4), unit(1, 5)):
        waiting.append(each)
    assert [waiting.messages_of(account) for account in (1, 2, 3)] == [8, 4, 0]
    waiting.popleft()
    assert waiting.messages_of(1) == 5
    waiting.popleft()
    assert waiting.messages_of(2) == 0
    waiting.clear()
    assert (len(waiting), waiting.messages_of(1)) == (0, 0)


def test_a_unit_without_messages_waits_as_its_keys_account() -> None:
    waiting = ByTurns()
    key = IdempotencyKey(7, "k", b"", next_id())
    waiting.append(AcceptUnit((), lambda error: None, key=key))
    waiting.append(AcceptUnit((), lambda error: None))
    assert len(waiting) == 2

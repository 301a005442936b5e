"""Receipts that wait for their response, and the time that a receipt tells."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.receipts import HeldReceipt, Receipts
from gateway.content.encoding import encode
from gateway.messages.lifecycle import Lifecycle
from gateway.messages.message import IdSource, Message, Status
from gateway.observe.alerts import Alerts
from gateway.observe.wall import Walls
from gateway.submission.write_behind import WriteBehind
from smpp.pdu import DeliverSm, SmeAddress
from smpp.receipt import parse_receipt
from smpp.vocabulary import RECEIPTED_MESSAGE_ID

NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC).timestamp()
next_id = IdSource(lambda: NOW - 60, lambda: 0.0, Random(1).randbytes)


class StandingClock:
    def monotonic(self) -> float:
        return 100.0

    def wall(self) -> float:
        return NOW


def receipts(profile: Profile | None = None) -> Receipts:
    """The stage with nothing running: what is to be written is only noted."""
    # No spelling changes here, and nothing breaks, so no alert is raised.
    runtime: Any = SimpleNamespace(
        database="postgresql://nowhere",
        clock=StandingClock(),
        alerts=None,
        walls=Walls(cast(Alerts, None)),
        live={},
        journal=None,
    )
    writer = WriteBehind(runtime, lambda message: None, lambda message: None)
    lifecycle = Lifecycle(StandingClock(), writer.moved, lambda message: None)
    ways: Any = SimpleNamespace(profile=lambda _: profile, name=str)
    return Receipts(runtime, writer, lifecycle, ways)


def sent(recipient: str) -> Message:
    one = Message(next_id(), 1, recipient, "hello", service_id=1)
    one.content = encode("hello")
    one.segments, one.carrier_id, one.sender_address = 1, 1, "+447700900101"
    one.status, one.sent_at = Status.SENT, NOW - 50
    return one


def held(raw_id: str, recipient: str, done: str = "2611241200") -> HeldReceipt:
    delivery = DeliverSm(
        SmeAddress(1, 1, recipient.lstrip("+")),
        SmeAddress(1, 1, "447700900101"),
        f"id:{raw_id} submit date:{done} done date:{done} stat:DELIVRD err:000 text:".encode(),
        esm_class=0x04,
    )
    receipt = parse_receipt(delivery)
    assert receipt is not None
    return HeldReceipt(1, receipt, delivery, 160.0)


def test_a_held_receipt_is_found_by_any_spelling_and_leaves_nothing_behind() -> None:
    stage = receipts()
    for number in range(500):
        stage._hold(held(str(number + 1000), f"+44163296{number:04d}"))
    assert stage.held == 500
    for number in range(500):
        message = sent(f"+44163296{number:04d}")
        stage.expect(message, 0, f"{number + 1000:x}")  # the response is in hex
        assert message.status is Status.DELIVERED
    assert stage.held == 0
    assert stage._held == {}
    assert stage._spelt == {}


@pytest.mark.parametrize("answered", ["31", "77", " 31 "])
def test_a_held_receipt_is_found_by_each_of_its_ids_and_leaves_nothing_behind(
    answered: str,
) -> None:
    stage = receipts()
    there = held("77", "+441632960001")
    there.delivery.tlvs = ((RECEIPTED_MESSAGE_ID, b" 31 \0"),)
    receipt = stage._parse(1, there.delivery)
    assert receipt is not None
    stage._hold(HeldReceipt(1, receipt, there.delivery, 160.0))
    message = sent("+441632960001")
    stage.expect(message, 0, answered)
    assert message.status is Status.DELIVERED
    assert (stage.held, stage._held, stage._spelt) == (0, {}, {})


@pytest.mark.parametrize(("to", "meant"), [("+441632960001", True), ("+441632960002", False)])
def test_the_id_in_the_text_counts_where_that_of_the_tlv_finds_nothing_and_addresses_agree(
    to: str, meant: bool
) -> None:
    stage = receipts()
    there = held("77", "+441632960001")
    there.delivery.tlvs = ((RECEIPTED_MESSAGE_ID, b"31\0"),)
    there.receipt = stage._parse(1, there.delivery) or there.receipt
    message = sent(to)
    stage.expect(message, 0, "77")
    stage._match(there, {}, {})
    assert (message.status is Status.DELIVERED) is meant
    assert stage.held == (0 if meant else 1)
    other = sent("+441632960001")
    stage.expect(other, 0, "31")
    assert (other.status is Status.DELIVERED) is not meant


def test_a_held_receipt_for_another_recipient_waits_on() -> None:
    stage = receipts()
    stage._hold(held("31", "+441632960001"))
    message = sent("+441632960002")
    stage.expect(message, 0, "1f")
    assert message.status is Status.SENT
    assert stage.held == 1


@pytest.mark.parametrize(
    ("offset_minutes", "done", "told"),
    [
        (0, "261124120010", NOW - 20),  # UTC
        (-300, "261124070010", NOW - 20),  # the same moment in New York
        (330, "261124173010", NOW - 20),  # and in Delhi
        (0, "261124070010", NOW),  # before it was sent: not believed
        (0, "261124120031", NOW),  # after now
        (0, "soon", NOW),
    ],
)
def test_the_time_of_a_receipt_is_read_in_the_carriers_zone_if_it_can_be_true(
    offset_minutes: int, done: str, told: float
) -> None:
    stage = receipts(Profile(receipt_utc_offset_minutes=offset_minutes))
    message = sent("+441632960001")
    stage._hold(held("1f", "+441632960001", done))
    stage.expect(message, 0, "1f")
    assert message.status is Status.DELIVERED
    assert message.done_at == told


def test_memory_keeps_the_segments_that_were_answered_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.channels.smpp.receipts.RECENT", 3)
    stage = receipts()
    message = sent("+447400900001")
    for n in range(3):
        stage.expect(message, 1, f"{n}")
    assert [name for _, name in stage._recent] == ["0", "1", "2"]
    for n in range(3, 10):
        stage.expect(message, 1, f"{n}")
    assert [name for _, name in stage._recent] == ["7", "8", "9"]


async def come(stage: Receipts, *several: HeldReceipt) -> None:
    """These receipts come, and memory is all that there is: nothing is in a table."""
    for one in several:
        stage.received(1, one.delivery, lambda *_: None)
    for one in stage._unlooked:
        stage._hold(one)
    stage._unlooked.clear()


async def test_one_id_for_two_messages_means_the_one_whose_addresses_agree() -> None:
    stage = receipts()
    first, second = sent("+13125550188"), sent("+13125550199")
    for message in (first, second):
        stage.expect(message, 0, "TWICE")
    await come(stage, held("TWICE", "+13125550188"))
    assert (first.status, second.status) == (Status.DELIVERED, Status.SENT)
    await come(stage, held("TWICE", "+13125550199"))
    assert second.status is Status.DELIVERED


async def test_one_id_for_many_messages_is_told_apart_by_the_addresses_of_each() -> None:
    stage = receipts()
    messages = [sent(f"+1312555{number:04d}") for number in range(50)]
    for message in messages:
        stage.expect(message, 0, "0")
    for message in reversed(messages):
        await come(stage, held("0", message.recipient))
        assert message.status is Status.DELIVERED
    assert stage.held == 0


async def test_a_receipt_of_nobody_among_several_waits() -> None:
    stage = receipts()
    first, second = sent("+13125550188"), sent("+13125550199")
    for message in (first, second):
        stage.expect(message, 0, "TWICE")
    await come(stage, held("TWICE", "+13125550100"))
    assert (first.status, second.status) == (Status.SENT, Status.SENT)
    assert stage.held == 1


async def test_receipts_before_their_responses_find_their_own_under_one_id() -> None:
    stage = receipts()
    first, second = sent("+13125550188"), sent("+13125550199")
    await come(stage, held("TWICE", "+13125550199"), held("TWICE", "+13125550188"))
    stage.expect(first, 0, "TWICE")
    assert (first.status, second.status, stage.held) == (Status.DELIVERED, Status.SENT, 1)
    stage.expect(second, 0, "TWICE")
    assert (second.status, stage.held) == (Status.DELIVERED, 0)


async def test_the_parts_of_a_message_may_all_have_one_id() -> None:
    stage = receipts()
    message = sent("+13125550188")
    message.segments = 3
    for segment in range(3):
        stage.expect(message, segment, "ALL")
    for status in (Status.SENT, Status.SENT, Status.DELIVERED):
        await come(stage, held("ALL", "+13125550188"))
        assert message.status is status


async def test_an_id_that_came_round_again_means_the_latest_message() -> None:
    stage = receipts()
    old, new = sent("+13125550188"), sent("+13125550188")
    old.sent_at = new.sent_at - 1_000
    for message in (old, new):
        stage.expect(message, 0, "ROUND")
    await come(stage, held("ROUND", "+13125550188"))
    assert (old.status, new.status) == (Status.SENT, Status.DELIVERED)


async def test_after_its_wait_a_receipt_with_odd_addresses_is_believed_if_one_had_its_id() -> None:
    stage = receipts()
    message = sent("+13125550188")
    odd = held("ODD", "+13125550100")
    odd.until = 0.0
    stage._hold(odd)
    stage.expect(message, 0, "ODD")
    assert message.status is Status.SENT
    stage._orphan_old()
    assert (message.status, stage.held) == (Status.DELIVERED, 0)

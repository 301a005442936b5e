"""What Explain shows of a message is the message's own: sequence numbers come round again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.channels.smpp import journal_view
from gateway.observe.journal import Journal
from smpp import codec
from smpp import vocabulary as v
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from storage.ids import id_from_bytes
from storage.messages import MessageRow

BEGAN = 1_000_000.0
SENDER, OURS, THEIRS = "15550001111", "447900000001", "447900000002"
RECEIPT = "id:%s sub:001 dlvrd:001 submit date:2001010000 done date:2001010000 stat:DELIVRD err:000"


class Wire:
    """A journal of one bind, a second between what is written or read."""

    def __init__(self, folder: Path) -> None:
        self.at = BEGAN
        self.journal = Journal(folder, self, keep_s=3_600.0, most_octets=10**9)

    def wall(self) -> float:
        return self.at

    monotonic = wall

    def passes(self, direction: str, *pdus: bytes, bind: str = "bind/1") -> None:
        self.journal.pdus(bind, direction, b"".join(pdus))
        self.at += 1.0

    def shown(self, recipient: str = OURS) -> list[tuple[str, str]]:
        """Direction and id of each PDU of the message to this recipient."""
        found = asyncio.run(journal_view.of_message(self.journal, row(recipient), "SM0", self.at))
        return [
            (pdu["direction"], codec.decode(bytes.fromhex(pdu["hex"])).text("message_id"))
            if pdu["summary"].startswith("submit_sm_resp")
            else (pdu["direction"], pdu["summary"].split()[0])
            for pdu in found["pdus"]
        ]


def row(recipient: str) -> MessageRow:
    fields: dict[str, Any] = {
        "id": id_from_bytes(int(BEGAN * 1000).to_bytes(6, "big") + bytes(10)),
        "account_id": 1,
        "recipient": f"+{recipient}",
        "sender": f"+{SENDER}",
        "reference": 0,
        "sent_at": None,
        "done_at": None,
    }
    return cast(MessageRow, fields)


def submit(recipient: str, sequence: int) -> bytes:
    source, destination = SmeAddress(1, 1, SENDER), SmeAddress(1, 1, recipient)
    return codec.encode_submit(SubmitSm(source, destination, b"hello"), sequence)


def answer(sequence: int, name: str, status: int = 0) -> bytes:
    return codec.encode_submit_resp(sequence, name.encode(), status)


def receipt(name: str, recipient: str, sequence: int) -> bytes:
    source, destination = SmeAddress(1, 1, recipient), SmeAddress(1, 1, SENDER)
    text = (RECEIPT % name).encode()
    return codec.encode_deliver(
        SubmitSm(source, destination, text, esm_class=v.ESM_RECEIPT), sequence
    )


def taken(sequence: int) -> bytes:
    return codec.encode_submit_resp(sequence, b"", 0, v.DELIVER_SM_RESP)


def bind() -> bytes:
    fields = {"system_id": "tandem", "password": "x"}
    return codec.encode(Pdu(v.BIND_TRANSCEIVER, 1, fields=cast(Any, fields)))


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path)


def test_an_answer_on_the_next_connection_is_somebody_elses(wire: Wire) -> None:
    wire.passes("out", bind(), submit(OURS, 2))
    wire.passes("in", answer(2, "ours"), receipt("ours", OURS, 7))
    wire.passes("out", taken(7))
    wire.passes("out", bind())
    wire.passes("out", submit(THEIRS, 2))
    wire.passes("in", answer(2, "theirs"), receipt("theirs", THEIRS, 7))
    wire.passes("out", taken(7))
    assert wire.shown() == [
        ("out", "submit_sm"),
        ("in", "ours"),
        ("in", "deliver_sm"),
        ("out", "deliver_sm_resp"),
    ]
    assert ("in", "ours") not in wire.shown(THEIRS)
    assert ("in", "theirs") in wire.shown(THEIRS)


def test_what_was_never_answered_has_nobody_elses_answer(wire: Wire) -> None:
    wire.passes("out", bind(), submit(OURS, 2))
    wire.passes("out", bind())
    wire.passes("in", answer(2, "of what was never written here"))
    wire.passes("out", submit(THEIRS, 2))
    wire.passes("in", answer(2, "theirs", 0x58))
    assert wire.shown() == [("out", "submit_sm")]


def test_a_number_that_comes_round_on_one_connection_is_its_last_requests(wire: Wire) -> None:
    wire.passes("out", submit(OURS, 2))
    wire.passes("out", submit(THEIRS, 2))
    wire.passes("in", answer(2, "theirs"))
    assert wire.shown() == [("out", "submit_sm")]


def test_a_bind_beside_it_changes_nothing(wire: Wire) -> None:
    wire.passes("out", submit(OURS, 2))
    wire.passes("out", bind(), bind="bind/2")
    wire.passes("out", submit(THEIRS, 2), bind="bind/2")
    wire.passes("in", answer(2, "theirs"), bind="bind/2")
    wire.passes("in", answer(2, "ours"))
    assert wire.shown() == [("out", "submit_sm"), ("in", "ours")]


def test_all_answers_of_a_carrier_that_gives_several_are_shown(wire: Wire) -> None:
    wire.passes("out", submit(OURS, 2), submit(OURS, 3))
    wire.passes("in", answer(2, "", 0x58), answer(3, "b"), answer(2, "a"))
    assert wire.shown() == [
        *[("out", "submit_sm")] * 2,
        ("in", ""),
        ("in", "b"),
        ("in", "a"),
    ]

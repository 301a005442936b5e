"""However a connection is cut into reads and writes, the journal shows the same of a message."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.smpp import journal_view
from gateway.observe.journal import IN, OUT, Journal
from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.events import Delivered, SessionEvent
from smpp.framing import pieces
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from storage.ids import id_from_bytes
from storage.messages import MessageRow

NOW = 1_000_000.0
SENDER, RECIPIENTS = "15550001111", ("447900000001", "447900000002")
RECEIPT = "id:%s sub:001 dlvrd:001 submit date:2001010000 done date:2001010000 stat:DELIVRD err:000"


class Stopped:
    """A clock that stands: what came earlier is known by its place alone."""

    def wall(self) -> float:
        return NOW

    monotonic = wall


class Wire:
    """A session with a journal, read and written as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder, Stopped(), keep_s=3600.0, most_octets=10**9)
        self.session = EsmeSession(EsmeConfig("tandem", "secret"))
        self.session.connected(0.0)
        self.session.take_output()
        self.session.receive(codec.encode(Pdu(v.BIND_TRANSCEIVER | v.RESPONSE, 1)), 0.0)
        self.session.tap = partial(self.journal.pdus, "bind/1")

    def write(self, texts: Sequence[bytes], at_once: int) -> None:
        """Submit a message to each recipient, a segment of one after one of the other."""
        source = SmeAddress(1, 1, SENDER)
        for number, text in enumerate(texts):
            to = SmeAddress(1, 1, RECIPIENTS[number % 2])
            self.session.submit(SubmitSm(source, to, text), number, 0.0)
            if number % at_once == 0:
                self.session.take_output()
        self.session.take_output()

    def read(self, octets: bytes) -> None:
        for event in self.session.receive(octets, 0.0):
            self._answer(event)
        self.session.take_output()

    def _answer(self, event: SessionEvent) -> None:
        if isinstance(event, Delivered):
            self.session.answer(event.delivery)

    def view(self, recipient: str) -> dict[str, list[tuple[str, str]]]:
        """By direction: how what was read and what was written alternates, the cuts decide."""
        shown = asyncio.run(journal_view.of_message(self.journal, row(recipient), "SM0", NOW + 1))
        return {
            way: [(pdu["summary"], pdu["hex"]) for pdu in shown["pdus"] if pdu["direction"] == way]
            for way in ("in", "out")
        }

    def erase(self, recipient: str) -> None:
        asyncio.run(journal_view.erase(self.journal, row(recipient), "SM0", NOW + 1))

    def kept(self) -> list[tuple[int, bytes]]:
        """Every entry that a recipient stands in, in its order, by direction."""
        needles = [recipient.encode() for recipient in RECIPIENTS]
        found = asyncio.run(self.journal.find(1, needles, 0.0, NOW + 1))
        entries = [(entry.kind, entry.payload) for entry in found]
        return [entry for kind in (OUT, IN) for entry in entries if entry[0] == kind]

    def octets(self) -> bytes:
        return b"".join(file.read_bytes() for file in self.folder.iterdir())


def row(recipient: str) -> MessageRow:
    fields: dict[str, Any] = {
        "id": id_from_bytes(int(NOW * 1000).to_bytes(6, "big") + bytes(10)),
        "account_id": 1,
        "recipient": f"+{recipient}",
        "sender": f"+{SENDER}",
        "reference": 0,
        "sent_at": None,
        "done_at": None,
    }
    return cast(MessageRow, fields)


def stream(texts: Sequence[bytes], order: Sequence[int], noise: Sequence[int]) -> bytes:
    """What the carrier writes: answers in their order, receipts, keepalives between them."""
    came = []
    for number in order:
        if number in noise:
            came.append(HEADER.pack(16, v.ENQUIRE_LINK, 0, 1000 + number))
        if number < len(texts):
            came.append(codec.encode_submit_resp(2 + number, b"id%d" % number, 0))
            receipt = SubmitSm(
                SmeAddress(1, 1, RECIPIENTS[number % 2]),
                SmeAddress(1, 1, SENDER),
                (RECEIPT % f"id{number}").encode(),
                esm_class=v.ESM_RECEIPT,
            )
            came.append(codec.encode_deliver(receipt, 500 + number))
    came.append(HEADER.pack(16, v.UNBIND, 0, 2000))
    came.append(codec.encode_submit_resp(2, b"behind the end", 0))
    return b"".join(came)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8),
    st.permutations(range(8)),
    st.sets(st.integers(0, 7)),
    st.integers(1, 8),
    st.lists(st.integers(0, 2000), max_size=30),
)
def test_any_cutting_into_reads_and_writes_gives_the_same_view(
    texts: list[bytes], order: list[int], noise: set[int], at_once: int, cuts: list[int]
) -> None:
    octets = stream(texts, order, sorted(noise))
    edges = [0, *sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        alone, cut = Wire(Path(first)), Wire(Path(second))
        alone.write(texts, 1)
        for start, end in pieces(octets):
            alone.read(octets[start:end])
        cut.write(texts, at_once)
        for start, end in pairwise(edges):
            cut.read(octets[start:end])
        for recipient in RECIPIENTS:
            assert cut.view(recipient) == alone.view(recipient)
        assert [len(cut.view(RECIPIENTS[0])[way]) for way in ("in", "out")] == [
            2 * len(texts[::2])
        ] * 2
        assert cut.kept() == alone.kept()
        for wire in (alone, cut):
            wire.erase(RECIPIENTS[0])
            assert RECIPIENTS[0].encode() not in wire.octets()
            assert wire.view(RECIPIENTS[0]) == {"in": [], "out": []}
        assert cut.view(RECIPIENTS[1]) == alone.view(RECIPIENTS[1])
        assert cut.kept() == alone.kept()

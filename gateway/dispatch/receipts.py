"""Receipts: from a carrier's id back to the message, and its state moved.

A recent submission is in memory; an older one, or one from before a restart, is in the
`submissions` table. A receipt that finds neither waits for its response (an SMSC can be
faster than its own answer), then it is an orphan: counted, logged, never fatal. The SMSC is
answered only once the state that the receipt brought is committed: what a crash loses, it
sends again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from weakref import WeakValueDictionary

from gateway.carriers.results import receipt_result
from gateway.clock import Clock
from gateway.dispatch.message import Message
from gateway.dispatch.rows import from_row
from gateway.dispatch.states import Effect, Receipted, advance
from gateway.dispatch.writer import Writer
from smpp.pdu import DeliverSm
from smpp.receipt import Receipt, parse_receipt
from smpp.vocabulary import ESME_ROK, ESME_RX_T_APPN
from storage import messages as message_rows
from storage import submissions as submission_rows
from storage.ids import Id
from storage.pool import Connection, DatabaseUnavailable, open_connection

log = logging.getLogger(__name__)

RECENT = 200_000  # submissions remembered in memory, at most
MOST_HELD = 10_000  # ids waiting for their response; beyond it the SMSC is asked to come back
HOLD_S = 60.0  # how long a receipt waits for its response
LOOK_BACK = timedelta(days=8)  # how old a submission a receipt may still name
RETRY_S = 0.5

Answer = Callable[[DeliverSm, int], object]
Key = tuple[int, str]


class Held(NamedTuple):
    """A receipt that nothing matches yet, not answered yet."""

    receipt: Receipt
    delivery: DeliverSm
    answer: Answer
    until: float


class Receipts:
    """Matches receipts to messages; owns no message's state, moves it by `advance`."""

    def __init__(self, url: str, writer: Writer, clock: Clock) -> None:
        self._url = url
        self._writer = writer
        self._clock = clock
        self._recent: dict[Key, tuple[Message, int]] = {}
        self._held: dict[Key, list[Held]] = {}
        self._unlooked: list[Key] = []
        self._wake = asyncio.Event()
        self.live: WeakValueDictionary[Id, Message] = WeakValueDictionary()
        """Messages in memory by id, so that none is ever read a second time beside itself."""
        self.matched = 0
        self.orphans = 0
        self.unreadable = 0

    def expect(self, message: Message, segment: int, carrier_message_id: str) -> None:
        """A segment got its name at the carrier; a receipt may be here already."""
        key = (message.carrier_id, carrier_message_id)
        recent = self._recent
        recent[key] = (message, segment)
        if len(recent) > RECENT:
            del recent[next(iter(recent))]
        if self._held and key in self._held:
            for held in self._held.pop(key):
                self._apply(message, segment, held.receipt)
                self._writer.after_commit(held.answer, held.delivery, ESME_ROK)

    def received(self, carrier_id: int, delivery: DeliverSm, answer: Answer) -> None:
        """A delivery that says it is a receipt."""
        receipt = parse_receipt(delivery)
        if receipt is None:
            self.unreadable += 1
            log.warning("receipt not understood: %s", delivery.payload[:256].hex())
            answer(delivery, ESME_ROK)
            return
        key = (carrier_id, receipt.message_id)
        found = self._recent.get(key)
        if found is not None:
            self._apply(found[0], found[1], receipt)
            self._writer.after_commit(answer, delivery, ESME_ROK)
            return
        if len(self._held) >= MOST_HELD:
            answer(delivery, ESME_RX_T_APPN)
            return
        until = self._clock.monotonic() + HOLD_S
        self._held.setdefault(key, []).append(Held(receipt, delivery, answer, until))
        self._unlooked.append(key)
        self._wake.set()

    @property
    def held(self) -> int:
        return len(self._held)

    async def run(self) -> None:
        """Look up older submissions, and let go of what waited too long; until cancelled."""
        connection: Connection | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(1.0 if self._held else None):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
                if self._unlooked:
                    keys, self._unlooked = self._unlooked, []
                    try:
                        if connection is None or connection.is_closed():
                            connection = await open_connection(self._url)
                        await self._look_up(connection, keys)
                    except DatabaseUnavailable as error:
                        log.error("database: %s; receipts wait", error)
                        self._unlooked = keys + self._unlooked
                        if connection is not None:
                            connection.terminate()
                        connection = None
                        await asyncio.sleep(RETRY_S)
                        self._wake.set()
                        continue
                self._orphan_old()
        finally:
            if connection is not None:
                connection.terminate()

    async def _look_up(self, connection: Connection, keys: list[Key]) -> None:
        wanted = [key for key in dict.fromkeys(keys) if key in self._held]
        if not wanted:
            return
        since = datetime.fromtimestamp(self._clock.wall(), UTC) - LOOK_BACK
        found: dict[Key, tuple[Id, int]] = {}
        for row in await submission_rows.find(connection, wanted, since):
            key = (row["carrier_id"], row["carrier_message_id"])
            found.setdefault(key, (row["message_id"], row["segment"] - 1))
        messages = await self._load(connection, {id for id, _ in found.values()})
        for key, (id, segment) in found.items():
            message = messages.get(id)
            if message is None or key not in self._held:
                continue
            for held in self._held.pop(key):
                self._apply(message, segment, held.receipt)
                self._writer.after_commit(held.answer, held.delivery, ESME_ROK)

    async def _load(self, connection: Connection, ids: set[Id]) -> dict[Id, Message]:
        """These messages, from memory where they are, else from their rows."""
        messages = {id: message for id in ids if (message := self.live.get(id)) is not None}
        missing = [id for id in ids if id not in messages]
        if not missing:
            return messages
        rows = await message_rows.by_ids(connection, missing)
        parts = await submission_rows.of_messages(
            connection, [row["id"] for row in rows if row["segments"] > 1]
        )
        for row in rows:
            # It may have come into memory while we were reading.
            message = self.live.get(row["id"])
            if message is None:
                message = self.live[row["id"]] = from_row(row)
            messages[message.id] = message
        for part in parts:
            message = messages[part["message_id"]]
            message.answered |= 1 << (part["segment"] - 1)
            if part["receipt"] is not None:
                message.receipts |= 1 << (part["segment"] - 1)
        return messages

    def _apply(self, message: Message, segment: int, receipt: Receipt) -> None:
        """Move the message by the receipt of one segment (messaging-services §4.3).

        `delivered` when all segments say so; `undelivered` with the first that says no.
        """
        self.matched += 1
        result = receipt_result(receipt)
        if not result.final:
            return
        if result.delivered:
            message.receipts |= 1 << segment
            if message.segments > 1 and message.receipts != message.all_segments:
                self._writer.receipt(message, segment + 1, receipt.state.value)
                return
        event = Receipted(result.delivered, result.code, receipt.done_date or None)
        if advance(message, event, self._clock.wall()) is not Effect.IGNORED:
            self._writer.mark(message)

    def _orphan_old(self) -> None:
        now = self._clock.monotonic()
        for key in [key for key, held in self._held.items() if held[0].until <= now]:
            for held in self._held.pop(key):
                self.orphans += 1
                log.warning(
                    "receipt for an unknown id %s from carrier %d: %s",
                    key[1],
                    key[0],
                    held.delivery.payload[:256].hex(),
                )
                held.answer(held.delivery, ESME_ROK)

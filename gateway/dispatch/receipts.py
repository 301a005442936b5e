"""Receipts: from a carrier's id back to the message, and its state moved.

A recent submission is in memory; an older one, or one from before a restart, is in the
`submissions` table. A receipt that finds neither is kept, with its octets, and waits for its
response a while (an SMSC can be faster than its own answer); then it is an orphan: counted,
kept, shown, never fatal. The SMSC is answered once what the receipt brought is committed, and
not before: what a crash loses, it sends again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from weakref import WeakValueDictionary

from gateway.carriers.connector import MOST_ID
from gateway.carriers.profile import Profile
from gateway.carriers.results import receipt_result
from gateway.clock import Clock
from gateway.dispatch.deliveries import delivery_of, kept_row, storable
from gateway.dispatch.matching import Spelling, addresses_agree
from gateway.dispatch.message import Message
from gateway.dispatch.rows import from_row, moment
from gateway.dispatch.states import Effect, Receipted, advance
from gateway.dispatch.writer import Writer
from gateway.observe.alerts import Alerts
from gateway.observe.outage import AWAY
from smpp.codec import encode_tlvs
from smpp.pdu import DeliverSm
from smpp.receipt import Form, Receipt, forms_of, parse_date, parse_receipt
from smpp.vocabulary import ESME_ROK, ESME_RX_T_APPN, MESSAGE_PAYLOAD
from storage import deliveries as delivery_rows
from storage import messages as message_rows
from storage import submissions as submission_rows
from storage.ids import Id
from storage.pool import HOT_S, BadRow, Connection, Database, DatabaseUnavailable, OwnConnection

log = logging.getLogger(__name__)

RECENT = 100_000  # submissions remembered in memory, at most; about 1 KB each
MOST_HELD = 10_000  # receipts waiting for their response; beyond it the SMSC is to come back
HOLD_S = 60.0  # how long a receipt waits for its response
LOOK_BACK = timedelta(days=8)  # how old a submission a receipt may still name
RETRY_S = 0.5
SPELLING_CHANGED = 30008  # "unknown delivery error": what a wrong spelling would end in

Answer = Callable[[DeliverSm, int], object]
Key = tuple[int, str]


@dataclass(eq=False, slots=True)
class Held:
    """A receipt that nothing matches yet; `answer` is None once it is kept and answered."""

    carrier_id: int
    receipt: Receipt
    delivery: DeliverSm
    until: float
    answer: Answer | None = None


class Kept(NamedTuple):
    """A delivery to be kept, and answered when it is."""

    carrier_id: int
    reason: str
    carrier_message_id: str | None
    delivery: DeliverSm
    answer: Answer | None


class Receipts:
    """Matches receipts to messages; owns no message's state, moves it by `advance`."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        alerts: Alerts,
        clock: Clock,
        profile_of: Callable[[int], Profile | None],
    ) -> None:
        self._profile_of = profile_of
        self._database = database
        self._writer = writer
        self._alerts = alerts
        self._clock = clock
        # Not a dict: its first entry is found by passing over all that were removed before it.
        self._recent: OrderedDict[Key, tuple[Message, int]] = OrderedDict()
        self._held: dict[Key, list[Held]] = {}
        self._holding = 0  # receipts in `_held`
        self._spelt: dict[Key, dict[Key, None]] = {}  # by each spelling: keys of `_held`
        self._unlooked: list[Held] = []
        self._settled: list[tuple[Key, str]] = []  # kept rows whose waiting is over
        self._to_keep: list[Kept] = []
        self._wake = asyncio.Event()
        self.spelling: defaultdict[int, Spelling] = defaultdict(Spelling)
        """How each carrier's receipts spell ids, as learnt or pinned."""
        self.live: WeakValueDictionary[Id, Message] = WeakValueDictionary()
        """Messages in memory by id, so that none is ever read a second time beside itself."""
        self._counts: Counter[tuple[int, str]] = Counter()

    # In memory ------------------------------------------------------------------------------

    def expect(self, message: Message, segment: int, carrier_message_id: str) -> None:
        """A segment got its name at the carrier; a receipt may be here already."""
        key = (message.carrier_id, carrier_message_id)
        recent = self._recent
        recent[key] = (message, segment)
        if len(recent) > RECENT:
            recent.popitem(last=False)
        if self._held:
            self._match_held(message, segment, carrier_message_id)

    def received(self, carrier_id: int, delivery: DeliverSm, answer: Answer) -> None:
        """A delivery that says it is a receipt."""
        receipt = self._parse(carrier_id, delivery)
        if receipt is None:
            self._count(carrier_id, "unreadable")
            self._keep(Kept(carrier_id, "unreadable", None, delivery, answer))
            return
        found = self._in_memory(carrier_id, receipt, delivery)
        if found is not None:
            message, segment, form = found
            self._apply(message, segment, form, receipt, delivery)
            self._writer.after_commit(answer, delivery, ESME_ROK)
            return
        if self._holding + len(self._unlooked) >= MOST_HELD:
            self._count(carrier_id, "put off")
            answer(delivery, ESME_RX_T_APPN)
            return
        until = self._clock.monotonic() + HOLD_S
        self._unlooked.append(Held(carrier_id, receipt, delivery, until, answer))
        self._wake.set()

    def counts_of(self, carrier_id: int) -> dict[str, int]:
        """matched, duplicate, unreadable, orphan, put off: a carrier's receipts so far."""
        return {what: n for (carrier, what), n in self._counts.items() if carrier == carrier_id}

    @property
    def counts(self) -> Counter[str]:
        """The same of all carriers."""
        total: Counter[str] = Counter()
        for (_, what), number in self._counts.items():
            total[what] += number
        return total

    def _count(self, carrier_id: int, what: str, number: int = 1) -> None:
        self._counts[carrier_id, what] += number

    @property
    def held(self) -> int:
        return self._holding

    def _parse(self, carrier_id: int, delivery: DeliverSm) -> Receipt | None:
        """The receipt in a delivery, read with the carrier's own pattern where it has one."""
        profile = self._profile_of(carrier_id)
        receipt = parse_receipt(delivery, profile.receipt_pattern if profile else None)
        if receipt is not None:
            receipt.message_id = storable(receipt.message_id)[:MOST_ID]
            if profile is not None:
                self.spelling[carrier_id].pinned = profile.receipt_id_form
        return receipt

    def _parts_wanted(self, message: Message) -> int:
        """The segments whose receipts the carrier was asked for."""
        profile = self._profile_of(message.carrier_id)
        return profile.receipt_parts(message.segments) if profile else message.all_segments

    def _in_memory(
        self, carrier_id: int, receipt: Receipt, delivery: DeliverSm
    ) -> tuple[Message, int, Form] | None:
        raw = self._recent.get((carrier_id, receipt.message_id))
        spelling = self.spelling[carrier_id]
        if raw is not None and spelling.counts(Form.RAW, addresses_agree(delivery, raw[0])):
            return (*raw, Form.RAW)
        candidates: dict[tuple[Message, int], Form] = {}
        for form, text in spelling.spellings(receipt.message_id):
            found = self._recent.get((carrier_id, text))
            if found is not None and spelling.counts(form, addresses_agree(delivery, found[0])):
                candidates.setdefault(found, form)
        if len(candidates) == 1:
            [((message, segment), form)] = candidates.items()
            return message, segment, form
        return None

    def _hold(self, held: Held) -> None:
        """Let a receipt wait, to be found by any spelling that its response may have."""
        key = (held.carrier_id, held.receipt.message_id)
        self._held.setdefault(key, []).append(held)
        self._holding += 1
        for _, text in self.spelling[held.carrier_id].spellings(held.receipt.message_id):
            self._spelt.setdefault((held.carrier_id, text), {})[key] = None

    def _let_go(self, key: Key) -> list[Held]:
        waiting = self._held.pop(key)
        self._holding -= len(waiting)
        for _, text in forms_of(key[1]):
            keys = self._spelt.get((key[0], text))
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._spelt[key[0], text]
        return waiting

    def _match_held(self, message: Message, segment: int, carrier_message_id: str) -> None:
        """The response came after its receipt: whatever of the held ones means it is applied."""
        for key in list(self._spelt.get((message.carrier_id, carrier_message_id), ())):
            spelling = self.spelling[key[0]]
            forms = {text: form for form, text in spelling.spellings(key[1])}
            form = forms.get(carrier_message_id)
            if form is None:
                continue
            if not spelling.counts(form, addresses_agree(self._held[key][0].delivery, message)):
                continue
            self._settled.append((key, "matched late"))
            for held in self._let_go(key):
                self._apply(message, segment, form, held.receipt, held.delivery)
            self._wake.set()

    def _apply(
        self, message: Message, segment: int, form: Form, receipt: Receipt, delivery: DeliverSm
    ) -> None:
        """Move the message by the receipt of one segment (messaging-services §4.3).

        `delivered` when all segments say so; `undelivered` with the first that says no.
        """
        self._count(message.carrier_id, "matched")
        self._learn(message.carrier_id, form)
        if delivery.tlvs:
            message.heard(
                encode_tlvs(tuple(one for one in delivery.tlvs if one[0] != MESSAGE_PAYLOAD))
            )
        profile = self._profile_of(message.carrier_id)
        result = receipt_result(receipt, profile.error_codes if profile is not None else None)
        if not result.final:
            return
        if result.delivered:
            message.receipts |= 1 << segment
            if message.segments > 1 and self._parts_wanted(message) & ~message.receipts:
                self._writer.receipt(message, segment + 1, receipt.state.value)
                return
        event = Receipted(result.delivered, result.code, receipt.done_date or None)
        if advance(message, event, self._done_at(message, receipt)) is not Effect.IGNORED:
            self._writer.mark(message)
        else:
            self._count(message.carrier_id, "duplicate")
            self._keep(Kept(message.carrier_id, "duplicate", receipt.message_id, delivery, None))

    def _done_at(self, message: Message, receipt: Receipt) -> float:
        """When the carrier says it was done, in its time zone, if that can be true; else now."""
        now = self._clock.wall()
        profile = self._profile_of(message.carrier_id)
        offset = profile.receipt_utc_offset_minutes if profile is not None else 0
        said = parse_date(receipt.done_date, offset)
        if said is not None and message.sent_at and message.sent_at <= said.timestamp() <= now:
            return said.timestamp()
        return now

    def _learn(self, carrier_id: int, form: Form) -> None:
        change = self.spelling[carrier_id].won(form)
        if change is not None:
            self._alerts.alert(
                SPELLING_CHANGED,
                f"receipts of carrier {carrier_id} spelt ids {change.before.value!r},"
                f" now {change.now.value!r}",
                resource=str(carrier_id),
            )

    def _keep(self, kept: Kept) -> None:
        self._to_keep.append(kept)
        self._wake.set()

    # In the database ------------------------------------------------------------------------

    async def run(self) -> None:
        """Look up older submissions, keep what nothing matches; until cancelled."""
        own = OwnConnection(self._database, "receipts", command_s=HOT_S)
        restored = False
        try:
            while True:
                try:
                    connection = await own.get()
                    if not restored:
                        await self._restore(connection)
                        restored = True
                    await self._sleep()
                    await self._look_up(connection)
                    self._orphan_old()
                    await self._settle(connection)
                    await self._write_kept(connection)
                except BadRow:
                    log.exception("a receipt can't be looked up or kept; it is passed over")
                    self._pass_over_first()
                except DatabaseUnavailable as error:
                    log.error("database: %s; receipts wait", error, extra=AWAY)
                    own.drop()
                    await asyncio.sleep(RETRY_S)
                    self._wake.set()
        finally:
            own.drop()

    def _pass_over_first(self) -> None:
        """One that no table takes is among the first: it must not stop the others for ever."""
        for held in self._unlooked[:1]:
            if held.answer is not None:
                held.answer(held.delivery, ESME_ROK)
        del self._unlooked[:1]
        for kept in self._to_keep[:1]:
            if kept.answer is not None:
                kept.answer(kept.delivery, ESME_ROK)
        del self._to_keep[:1]
        self._settled.clear()
        self._wake.set()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(1.0 if self._held else None):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _look_up(self, connection: Connection) -> None:
        """Match what memory did not know by the `submissions` table; hold the rest."""
        if not self._unlooked:
            return
        batch = list(self._unlooked)
        wanted = {
            (held.carrier_id, text)
            for held in batch
            for _, text in self.spelling[held.carrier_id].spellings(held.receipt.message_id)
        }
        since = datetime.fromtimestamp(self._clock.wall(), UTC) - LOOK_BACK
        rows: dict[Key, list[tuple[Id, int]]] = {}
        for row in await submission_rows.find(connection, list(wanted), since):
            key = (row["carrier_id"], row["carrier_message_id"])
            rows.setdefault(key, []).append((row["message_id"], row["segment"] - 1))
        messages = await self._load(connection, {id for found in rows.values() for id, _ in found})
        del self._unlooked[: len(batch)]
        for held in batch:
            # Its response may have come while we were reading.
            found = self._in_memory(held.carrier_id, held.receipt, held.delivery)
            found = found or self._in_rows(held, rows, messages)
            answer, held.answer = held.answer, None
            if found is not None:
                self._apply(*found, held.receipt, held.delivery)
                if answer is not None:
                    self._writer.after_commit(answer, held.delivery, ESME_ROK)
                continue
            self._hold(held)
            if answer is not None:
                name = held.receipt.message_id
                self._keep(Kept(held.carrier_id, "unmatched", name, held.delivery, answer))

    def _in_rows(
        self,
        held: Held,
        rows: dict[Key, list[tuple[Id, int]]],
        messages: dict[Id, Message],
    ) -> tuple[Message, int, Form] | None:
        """The one message that the receipt can mean; None when there is none, or several."""
        spelling = self.spelling[held.carrier_id]
        candidates: dict[tuple[Message, int], Form] = {}
        for form, text in spelling.spellings(held.receipt.message_id):
            for id, segment in rows.get((held.carrier_id, text), ()):
                message = messages.get(id)
                if message is None:
                    continue
                if spelling.counts(form, addresses_agree(held.delivery, message)):
                    candidates.setdefault((message, segment), form)
            if candidates and form is Form.RAW:
                break  # newest first: an id that came round again means its latest message
        if len(candidates) == 1 or (candidates and set(candidates.values()) == {Form.RAW}):
            (message, segment), form = next(iter(candidates.items()))
            return message, segment, form
        return None

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
            profile = self._profile_of(message.carrier_id)
            if profile is not None:  # one id may stand for several segments
                message.answered = profile.answered_parts(message.answered, message.segments)
            if part["receipt"] is not None:
                message.receipts |= 1 << (part["segment"] - 1)
        return messages

    async def _restore(self, connection: Connection) -> None:
        """Receipts that waited for their message when the process ended wait on."""
        since = datetime.fromtimestamp(self._clock.wall(), UTC) - timedelta(seconds=600)
        for row in await delivery_rows.unmatched(connection, since):
            delivery = delivery_of(row)
            receipt = self._parse(row["carrier_id"], delivery)
            if receipt is not None:
                until = self._clock.monotonic() + HOLD_S
                self._unlooked.append(Held(row["carrier_id"], receipt, delivery, until))
        if self._unlooked:
            self._wake.set()

    def _orphan_old(self) -> None:
        now = self._clock.monotonic()
        for key in [key for key, held in self._held.items() if held[0].until <= now]:
            self._count(key[0], "orphan", len(self._let_go(key)))
            self._settled.append((key, "orphan"))
            log.warning("receipt for an unknown id %s of carrier %d", key[1], key[0])

    async def _settle(self, connection: Connection) -> None:
        for reason in ("matched late", "orphan"):
            keys = [key for key, why in self._settled if why == reason]
            if keys:
                await delivery_rows.settle(connection, keys, reason)
        self._settled.clear()

    async def _write_kept(self, connection: Connection) -> None:
        """Keep what is to be kept, then answer for it."""
        batch = list(self._to_keep)
        if not batch:
            return
        at = moment(self._clock.wall())
        rows = [
            kept_row(kept.carrier_id, at, kept.reason, kept.carrier_message_id, kept.delivery)
            for kept in batch
        ]
        await delivery_rows.keep(connection, rows)
        del self._to_keep[: len(batch)]
        for kept in batch:
            if kept.answer is not None:
                kept.answer(kept.delivery, ESME_ROK)

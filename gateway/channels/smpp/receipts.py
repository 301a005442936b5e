"""Receipts: matched to their message, whose state they move, or held until its response comes.

A recent submission is in memory; an older one, or one from before a restart, is in the
`submissions` table. A receipt that finds neither is kept, with its octets, and waits for its
response a while (an SMSC can be faster than its own answer); then it is an orphan: counted,
kept, shown, never fatal. The SMSC is answered once what the receipt brought is committed, and
not before: what a crash loses, it sends again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

from gateway.channels.smpp.carrier_ways import CarrierWays
from gateway.channels.smpp.connector import MOST_ID
from gateway.channels.smpp.receipt_matching import Candidate, Spelling, addresses_agree, choose
from gateway.channels.smpp.result_codes import receipt_result
from gateway.channels.smpp.stored_deliveries import delivery_of, kept_row, storable
from gateway.messages.lifecycle import Lifecycle, Receipted
from gateway.messages.message import Message
from gateway.messages.rows import from_row, moment
from gateway.observe.outage_log import AWAY
from gateway.observe.peer_faults import caused_by_peer
from gateway.observe.wall import described
from gateway.stage_runtime import Runtime
from smpp.codec import encode_tlvs
from smpp.pdu import DeliverSm
from smpp.receipt import IdForm, Receipt, forms_of, parse_date, parse_receipt
from smpp.vocabulary import ESME_ROK, ESME_RX_R_APPN, ESME_RX_T_APPN, MESSAGE_PAYLOAD
from storage import deliveries as delivery_rows
from storage import messages as message_rows
from storage import submissions as submission_rows
from storage.database import HOT_S, Connection, DatabaseUnavailable, OwnConnection
from storage.ids import Id

log = logging.getLogger(__name__)

RECENT = 100_000  # submissions remembered in memory, at most; about 1 KB each
MOST_HELD = 10_000  # receipts waiting for their response; beyond it the SMSC is to come back
HOLD_S = 60.0  # how long a receipt waits for its response
LOOK_BACK = timedelta(days=8)  # how old a submission a receipt may still name
RETRY_S = 0.5
MOST_ALIKE = 100  # submissions under one id that are remembered in memory
SPELLING_CHANGED, UNREADABLE = 99006, 99013  # alerts of ours

Respond = Callable[[DeliverSm, int], object]
ReceiptKey = tuple[int, str]
HeldKey = tuple[int, tuple[str, ...]]  # with each id that the receipt gives
MessageSegment = tuple[Message, int]  # and its segment


@dataclass(eq=False, slots=True)
class HeldReceipt:
    """A receipt that nothing matches yet; `answer` is None once it is kept and answered."""

    carrier_id: int
    receipt: Receipt
    delivery: DeliverSm
    until: float
    answer: Respond | None = None


class Kept(NamedTuple):
    """A delivery to be kept, and answered when it is."""

    carrier_id: int
    reason: str
    carrier_message_id: str | None
    delivery: DeliverSm
    answer: Respond | None
    message_id: Id | None = None
    about: frozenset[Id] = frozenset()  # messages whose text it may quote, where it has none


class ReceiptWriter(Protocol):
    """Who commits what receipts bring."""

    def receipt(self, message: Message, segment: int, state: int) -> None:
        """The receipt of one of several segments, which alone does not settle the message."""

    def after_commit(self, call: Respond, delivery: DeliverSm, status: int, /) -> None:
        """Call it once everything reported up to now is committed."""


class Receipts:
    """Matches receipts to messages; owns no message's state, moves it by `advance`."""

    def __init__(
        self, runtime: Runtime, writer: ReceiptWriter, lifecycle: Lifecycle, ways: CarrierWays
    ) -> None:
        self._name = ways.name
        self._wall = runtime.walls.of("receipts")
        self._profile_of = ways.profile
        self._database = runtime.database
        self._writer = writer
        self._lifecycle = lifecycle
        self._alerts = runtime.alerts
        self._clock = runtime.clock
        self._journal = runtime.journal
        # Not a dict: its first entry is found by passing over all that were removed before it.
        # One submission, or a list where the carrier gave one id to several, the oldest first.
        self._recent: OrderedDict[ReceiptKey, MessageSegment | list[MessageSegment]] = OrderedDict()
        self._held: dict[HeldKey, list[HeldReceipt]] = {}
        self._holding = 0  # receipts in `_held`
        self._spelt: dict[ReceiptKey, dict[HeldKey, None]] = {}  # by each spelling: keys of `_held`
        self._unlooked: list[HeldReceipt] = []
        # Whose waiting is over, how it ended, and which message it found.
        self._settled: list[tuple[HeldReceipt, str, Id | None]] = []
        self._to_keep: list[Kept] = []
        # The octets of what was said again of erased messages.
        self._said_again: deque[bytes] = deque(maxlen=MOST_HELD)
        self._said = asyncio.Event()
        self._wake = asyncio.Event()
        # How each carrier's receipts spell ids, as learnt or pinned.
        self.spelling: defaultdict[int, Spelling] = defaultdict(Spelling)
        self._live = runtime.live
        self._counts: Counter[tuple[int, str]] = Counter()

    # In memory ------------------------------------------------------------------------------

    def expect(self, message: Message, segment: int, carrier_message_id: str) -> None:
        """A segment got its name at the carrier; a receipt may be here already."""
        key = (message.carrier_id, carrier_message_id)
        recent = self._recent
        submission = (message, segment)
        there = recent.setdefault(key, submission)
        if there is not submission:
            self._also(key, there, submission)
        if len(recent) > RECENT:
            recent.popitem(last=False)
        if self._held:
            self._match_held(message, segment, carrier_message_id)

    def _also(
        self,
        key: ReceiptKey,
        there: MessageSegment | list[MessageSegment],
        submission: MessageSegment,
    ) -> None:
        """The carrier gave one id to several."""
        several = there if isinstance(there, list) else [there]
        if submission not in several:
            several.append(submission)
            del several[:-MOST_ALIKE]
            self._recent[key] = several
        self._recent.move_to_end(key)

    def received(self, carrier_id: int, delivery: DeliverSm, answer: Respond) -> None:
        """A delivery that says it is a receipt."""
        receipt = self._parse(carrier_id, delivery)
        if receipt is None:
            self._count(carrier_id, "unreadable")
            self._keep(Kept(carrier_id, "unreadable", None, delivery, answer))
            self._alerts.alert(
                UNREADABLE,
                "a delivery that is marked as a receipt can't be read as one, and was kept:"
                " receipt_pattern says how this carrier writes them",
                resource=self._name(carrier_id),
                subject=f"unreadable receipts {carrier_id}",
            )
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
        self._unlooked.append(HeldReceipt(carrier_id, receipt, delivery, until, answer))
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
            others = (storable(other)[:MOST_ID] for other in receipt.other_ids)
            receipt.other_ids = tuple(others)
            if profile is not None:
                self.spelling[carrier_id].pinned = profile.receipt_id_form
        return receipt

    def _parts_wanted(self, message: Message) -> int:
        """The segments whose receipts the carrier was asked for."""
        profile = self._profile_of(message.carrier_id)
        return profile.receipt_parts(message.segments) if profile else message.all_segments

    def _in_memory(
        self, carrier_id: int, receipt: Receipt, delivery: DeliverSm
    ) -> Candidate[Message] | None:
        """What memory knows for certain: whether others had the same id, the table may tell."""
        raw = self._recent.get((carrier_id, receipt.message_id))
        if raw.__class__ is tuple and addresses_agree(delivery, raw[0]):
            return Candidate(*raw, IdForm.RAW)
        candidates = self._remembered(carrier_id, receipt.message_id)
        return choose(candidates, delivery, self.spelling[carrier_id], all_known=False)

    def _remembered(self, carrier_id: int, name: str) -> list[Candidate[Message]]:
        """The submissions in memory that a receipt can mean by an id."""
        candidates: list[Candidate[Message]] = []
        for form, text in self.spelling[carrier_id].spellings(name):
            found = self._recent.get((carrier_id, text))
            if found is None:
                continue
            several = found if isinstance(found, list) else [found]
            candidates += [Candidate(message, segment, form) for message, segment in several]
        return candidates

    def _hold(self, held: HeldReceipt) -> None:
        """Let a receipt wait, to be found by any spelling that its response may have."""
        key = (held.carrier_id, held.receipt.ids)
        self._held.setdefault(key, []).append(held)
        self._holding += 1
        for _, text in self._spellings(*key):
            self._spelt.setdefault((held.carrier_id, text), {})[key] = None

    def _spellings(self, carrier_id: int, ids: Iterable[str]) -> list[tuple[IdForm, str]]:
        spelling = self.spelling[carrier_id]
        return [pair for name in ids for pair in spelling.spellings(name)]

    def _let_go(self, key: HeldKey, some: list[HeldReceipt]) -> None:
        """Receipts that were held under a key wait no more."""
        rest = [held for held in self._held[key] if held not in some]
        self._holding -= len(self._held[key]) - len(rest)
        if rest:
            self._held[key] = rest
            return
        del self._held[key]
        for _, text in (pair for name in key[1] for pair in forms_of(name)):
            keys = self._spelt.get((key[0], text))
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._spelt[key[0], text]

    def _match_held(self, message: Message, segment: int, carrier_message_id: str) -> None:
        """The response came after its receipt: whatever of the held ones means it is applied.

        One whose addresses do not agree waits on: the response with the same id that it means may
        be about to come.
        """
        for key in list(self._spelt.get((message.carrier_id, carrier_message_id), ())):
            forms = {text: form for form, text in reversed(self._spellings(*key))}
            form = forms.get(carrier_message_id)
            if form is None:
                continue
            meant = [held for held in self._held[key] if addresses_agree(held.delivery, message)]
            if meant:
                self._let_go(key, meant)
                self._apply_late(meant, Candidate(message, segment, form))

    def _apply_late(self, meant: list[HeldReceipt], candidate: Candidate[Message]) -> None:
        for held in meant:
            self._settled.append((held, "matched late", candidate.message.id))
            self._apply(*candidate, held.receipt, held.delivery)
        self._wake.set()

    def _apply(
        self, message: Message, segment: int, form: IdForm, receipt: Receipt, delivery: DeliverSm
    ) -> None:
        """Move the message by the receipt of one segment
        (docs/spec/messaging-services.md#smpp-encoding).

        `delivered` when all segments say so; `undelivered` with the first that says no.
        """
        self._count(message.carrier_id, "matched")
        self._learn(message.carrier_id, form)
        if delivery.tlvs:
            message.heard(
                encode_tlvs(tuple(tlv for tlv in delivery.tlvs if tlv[0] != MESSAGE_PAYLOAD))
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
        if not self._lifecycle.apply(message, event, at=self._done_at(message, receipt)):
            self._count(message.carrier_id, "duplicate")
            name = receipt.message_id
            self._keep(Kept(message.carrier_id, "duplicate", name, delivery, None, message.id))

    def _done_at(self, message: Message, receipt: Receipt) -> float:
        """When the carrier says it was done, in its time zone, if that can be true; else now."""
        now = self._clock.wall()
        profile = self._profile_of(message.carrier_id)
        offset = profile.receipt_utc_offset_minutes if profile is not None else 0
        said = parse_date(receipt.done_date, offset)
        if said is not None and message.sent_at and message.sent_at <= said.timestamp() <= now:
            return said.timestamp()
        return now

    def _learn(self, carrier_id: int, form: IdForm) -> None:
        change = self.spelling[carrier_id].won(form)
        if change is not None:
            self._alerts.alert(
                SPELLING_CHANGED,
                f"receipts of {self._name(carrier_id)} spelt ids {change.before.value!r},"
                f" now {change.now.value!r}",
                resource=self._name(carrier_id),
            )

    def _keep(self, kept: Kept) -> None:
        self._to_keep.append(kept)
        self._wake.set()

    # In the database ------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_and_keep(), name="receipts")
            tasks.create_task(self._clean_journal(), name="receipts said again")

    async def _look_and_keep(self) -> None:
        """Look up older submissions, keep what nothing matches."""
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
                    await self._look_up_all(connection)
                    self._orphan_old()
                    await self._keep_all(connection)
                    await self._settle_all(connection)
                except DatabaseUnavailable as error:
                    log.error("database: %s; receipts wait", error, extra=AWAY)
                    own.drop()
                    await asyncio.sleep(RETRY_S)
                    self._wake.set()
        finally:
            own.drop()

    async def _look_up_all(self, connection: Connection) -> None:
        batch, self._unlooked = self._unlooked, []
        if not batch:
            return
        outcome = await self._wall.by_halves(batch, partial(self._look_up, connection))
        for held, why in outcome.failed:
            self._set_aside(held.carrier_id, held.delivery, held.answer, why, held.receipt)
        if outcome.away is not None:
            self._unlooked[:0] = outcome.undone
            raise outcome.away

    async def _keep_all(self, connection: Connection) -> None:
        batch, self._to_keep = self._to_keep, []
        if not batch:
            return
        outcome = await self._wall.by_halves(batch, partial(self._write_kept, connection))
        for kept, why in outcome.failed:
            self._wall.tell(why, resource=self._name(kept.carrier_id))
            if kept.answer is not None:
                with self._wall.around():
                    kept.answer(kept.delivery, ESME_RX_R_APPN)
        if outcome.away is not None:
            self._to_keep[:0] = outcome.undone
            raise outcome.away

    async def _settle_all(self, connection: Connection) -> None:
        batch, self._settled = self._settled, []
        if not batch:
            return
        outcome = await self._wall.by_halves(batch, partial(self._settle, connection))
        for (held, *_), why in outcome.failed:
            self._wall.tell(why, resource=self._name(held.carrier_id))
        if outcome.away is not None:
            self._settled[:0] = outcome.undone
            raise outcome.away

    def refuse(self, carrier_id: int, delivery: DeliverSm, answer: Respond, why: str) -> None:
        """A delivery that could not even be looked at is kept, and refused."""
        self._set_aside(carrier_id, delivery, answer, why)

    def _set_aside(
        self,
        carrier_id: int,
        delivery: DeliverSm,
        answer: Respond | None,
        why: str,
        receipt: Receipt | None = None,
    ) -> None:
        """Keep a receipt that can't be handled; the carrier is told so."""
        self._count(carrier_id, "set aside")
        self._wall.tell(why, resource=self._name(carrier_id))

        def refuse(delivery: DeliverSm, _: int) -> object:
            return answer(delivery, ESME_RX_R_APPN) if answer is not None else None

        receipt = receipt or parse_receipt(delivery)
        name = receipt.message_id[:MOST_ID] if receipt is not None else None  # erasure looks for it
        self._keep(Kept(carrier_id, "set aside", name, delivery, refuse))

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(1.0 if self._held else None):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _look_up(self, connection: Connection, batch: Sequence[HeldReceipt]) -> None:
        """Match what memory did not know by the `submissions` table; hold the rest."""
        wanted = {
            (held.carrier_id, text)
            for held in batch
            for _, text in self._spellings(held.carrier_id, held.receipt.ids)
        }
        since = datetime.fromtimestamp(self._clock.wall(), UTC) - LOOK_BACK
        rows: dict[ReceiptKey, list[tuple[Id, int]]] = {}
        submitted = await submission_rows.find(connection, list(wanted), since)
        for carrier_id, name, id, segment in submitted:
            rows.setdefault((carrier_id, name), []).append((id, segment - 1))
        messages = await self._load(connection, {id for found in rows.values() for id, _ in found})
        for held in batch:
            try:
                self._match(held, rows, messages)
            except Exception as error:  # the others of the batch are matched already
                why = described(error)
                self._set_aside(held.carrier_id, held.delivery, held.answer, why, held.receipt)

    def _match(
        self,
        held: HeldReceipt,
        rows: dict[ReceiptKey, list[tuple[Id, int]]],
        messages: dict[Id, Message],
    ) -> None:
        found = self._first_meant(held, rows, messages)
        if found is not None:
            self._apply(*found, held.receipt, held.delivery)
            answer, held.answer = held.answer, None
            if answer is not None:
                self._writer.after_commit(answer, held.delivery, ESME_ROK)
            return
        answer, held.answer = held.answer, None
        self._hold(held)
        if answer is not None:
            name = held.receipt.message_id
            about = self._about(held, rows)
            self._keep(Kept(held.carrier_id, "unmatched", name, held.delivery, answer, about=about))

    def _first_meant(
        self,
        held: HeldReceipt,
        rows: dict[ReceiptKey, list[tuple[Id, int]]],
        messages: dict[Id, Message],
    ) -> Candidate[Message] | None:
        """What the first of its ids means; the others are believed only of its addresses."""
        spelling = self.spelling[held.carrier_id]
        for name in held.receipt.ids:
            # Its response may have come while we were reading.
            candidates = self._remembered(held.carrier_id, name)
            candidates += self._in_rows(held, name, rows, messages)
            first = name == held.receipt.message_id
            found = choose(candidates, held.delivery, spelling, all_known=first)
            if found is not None:
                return found
        return None

    def _about(
        self, held: HeldReceipt, rows: dict[ReceiptKey, list[tuple[Id, int]]]
    ) -> frozenset[Id]:
        """The messages whose text it may quote though it means none that is there: by the id as it
        stands, else in any spelling.
        """
        carrier_id, ids = held.carrier_id, held.receipt.ids
        spelt = [text for _, text in self._spellings(carrier_id, ids)]
        for names in (ids, spelt):
            found = frozenset(id for name in names for id, _ in rows.get((carrier_id, name), ()))
            if found:
                return found
        return frozenset()

    def _in_rows(
        self,
        held: HeldReceipt,
        name: str,
        rows: dict[ReceiptKey, list[tuple[Id, int]]],
        messages: dict[Id, Message],
    ) -> list[Candidate[Message]]:
        """The submissions in the table that a receipt can mean by an id."""
        return [
            Candidate(message, segment, form)
            for form, text in self.spelling[held.carrier_id].spellings(name)
            for id, segment in rows.get((held.carrier_id, text), ())
            if (message := messages.get(id)) is not None
        ]

    async def _load(self, connection: Connection, ids: set[Id]) -> dict[Id, Message]:
        """Read messages from memory where they are, else from their rows."""
        messages = {id: message for id in ids if (message := self._live.get(id)) is not None}
        missing = [id for id in ids if id not in messages]
        if not missing:
            return messages
        rows = await message_rows.by_ids(connection, missing)
        parts = await submission_rows.of_messages(
            connection, [row["id"] for row in rows if row["segments"] > 1]
        )
        for row in rows:
            # It may have come into memory while we were reading.
            message = self._live.get(row["id"])
            if message is None:
                with self._wall.around(resource=f"SM{row['id'].hex}"):
                    message = self._live[row["id"]] = from_row(row)
            if message is not None:
                messages[message.id] = message
        for id, segment, receipt in parts:
            message = messages.get(id)
            if message is None:
                continue
            message.answered |= 1 << (segment - 1)
            profile = self._profile_of(message.carrier_id)
            if profile is not None:  # one id may stand for several segments
                message.answered = profile.answered_parts(message.answered, message.segments)
            if receipt is not None:
                message.receipts |= 1 << (segment - 1)
        return messages

    async def _restore(self, connection: Connection) -> None:
        """Receipts that waited for their message when the process ended wait on."""
        since = datetime.fromtimestamp(self._clock.wall(), UTC) - timedelta(seconds=600)
        rows = await delivery_rows.unmatched(connection, since)
        for row, why in self._wall.each(rows, self._restore_one):
            self._wall.tell(why, resource=self._name(row["carrier_id"]))
        if self._unlooked:
            self._wake.set()

    def _restore_one(self, row: delivery_rows.TypedDeliveryRow) -> None:
        delivery = delivery_of(row)
        receipt = self._parse(row["carrier_id"], delivery)
        if receipt is not None:
            until = self._clock.monotonic() + HOLD_S
            self._unlooked.append(HeldReceipt(row["carrier_id"], receipt, delivery, until))

    def _orphan_old(self) -> None:
        """Receipts that waited long enough: believed against their addresses, or given up."""
        now = self._clock.monotonic()
        for key in [key for key, held in self._held.items() if held[0].until <= now]:
            carrier_id, ids = key
            over = [held for held in self._held[key] if held.until <= now]
            self._let_go(key, over)
            for held in over:
                found = self._first_meant(held, {}, {})
                if found is not None:
                    self._apply_late([held], found)
                    continue
                self._count(carrier_id, "orphan")
                self._settled.append((held, "orphan", None))
                log.warning(
                    "receipt for an unknown id %s of carrier %d",
                    ids[0],
                    carrier_id,
                    extra=caused_by_peer(f"receipt for an unknown id {carrier_id}"),
                )

    async def _settle(
        self, connection: Connection, batch: Sequence[tuple[HeldReceipt, str, Id | None]]
    ) -> None:
        for reason in ("matched late", "orphan"):
            keys = [
                (
                    held.carrier_id,
                    storable(held.receipt.message_id),
                    storable(held.delivery.source.value),
                    storable(held.delivery.destination.value),
                    message_id,
                )
                for held, why, message_id in batch
                if why == reason
            ]
            if keys:
                await delivery_rows.settle(connection, keys, reason)

    async def _write_kept(self, connection: Connection, batch: Sequence[Kept]) -> None:
        """Keep what is to be kept, then answer for it."""
        at = moment(self._clock.wall())
        rows = [
            kept_row(
                kept.carrier_id,
                at,
                kept.reason,
                kept.carrier_message_id,
                kept.delivery,
                kept.message_id,
            )
            for kept in batch
        ]
        about = [
            kept.about if kept.message_id is None else {kept.message_id, *kept.about}
            for kept in batch
        ]
        erased = await delivery_rows.keep(connection, rows, about)
        for kept in batch:
            if kept.answer is not None:
                with self._wall.around():
                    kept.answer(kept.delivery, ESME_ROK)
        said = [octets for place in erased if (octets := batch[place].delivery.payload)]
        if said:
            self._said_again.extend(said)
            self._said.set()

    async def _clean_journal(self) -> None:
        """What was said again of erased messages goes out of the wire's own record, too.

        By itself: the journal may be slow, or somebody's searches be before it, and no receipt
        waits for that.
        """
        while True:
            await self._said.wait()
            self._said.clear()
            said = list(self._said_again)
            self._said_again.clear()
            now = self._clock.wall()
            with self._wall.around():
                await self._journal.erase(0, said, now - 2 * HOLD_S, now + HOLD_S)

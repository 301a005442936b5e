"""Inbound messages, from the carrier's delivery to a stored row (docs/reliability.md#deliveries).

Deliveries are taken in batches. Each part is committed before it is answered, so a crash makes
the SMSC send again what was not; parts of a message that is not whole are found again after a
restart.

Repeated means unanswered. A carrier that had our answer does not send again, people do write the
same word twice, and some senders never change their reference. So a delivery is a repetition of a
former one, with the same addresses, reference and octets, only if the connection of that one is
gone and our answer to it may not have arrived (`smpp.esme_session` tells what has: it is *settled*,
in the table, and for good); and each is the repetition of one. What then settles the repetition's
answer settles the former. It is looked for for ten minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, cast

from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.stored_deliveries import (
    delivery_of,
    kept_row,
    may_deliver,
    storable,
)
from gateway.directory.directory import SenderRecord
from gateway.inbound.delivery_connections import DeliveryConnections
from gateway.inbound.effects import InboundEffects, Judged
from gateway.inbound.opt_outs import NO_KEYWORD, Arrival
from gateway.inbound.owed_webhook import handling
from gateway.inbound.reader import UNFIT, InboundReader, Stored
from gateway.inbound.repetitions import DeliveryKey, Earlier, Repetitions
from gateway.messages.message import Message
from gateway.messages.rows import from_row, insert_row, moment
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import described
from gateway.stage_runtime import Runtime
from smpp.codec import encode_tlvs
from smpp.concat import Part, Reassembler, Whole, split_header
from smpp.pdu import DeliverSm
from smpp.vocabulary import ESME_ROK, ESME_RX_R_APPN, ESME_RX_T_APPN, MESSAGE_PAYLOAD
from storage import deliveries as delivery_rows
from storage import messages as message_rows
from storage.database import (
    HOT_S,
    Connection,
    DatabaseUnavailable,
    OwnConnection,
    wait_for_standby,
)
from storage.ids import Id

log = logging.getLogger(__name__)

BACKLOG = 10_000  # deliveries waiting to be stored; beyond it the SMSC is asked to come back
BATCH = 500
JOIN_FOR_S = 60.0
AGAIN = timedelta(minutes=10)  # how long an SMSC may send a delivery again
KEEP = timedelta(days=30)  # deliveries that nobody could use
FORGET_EVERY_S = 60.0
RETRY_S = 0.5
UNKNOWN_NUMBER = 21601
REPETITION = 99012  # an alert of ours
MOST_FAILURES = 10_000  # deliveries whose failures are counted
MOST_TIMES = 3  # that a delivery fails; then it is taken, so that it does not come again
MOST_SETTLED = 100_000  # that wait to be written; the oldest of more are forgotten

Respond = Callable[[DeliverSm, int], object]


class Incoming(NamedTuple):
    """One delivery and where its answer goes."""

    carrier_id: int
    connection: str  # bind and number of the connection it came on
    delivery: DeliverSm
    answer: Respond
    words: DeliveryKey


SINGLE = Part(0, 1, 1)


@dataclass(slots=True)
class InboundBatch:
    """What a batch of deliveries comes to."""

    at: datetime
    parts: list[tuple[Id, Incoming]] = field(default_factory=list)
    wholes: list[Stored] = field(default_factory=list)
    unknown: list[Incoming] = field(default_factory=list)
    # To a number of another carrier.
    foreign: list[Incoming] = field(default_factory=list)
    # Parts that came again: where they are answered now.
    moved: dict[Id, tuple[str, int]] = field(default_factory=dict)
    repeated: list[tuple[Incoming, Earlier]] = field(default_factory=list)
    # Messages of deliveries whose commit was not confirmed, and which was done all the same.
    stored_before: list[Id] = field(default_factory=list)


class InboundStage:
    """The stage between the carriers' deliveries and the handlers of messages."""

    def __init__(
        self,
        runtime: Runtime,
        profile_of: Callable[[int], Profile],
        handle: Callable[[Message], None],
        effects: InboundEffects,
    ) -> None:
        self._wall = runtime.walls.of("inbound")
        # How often a delivery came that could not be handled.
        self._failures: OrderedDict[DeliveryKey, int] = OrderedDict()
        self._database = runtime.database
        self._directory = runtime.directory
        self._next_id = runtime.next_id
        self._profile_of = profile_of
        self._reader = InboundReader(runtime, profile_of)
        self._alerts = runtime.alerts
        self._clock = runtime.clock
        self._handle = handle
        self._effects = effects
        self._run_id = runtime.run_id
        self._waiting: deque[Incoming] = deque()
        # How long the parts of a message are waited for, from its first.
        self.join_for_s = JOIN_FOR_S
        self._open: defaultdict[int, Reassembler] = defaultdict(
            lambda: Reassembler(timeout_s=self.join_for_s)
        )
        self._connections = DeliveryConnections()
        self._given_up: list[tuple[int, Whole]] = []  # of what a former run left
        self._settled: deque[tuple[str, str, str, str, int, bytes]] = deque(maxlen=MOST_SETTLED)
        self._all_settled = asyncio.Event()
        self._all_settled.set()
        self._wake = asyncio.Event()
        self._forget_at = 0.0
        self._batch = BATCH
        self._tried = 0  # of those that wait, how many had a commit that was not confirmed
        # stored, repeated, unknown number, another carrier's, incomplete, put off, set aside.
        self.counts: Counter[str] = Counter()

    @property
    def backlog(self) -> int:
        """Deliveries that wait to be stored."""
        return len(self._waiting)

    def received(
        self, carrier_id: int, connection: str, delivery: DeliverSm, answer: Respond
    ) -> None:
        """A delivery that is no receipt; it is answered once it is committed."""
        if len(self._waiting) >= BACKLOG:
            self.counts["put off"] += 1
            answer(delivery, ESME_RX_T_APPN)
            return
        connection = f"{self._run_id}:{connection}"
        self._connections.used(connection)
        pair = (
            carrier_id,
            storable(delivery.source.value),
            storable(delivery.destination.value),
        )
        words = DeliveryKey(pair, split_header(delivery).part or SINGLE, _digest(delivery))
        self._waiting.append(Incoming(carrier_id, connection, delivery, answer, words))
        self._wake.set()

    def lost(self, connection: str) -> None:
        """This connection is over: what comes again by any other is a repetition.

        Also of all connections of another worker, by its run: theirs are named `run.connection`.
        """
        self._connections.lost(f"{self._run_id}:{connection}")

    def settled(self, connection: str, deliveries: Sequence[DeliverSm]) -> None:
        """Our answers to these deliveries, on a connection of this process, have arrived."""
        own, handed = f"{self._run_id}:{connection}", f"{self._run_id}.{connection}"
        self._settled.extend(
            (
                storable(delivery.source.value),
                storable(delivery.destination.value),
                own,
                handed,
                delivery.number,
                _digest(delivery),
            )
            for delivery in deliveries
        )
        self._all_settled.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Return when it is written which answers have arrived."""
        await self._all_settled.wait()

    async def run(self) -> None:
        """Store what comes; until cancelled."""
        own = OwnConnection(self._database, "inbound", command_s=HOT_S)
        restored = False
        try:
            while True:
                try:
                    connection = await own.get()
                    if not restored:
                        self._restore(await delivery_rows.open_parts(connection))
                        restored = True
                    await self._sleep()
                    await self._write_settled(connection)
                    while self._waiting:
                        await self._store_next(connection)
                    await self._store_incomplete(connection)
                    await self._forget(connection)
                except DatabaseUnavailable as error:
                    log.error("database: %s; inbound messages wait unanswered", error, extra=AWAY)
                    own.drop()
                    # What was joined in memory may not be stored: read it again.
                    self._open.clear()
                    restored = False
                    await asyncio.sleep(RETRY_S)
                    self._wake.set()
        finally:
            own.drop()

    async def _sleep(self) -> None:
        now = self._clock.monotonic()
        due = min((partial.deadline() for partial in self._open.values()), default=float("inf"))
        due = min(due, max(self._forget_at, now + 0.01))
        try:
            async with asyncio.timeout(max(0.0, due - now)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _store_next(self, connection: Connection) -> None:
        """Store the next batch; what can't be stored is found by halves, and set aside."""
        size = min(self._batch, len(self._waiting))
        try:
            stored = await self._store_batch(connection, size)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            # What was joined in memory is not stored: read it again.
            self._open.clear()
            self._restore(await delivery_rows.open_parts(connection))
            if size > 1:
                self._batch = size // 2
            else:
                await self._set_aside(connection, self._waiting[0], described(error))
                self._waiting.popleft()
            return
        # Everything of it is committed: nothing that fails from here on may store it again.
        for _ in range(size):
            incoming = self._waiting.popleft()
            with self._wall.around(resource=self._reader.name_of(incoming.carrier_id)):
                incoming.answer(incoming.delivery, ESME_ROK)
        self._batch = min(BATCH, self._batch * 2)
        self._hand_on(stored)

    async def _set_aside(self, connection: Connection, incoming: Incoming, why: str) -> None:
        """Keep a delivery that can't be handled, and refuse it.

        One that comes again and again for all that is taken at its third time, so that it ends.
        """
        self.counts["set aside"] += 1
        key = incoming.words
        times = self._failures.pop(key, 0) + 1
        self._failures[key] = times
        if len(self._failures) > MOST_FAILURES:
            self._failures.popitem(last=False)
        if times == 1:
            row = kept_row(incoming.carrier_id, self._now(), "set aside", None, incoming.delivery)
            with self._wall.around():
                await delivery_rows.keep(connection, [row])
        self._wall.tell(why, resource=self._reader.name_of(incoming.carrier_id))
        with self._wall.around():
            status = ESME_RX_R_APPN if times < MOST_TIMES else ESME_ROK
            incoming.answer(incoming.delivery, status)

    def _restore(self, rows: list[delivery_rows.OpenPartRow]) -> None:
        """Parts of messages that were not whole when the process ended."""
        self._given_up.clear()
        for row, why in self._wall.each(rows, self._restore_part):
            self._wall.tell(why, resource=self._reader.name_of(row["carrier_id"]))
        if self._given_up:
            self._wake.set()

    def _restore_part(self, row: delivery_rows.OpenPartRow) -> None:
        carrier_id, delivery = row["carrier_id"], delivery_of(row)
        record = self._reader.number(carrier_id, delivery.destination)
        for whole in self._join(carrier_id, delivery, record, row["id"]):
            self._given_up.append((carrier_id, whole))

    def _join(
        self, carrier_id: int, delivery: DeliverSm, record: SenderRecord | None, id: Id
    ) -> list[Whole]:
        """The messages that are whole with this part of one."""
        source = self._reader.address(carrier_id, delivery.source, record).value
        return self._open[carrier_id].add(
            delivery,
            self._clock.monotonic(),
            pair=(source, record.sender.id if record is not None else delivery.destination.value),
            holder=record.account_id if record is not None else None,
            token=id,
        )

    async def _write_settled(self, connection: Connection) -> None:
        if self._settled:
            arrived = list(self._settled)
            await delivery_rows.settle_parts(connection, arrived)
            for _ in arrived:
                self._settled.popleft()
        if not self._settled:
            self._all_settled.set()

    async def _store_batch(self, connection: Connection, size: int) -> InboundBatch:
        """Commit the first of what waits, all of it or nothing."""
        await self._write_settled(connection)
        deliveries = [self._waiting[i] for i in range(size)]
        at = self._now()
        known = Repetitions()
        live = self._connections.live()
        since = at - AGAIN
        await known.read(connection, [incoming.words for incoming in deliveries], live, since)
        if self._tried:  # a commit of these was not confirmed
            tried = [
                (incoming.words, incoming.connection, incoming.delivery.number)
                for incoming in deliveries[: self._tried]
            ]
            await known.read_same(connection, tried, since)
        self._tried = max(self._tried, size)
        batch = InboundBatch(at)
        for incoming in deliveries:
            self._take(incoming, known, batch)
        await self._commit(connection, batch)
        self._tried -= size
        await self._take_up(connection, batch)
        return batch

    async def _take_up(self, connection: Connection, batch: InboundBatch) -> None:
        """What an unconfirmed commit stored is handled like what was stored just now."""
        if not batch.stored_before:
            return
        for row in await message_rows.by_ids(connection, batch.stored_before):
            with self._wall.around(resource=f"SM{row['id'].hex}"):
                self._handle(from_row(row))

    def _take(self, incoming: Incoming, known: Repetitions, batch: InboundBatch) -> None:
        """One delivery of a batch: a repetition, to nobody, or a part of a message."""
        words, delivery = incoming.words, incoming.delivery
        own = known.same(words, incoming.connection, delivery.number)
        if own is not None:
            if own.message_id is not None:
                batch.stored_before.append(own.message_id)
            return
        again = known.take(words, self._connections.is_gone)
        if again is not None:
            known.add(words, again._replace(connection=incoming.connection, number=delivery.number))
            batch.moved[again.id] = (incoming.connection, delivery.number)
            batch.repeated.append((incoming, again))
            return
        record = self._reader.number(incoming.carrier_id, delivery.destination)
        if record is None:
            batch.unknown.append(incoming)
            return
        profile = self._profile_of(incoming.carrier_id)
        if not may_deliver(self._directory, incoming.carrier_id, profile, record):
            batch.foreign.append(incoming)
            return
        id = self._next_id()
        known.add(words, Earlier(id, incoming.connection, None, delivery.number))
        for whole in self._join(incoming.carrier_id, delivery, record, id):
            self._whole(incoming.carrier_id, whole, batch)
        batch.parts.append((id, incoming))

    def _whole(self, carrier_id: int, whole: Whole, batch: InboundBatch) -> None:
        stored = self._reader.message_of(carrier_id, whole)
        if stored is not None:
            if whole.missing:
                self.counts["incomplete"] += 1
            batch.wholes.append(stored)

    async def _store_incomplete(self, connection: Connection) -> None:
        """Messages whose other parts did not come: stored with what is there (30009)."""
        now = self._clock.monotonic()
        for carrier_id, reassembler in self._open.items():
            self._given_up += [(carrier_id, whole) for whole in reassembler.expire(now)]
        if not self._given_up:
            return
        outcome = await self._wall.by_halves(
            self._given_up, partial(self._store_wholes, connection)
        )
        self._given_up = outcome.undone
        if outcome.away is not None:
            raise outcome.away
        for (carrier_id, whole), why in outcome.failed:
            await self._set_parts_aside(connection, carrier_id, whole, why)

    async def _store_wholes(
        self, connection: Connection, wholes: Sequence[tuple[int, Whole]]
    ) -> None:
        batch = InboundBatch(self._now())
        for carrier_id, whole in wholes:
            self._whole(carrier_id, whole, batch)
        if batch.wholes:
            await self._commit(connection, batch)
            self._hand_on(batch)

    async def _set_parts_aside(
        self, connection: Connection, carrier_id: int, whole: Whole, why: str
    ) -> None:
        """Parts that no message can be made of: their SMSC had its answers; they are kept."""
        self.counts["set aside"] += 1
        self._wall.tell(why, resource=self._reader.name_of(carrier_id))
        keys = cast(tuple[Id, ...], tuple(piece.token for piece in whole.pieces))
        rows = [
            kept_row(carrier_id, self._now(), "set aside", None, piece.delivery)
            for piece in whole.pieces
        ]
        with self._wall.around():
            async with connection.transaction():
                await delivery_rows.keep(connection, rows)
                await delivery_rows.close_parts(connection, dict.fromkeys(keys, self._next_id()))

    def _now(self) -> datetime:
        at = moment(self._clock.wall())
        assert at is not None
        return at

    async def _commit(self, connection: Connection, batch: InboundBatch) -> None:
        closed = {key: stored.message.id for stored in batch.wholes for key in stored.parts}
        rows = []
        for id, incoming in batch.parts:
            message_id = closed.pop(id, None)
            rows.append(self._part_row(id, incoming, batch.at, message_id))
        judged = Judged()
        try:
            async with connection.transaction():
                if rows:
                    await delivery_rows.insert_parts(connection, rows)
                if batch.wholes:
                    await self._store(connection, batch.wholes, judged)
                if closed:
                    await delivery_rows.close_parts(connection, closed)
                if batch.wholes:
                    await delivery_rows.link(connection, _deliveries_of(batch.wholes))
                if batch.moved:
                    await delivery_rows.move_parts(connection, batch.moved)
                if batch.unknown or batch.foreign:
                    await self._keep(connection, batch)
            await wait_for_standby(connection)
        except BaseException:
            self._effects.give_back(judged)
            raise
        with self._wall.around():  # it is committed: what follows must not undo it
            self._effects.committed(judged)
        with self._wall.around():
            self._tell(batch)

    def _tell(self, batch: InboundBatch) -> None:
        """Alerts of what was not taken for a message."""
        for incoming in batch.unknown:
            self.counts["unknown number"] += 1
            self._alerts.alert(
                UNKNOWN_NUMBER,
                "an inbound message to a number that is not ours was kept",
                resource=incoming.delivery.destination.value,
                subject=f"unknown number {incoming.carrier_id}",  # the peer chooses the others
            )
            destination = incoming.delivery.destination
            if not self._reader.address(incoming.carrier_id, destination, None).clear:
                self._reader.tell_unclear(incoming.carrier_id, destination)
        for incoming in batch.foreign:
            self.counts["another carrier's"] += 1
            self._alerts.alert(
                UNFIT,
                "a message to a number of another carrier was kept: this carrier's delivers_for"
                " has neither the number nor its carrier",
                resource=self._reader.name_of(incoming.carrier_id),
                subject=f"another carrier's number {incoming.carrier_id}",
            )
        for incoming, earlier in batch.repeated:
            self.counts["repeated"] += 1
            record = self._reader.number(incoming.carrier_id, incoming.delivery.destination)
            self._alerts.alert(
                REPETITION,
                "a message came again by another connection, and nothing shows that our answer to"
                " the first had arrived: it was not stored a second time",
                level="notice",
                resource=f"SM{earlier.message_id.hex}" if earlier.message_id else None,
                account_id=record.account_id if record is not None else None,
                subject=earlier.id.hex,
                logged_as=self._reader.name_of(incoming.carrier_id),
            )

    async def _store(self, connection: Connection, stored: list[Stored], judged: Judged) -> None:
        arrivals = [Arrival(entry.message, entry.record) for entry in stored]
        await self._effects.effects(connection, arrivals, judged)
        for entry in stored:
            outcome = judged.outcomes.get(entry.message, NO_KEYWORD)
            entry.message.handling = handling(
                webhook=not entry.dropped, keyword=outcome.keyword, told=outcome.told
            )
        rows = [insert_row(entry.message) for entry in stored if not entry.dropped]
        if rows:
            await message_rows.insert(connection, rows)

    async def _keep(self, connection: Connection, batch: InboundBatch) -> None:
        kept = [(incoming, "unknown number") for incoming in batch.unknown]
        kept += [(incoming, "another carrier's number") for incoming in batch.foreign]
        rows = [
            kept_row(incoming.carrier_id, batch.at, reason, None, incoming.delivery)
            for incoming, reason in kept
        ]
        await delivery_rows.keep(connection, rows)

    def _hand_on(self, batch: InboundBatch) -> None:
        for stored in batch.wholes:
            self.counts["dropped" if stored.dropped else "stored"] += 1
            if not stored.dropped:
                with self._wall.around(stored.message):
                    self._handle(stored.message)

    async def _forget(self, connection: Connection) -> None:
        now = self._clock.monotonic()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            at = self._now()
            await delivery_rows.forget_parts(connection, at - AGAIN)
            await delivery_rows.forget_kept(connection, at - KEEP)

    def _part_row(
        self, id: Id, incoming: Incoming, at: datetime, message_id: Id | None
    ) -> tuple[object, ...]:
        delivery = incoming.delivery
        return (
            id,
            *incoming.words.pair,
            *incoming.words.part,
            incoming.words.digest,
            incoming.connection,
            delivery.esm_class,
            delivery.data_coding,
            delivery.payload,
            encode_tlvs(delivery.tlvs),
            at,
            message_id,
            delivery.number,
            *delivery.source[:2],
            *delivery.destination[:2],
        )


def _deliveries_of(
    wholes: Iterable[Stored],
) -> list[tuple[int, str, str, int, bytes, bytes, Id]]:
    """What messages were made of, as `storage.deliveries.link` looks for it."""
    return [
        (
            stored.message.carrier_id,
            storable(delivery.source.value),
            storable(delivery.destination.value),
            delivery.data_coding,
            delivery.payload,
            encode_tlvs(((MESSAGE_PAYLOAD, delivery.payload),)),
            stored.message.id,
        )
        for stored in wholes
        for delivery in stored.deliveries
    ]


def _digest(delivery: DeliverSm) -> bytes:
    """Of what makes two deliveries the same words."""
    octets = delivery.payload + bytes((delivery.data_coding, delivery.esm_class & 0x40))
    return hashlib.blake2b(octets, digest_size=16).digest()

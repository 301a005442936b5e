"""Inbound messages, from the carrier's delivery to a stored row (design §3.6).

Deliveries are taken in batches. Each part is committed before it is answered, so a crash makes
the SMSC send again what was not; parts of a message that is not whole are found again after a
restart. What is sent again is recognised for ten minutes:

* by its reference, number and octets, and only if the connection that it came on is gone: a
  carrier that had our answer does not send again, people do write the same word twice, and some
  senders never change their reference;
* a part that comes again while its message is open takes the place of the first.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.clock import Clock
from gateway.content.encoding import Encoding
from gateway.dispatch.deliveries import delivery_of, kept_row, storable
from gateway.dispatch.directory import Directory, SenderRecord
from gateway.dispatch.message import Direction, Message, Status
from gateway.dispatch.rows import insert_row, moment
from gateway.inbound.handling import InboundMode, handling, inbound_mode
from gateway.inbound.judge import Judge, Judged
from gateway.inbound.optout import NO_KEYWORD, Arrival
from gateway.inbound.text import normal_address, text_of
from gateway.observe.alerts import Alerts
from gateway.observe.outage import AWAY
from smpp.codec import encode_tlvs
from smpp.concat import Part, Reassembler, Whole, split_header
from smpp.pdu import Address, DeliverSm
from smpp.vocabulary import ESME_ROK, ESME_RX_R_APPN, ESME_RX_T_APPN
from storage import deliveries as delivery_rows
from storage import messages as message_rows
from storage.ids import Id
from storage.pool import (
    HOT_S,
    BadRow,
    Connection,
    Database,
    DatabaseUnavailable,
    OwnConnection,
    Row,
    wait_for_standby,
)

log = logging.getLogger(__name__)

BACKLOG = 10_000  # deliveries waiting to be stored; beyond it the SMSC is asked to come back
BATCH = 500
JOIN_FOR_S = 60.0
AGAIN = timedelta(minutes=10)  # how long an SMSC may send a delivery again
KEEP = timedelta(days=30)  # deliveries that nobody could use
FORGET_EVERY_S = 60.0
CONNECTIONS_KEPT = 10_000  # that have ended; more than can end within AGAIN
RETRY_S = 0.5
SEGMENT_MISSING = 30009
UNKNOWN_NUMBER = 21601

Answer = Callable[[DeliverSm, int], object]
Pair = tuple[int, str, str]  # carrier, source, destination
OpenKey = tuple[int, str, str, int, int]  # and reference, total


class Incoming(NamedTuple):
    """One delivery and where its answer goes."""

    carrier_id: int
    connection: str  # bind and number of the connection it came on
    delivery: DeliverSm
    answer: Answer
    part: Part
    digest: bytes

    @property
    def pair(self) -> Pair:
        delivery = self.delivery
        return (
            self.carrier_id,
            storable(delivery.source.value),
            storable(delivery.destination.value),
        )


class Stored(NamedTuple):
    """A message that became whole: its row, which parts it took, and whom it was sent to."""

    message: Message
    key: OpenKey
    record: SenderRecord
    dropped: bool  # nobody wants it: its text counts as a keyword, and nothing is kept of it


SINGLE = Part(0, 1, 1)


class Inbound:
    """The stage between the carriers' deliveries and the handlers of messages."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        next_id: Callable[[], Id],
        alphabet_of: Callable[[int], str],
        alerts: Alerts,
        clock: Clock,
        handle: Callable[[Message], None],
        judge: Judge,
        run_id: str,
    ) -> None:
        self._database = database
        self._directory = directory
        self._next_id = next_id
        self._alphabet_of = alphabet_of
        self._alerts = alerts
        self._clock = clock
        self._handle = handle
        self._judge = judge
        self._run_id = run_id  # tells this process's connections from a former one's
        self._waiting: deque[Incoming] = deque()
        self.join_for_s = JOIN_FOR_S
        """How long the parts of a message are waited for, from its first."""
        self._open: defaultdict[int, Reassembler] = defaultdict(
            lambda: Reassembler(timeout_s=self.join_for_s)
        )
        self._connections: dict[str, str] = {}  # bind → its newest connection
        self._over: OrderedDict[str, None] = OrderedDict()  # connections that have ended
        self._wake = asyncio.Event()
        self._forget_at = 0.0
        self._batch = BATCH
        self.counts: Counter[str] = Counter()
        """stored, repeated, unknown number, incomplete, put off."""

    @property
    def backlog(self) -> int:
        """Deliveries that wait to be stored."""
        return len(self._waiting)

    def received(
        self, carrier_id: int, connection: str, delivery: DeliverSm, answer: Answer
    ) -> None:
        """A delivery that is no receipt; it is answered once it is committed."""
        if len(self._waiting) >= BACKLOG:
            self.counts["put off"] += 1
            answer(delivery, ESME_RX_T_APPN)
            return
        connection = f"{self._run_id}:{connection}"
        self._connections[_bind_of(connection)] = connection
        digest = hashlib.blake2b(
            delivery.payload + bytes((delivery.data_coding, delivery.esm_class & 0x40)),
            digest_size=16,
        ).digest()
        part = split_header(delivery).part or SINGLE
        self._waiting.append(Incoming(carrier_id, connection, delivery, answer, part, digest))
        self._wake.set()

    def lost(self, connection: str) -> None:
        """This connection is over: what comes again by any other is a repetition.

        Also of all connections of another worker, by its run: theirs are named `run.connection`.
        """
        self._over[f"{self._run_id}:{connection}"] = None
        if len(self._over) > CONNECTIONS_KEPT:
            self._over.popitem(last=False)

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
                    while self._waiting:
                        await self._store_batch(connection)
                    await self._store_incomplete(connection)
                    await self._forget(connection)
                except BadRow as error:
                    self._open.clear()
                    restored = False
                    self._pass_over_bad(error)
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
        due = min((one.deadline() for one in self._open.values()), default=float("inf"))
        due = min(due, max(self._forget_at, now + 0.01))
        try:
            async with asyncio.timeout(max(0.0, due - now)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _pass_over_bad(self, error: Exception) -> None:
        """One delivery that no table takes must not stop the others: find it, refuse it."""
        if self._batch == 1 and self._waiting:
            one = self._waiting.popleft()
            self.counts["unstorable"] += 1
            log.error("an inbound delivery can't be stored: %s", error)
            one.answer(one.delivery, ESME_RX_R_APPN)
        self._batch = 1
        self._wake.set()

    def _restore(self, rows: list[Row]) -> None:
        """Parts of messages that were not whole when the process ended."""
        now = self._clock.monotonic()
        for row in rows:
            self._open[row["carrier_id"]].add(delivery_of(row), now)

    async def _store_batch(self, connection: Connection) -> None:
        batch = [self._waiting[i] for i in range(min(self._batch, len(self._waiting)))]
        now, wall = self._clock.monotonic(), self._clock.wall()
        since = moment(wall)
        assert since is not None
        seen = await delivery_rows.recent_parts(
            connection, list({one.pair for one in batch}), since - AGAIN
        )
        known = {(row["carrier_id"], row["source"], row["destination"]): [] for row in seen}  # type: ignore[var-annotated]
        for row in seen:
            known[row["carrier_id"], row["source"], row["destination"]].append(
                (row["reference"], row["total"], row["part"], row["digest"], row["connection"])
            )
        parts, wholes, unknown = [], [], []
        for one in batch:
            earlier = known.setdefault(one.pair, [])
            if self._is_repeated(one, earlier):
                self.counts["repeated"] += 1
                continue
            earlier.append((*one.part, one.digest, one.connection))
            record = self._number(one.delivery.destination)
            if record is None:
                unknown.append(one)
                continue
            for whole in self._open[one.carrier_id].add(one.delivery, now):
                wholes.append(self._stored(one.carrier_id, whole))
            parts.append(self._part_row(one, since))
        await self._commit(connection, parts, wholes, unknown, since)
        for one in batch:
            self._waiting.popleft()
            one.answer(one.delivery, ESME_ROK)
        self._batch = min(BATCH, self._batch * 2)
        self._hand_on(wholes)

    async def _store_incomplete(self, connection: Connection) -> None:
        """Messages whose other parts did not come: stored with what is there (30009)."""
        now = self._clock.monotonic()
        wholes = [
            self._stored(carrier_id, whole)
            for carrier_id, reassembler in self._open.items()
            for whole in reassembler.expire(now)
        ]
        if wholes:
            at = moment(self._clock.wall())
            assert at is not None
            await self._commit(connection, [], wholes, [], at)
            self._hand_on(wholes)

    async def _commit(
        self,
        connection: Connection,
        parts: list[tuple[object, ...]],
        wholes: list[Stored | None],
        unknown: list[Incoming],
        at: datetime,
    ) -> None:
        stored = [one for one in wholes if one is not None]
        judged = Judged()
        try:
            async with connection.transaction():
                if parts:
                    await delivery_rows.insert_parts(connection, parts)
                if stored:
                    await self._store(connection, stored, judged)
                if unknown:
                    await self._keep(connection, unknown, at)
            await wait_for_standby(connection)
        except BaseException:
            self._judge.give_back(judged)
            raise
        self._judge.committed(judged)
        for one in unknown:
            self.counts["unknown number"] += 1
            self._alerts.alert(
                UNKNOWN_NUMBER,
                "an inbound message to a number that is not ours was kept",
                resource=one.delivery.destination.value,
            )

    async def _store(self, connection: Connection, stored: list[Stored], judged: Judged) -> None:
        arrivals = [Arrival(one.message, one.record) for one in stored]
        await self._judge.judge(connection, arrivals, judged)
        for one in stored:
            outcome = judged.outcomes.get(one.message, NO_KEYWORD)
            one.message.handling = handling(
                webhook=not one.dropped, keyword=outcome.keyword, told=outcome.told
            )
        rows = [insert_row(one.message) for one in stored if not one.dropped]
        if rows:
            await message_rows.insert(connection, rows)
        await delivery_rows.close_parts(connection, [(*one.key, one.message.id) for one in stored])

    async def _keep(self, connection: Connection, unknown: list[Incoming], at: datetime) -> None:
        rows = [
            kept_row(one.carrier_id, at, "unknown number", None, one.delivery) for one in unknown
        ]
        await delivery_rows.keep(connection, rows)

    def _hand_on(self, wholes: list[Stored | None]) -> None:
        for one in wholes:
            if one is not None:
                self.counts["dropped" if one.dropped else "stored"] += 1
                if not one.dropped:
                    self._handle(one.message)

    async def _forget(self, connection: Connection) -> None:
        now = self._clock.monotonic()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            at = moment(self._clock.wall())
            assert at is not None
            await delivery_rows.forget_parts(connection, at - AGAIN)
            await delivery_rows.forget_kept(connection, at - KEEP)

    # Rules ----------------------------------------------------------------------------------

    def _is_repeated(self, one: Incoming, earlier: list[tuple[int, int, int, bytes, str]]) -> bool:
        for reference, total, number, digest, connection in earlier:
            if (reference, total, number) != one.part or digest != one.digest:
                continue
            if self._is_gone(connection):
                return True
        return False

    def _is_gone(self, connection: str) -> bool:
        """Whether that connection has ended: we saw it, its bind has a newer one, or it is another
        run's.
        """
        if connection in self._over or connection.partition(".")[0] in self._over:
            return True
        return self._connections.get(_bind_of(connection)) != connection

    def _number(self, address: Address) -> SenderRecord | None:
        """The number of ours that was written to."""
        senders = self._directory.senders_by_address
        return senders.get(normal_address(address)) or senders.get(address.value)

    def _stored(self, carrier_id: int, whole: Whole) -> Stored | None:
        """The message of a whole; None when its number went away while its parts came."""
        delivery = whole.pieces[0].delivery
        record = self._number(delivery.destination)
        if record is None:
            return None
        text = text_of(whole, self._alphabet_of(carrier_id))
        message = Message(
            self._next_id(),
            record.account_id,
            record.sender.address,
            text,
            service_id=record.service_id,
            direction=Direction.INBOUND,
        )
        message.sender = storable(normal_address(delivery.source))
        message.sender_id = record.sender.id
        message.carrier_id = carrier_id
        message.segments = whole.total
        message.encoding = Encoding.UCS2 if delivery.data_coding == 8 else Encoding.GSM7
        message.status = message.committed = Status.RECEIVED
        message.waiting = False
        message.done_at = self._clock.wall()
        if whole.missing:
            self.counts["incomplete"] += 1
            message.error_code = SEGMENT_MISSING
            self._alerts.alert(
                SEGMENT_MISSING,
                f"{len(whole.missing)} of {whole.total} segments never came",
                resource=message.sid,
                account_id=record.account_id,
            )
        part = split_header(delivery).part or SINGLE
        key = (carrier_id, storable(delivery.source.value), storable(delivery.destination.value))
        service = self._directory.services_by_id.get(record.service_id or 0)
        dropped = inbound_mode(record, service) is InboundMode.DROP
        return Stored(message, (*key, part.reference, part.total), record, dropped)

    def _part_row(self, one: Incoming, at: datetime) -> tuple[object, ...]:
        delivery = one.delivery
        return (
            *one.pair,
            *one.part,
            one.digest,
            one.connection,
            delivery.esm_class,
            delivery.data_coding,
            delivery.payload,
            encode_tlvs(delivery.tlvs),
            at,
            None,
        )


def _bind_of(connection: str) -> str:
    return connection.rpartition("#")[0]

"""What one worker asks of another, and how it answers: the two ends of every kind of frame.

Sends are handed on as they were read from the request, so that the worker whose the pool is
validates, chooses and commits them as if they had come to it. Whoever asks names the version of
the configuration that it knows: one who knows less reads it first.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.types import Message as AsgiMessage

from gateway.acceptance.forecast import Outlook
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.forwarding import RELAYED
from gateway.api.messages.addresses import normal_sender
from gateway.api.messages.create_message import RETRY_AFTER_S, SERVICE_SID, Creation, OnAccepted
from gateway.cluster.share import WorkerSlot
from gateway.cluster.transport import (
    FrameHandler,
    FrameKind,
    Links,
    PeerFailure,
    SendReply,
    Unanswered,
)
from gateway.directory.directory import Account
from gateway.observe.outage_log import AWAY
from gateway.pipeline.assembly import Pipeline
from gateway.routing.destination import parse_destination
from smpp.codec import CodecError, decode_deliver, encode_deliver
from smpp.pdu import DeliverSm
from smpp.vocabulary import ESME_RX_T_APPN
from storage import messages as message_rows
from storage.database import DatabaseUnavailable
from storage.ids import Id, id_from_bytes
from storage.messages import MessageRow

if TYPE_CHECKING:
    from gateway.api.http.resources import Call

log = logging.getLogger(__name__)

TOLD_S: Final = 2.0  # for the others to have read a change of the configuration
ASKED_S: Final = 2.0  # for what is only shown
LETS_GO_S: Final = 3.0  # for the others to let go of what is ours now
STATUS: Final = struct.Struct(">I")
VERSION: Final = struct.Struct(">Q")
LENGTH: Final = struct.Struct(">I")
ID_OCTETS: Final = 16
MADE: Final = struct.Struct(">Bqd")  # what became of a send, and its outlook
# Of a request, what its answer depends on.
KEPT_SCOPE: Final = ("method", "path", "scheme", "tandem.origin", "tandem.path")


class SendOutcome(IntEnum):
    """What became of a send."""

    ERROR = 0
    PLAIN = 1
    WITH_OUTLOOK = 2


class Relay:
    """Speaks with the other workers for the pipeline and for the API."""

    def __init__(self, folder: Path, share: WorkerSlot, pipeline: Pipeline, run_id: str) -> None:
        self._share = share
        self._pipeline = pipeline
        self._directory = pipeline.directory
        self._run_id = run_id
        self._creation: Creation | None = None
        self._app: ASGIApp | None = None
        self._replay: Callable[[MessageRow], None] = lambda row: None
        self._metrics: Callable[[str], tuple[bytes, str]] = lambda accept: (b"", "")
        self._carriers: Callable[[], dict[str, dict[str, Any]]] = dict
        self._stuck: Callable[[], list[str]] = list
        self._tasks: set[asyncio.Task[None]] = set()
        handlers: dict[FrameKind, FrameHandler] = {
            FrameKind.SEND: self._on_send,
            FrameKind.REQUEST: self._on_request,
            FrameKind.DELIVER: self._on_deliver,
            FrameKind.TAKE_UP: self._on_take_up,
            FrameKind.CANCEL: self._on_cancel,
            FrameKind.REPLAY: self._on_replay,
            FrameKind.REFRESH: self._on_refresh,
            FrameKind.LOST: self._on_lost,
            FrameKind.CARRIERS: lambda _, reply: reply(orjson.dumps(self._carriers())),
            FrameKind.STUCK: lambda _, reply: reply(orjson.dumps(self._stuck())),
            FrameKind.METRICS: lambda accept, reply: reply(self._metrics(accept.decode())[0]),
        }
        self.links = Links(folder, share, handlers)
        self.links.worker_lost = self._worker_lost
        self._runs: dict[int, str] = {}  # of the workers that handed deliveries on, by slot

    def serve(
        self,
        creation: Creation,
        app: ASGIApp,
        replay: Callable[[MessageRow], None],
        metrics: Callable[[str], tuple[bytes, str]],
        carriers: Callable[[], dict[str, dict[str, Any]]],
        stuck: Callable[[], list[str]],
    ) -> None:
        """What the questions of others are answered with."""
        self._creation, self._app = creation, app
        self._replay, self._metrics = replay, metrics
        self._carriers, self._stuck = carriers, stuck

    # Whose it is --------------------------------------------------------------------------

    def place(self, account: Account, form: Form) -> int | None:
        """See `Elsewhere`. What is wrong with the parameters is said by whom it is told."""
        sender, service = form.get("From"), form.get("MessagingServiceSid")
        if sender and not service and SERVICE_SID.fullmatch(sender):
            sender, service = None, sender
        if service:
            found = self._directory.services.get("MG" + service[2:].lower())
            return self.owner(found.id, None) if found is not None else None
        if not sender:
            return None
        address = normal_sender(sender)
        if address is None:
            return None
        record = self._directory.senders_by_address.get(address)
        if record is None:
            destination = parse_destination(form.get("To") or "")
            country = destination.country if destination is not None else ""
            record = self._directory.alphanumeric(account.id, address, country)
        return self.owner(None, record.sender.id) if record is not None else None

    def owner(self, service_id: int | None, sender_id: int | None) -> int | None:
        """See `Elsewhere`."""
        slot = self._pipeline.ownership.of(service_id, sender_id)
        return slot if slot != self._share.slot else None

    # Sends --------------------------------------------------------------------------------

    def send(
        self,
        slot: int,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None,
    ) -> None:
        """See `Elsewhere`."""

        def answered(reply: bytes | PeerFailure) -> None:
            if isinstance(reply, PeerFailure):
                answer(None, _error(reply), None)
                return
            kind, ahead, at = MADE.unpack_from(reply)
            text = reply[MADE.size :]
            if kind == SendOutcome.ERROR:
                code, meaning, status, headers = orjson.loads(text)
                answer(None, ApiError(code, meaning, status=status, headers=headers), None)
            else:
                answer(text, None, Outlook(ahead, at) if kind == SendOutcome.WITH_OUTLOOK else None)

        key, digest = idempotency if idempotency is not None else (None, b"")
        payload = orjson.dumps(
            (self._directory.version, account.id, dict(form.items()), key, digest.hex())
        )
        self.links.ask(slot, FrameKind.SEND, payload, answered)

    def _on_send(self, payload: bytes, reply: SendReply) -> None:
        version, account_id, values, key, digest = orjson.loads(payload)

        def answer(
            body: dict[str, Any] | bytes | None, error: ApiError | None, outlook: Outlook | None
        ) -> None:
            if error is not None:
                what = (error.code, error.message, error.status, error.headers)
                reply(MADE.pack(SendOutcome.ERROR, 0, 0.0) + orjson.dumps(what))
            elif outlook is None:
                reply(MADE.pack(SendOutcome.PLAIN, 0, 0.0) + orjson.dumps(body))
            else:
                reply(MADE.pack(SendOutcome.WITH_OUTLOOK, *outlook) + orjson.dumps(body))

        if version > self._directory.version:
            self._after_refresh(
                lambda: self._on_send(payload, reply),
                lambda _: answer(None, _error(PeerFailure.AWAY), None),
            )
            return
        assert self._creation is not None
        account = self._directory.accounts_by_id.get(account_id)
        try:
            if account is None:
                raise ApiError(20003)
            idempotency = (key, bytes.fromhex(digest)) if key is not None else None
            self._creation.submit_here(account, Form(values), answer, idempotency)
        except ApiError as error:
            answer(None, error, None)

    # Whole requests -----------------------------------------------------------------------

    async def request(self, slot: int, call: Call) -> Response:
        """See `Elsewhere`."""
        scope = call.request.scope
        head = orjson.dumps(
            {
                "version": self._directory.version,
                "scope": {name: scope[name] for name in KEPT_SCOPE},
                "query": scope["query_string"].decode("latin-1"),
                "headers": [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in scope["headers"]
                ],
            }
        )
        payload = LENGTH.pack(len(head)) + head + call.body
        try:
            reply = await self.links.question(slot, FrameKind.REQUEST, payload)
        except Unanswered as error:
            raise _error(error.failure) from None
        (length,) = LENGTH.unpack_from(reply)
        status, headers = orjson.loads(reply[LENGTH.size : LENGTH.size + length])
        response = Response(reply[LENGTH.size + length :], status_code=status)
        response.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        return response

    def _on_request(self, payload: bytes, reply: SendReply) -> None:
        self._task(self._answer(payload, reply), reply)

    async def _answer(self, payload: bytes, reply: SendReply) -> None:
        (length,) = LENGTH.unpack_from(payload)
        head = orjson.loads(payload[LENGTH.size : LENGTH.size + length])
        body = payload[LENGTH.size + length :]
        if head["version"] > self._directory.version:
            await self._pipeline.configuration.read()
        scope = {
            **head["scope"],
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "raw_path": None,
            "root_path": "",
            "query_string": head["query"].encode("latin-1"),
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]
            ],
            RELAYED: True,
        }
        status, headers, chunks = 500, [], []

        async def receive() -> AsgiMessage:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: AsgiMessage) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in message["headers"]
                ]
            else:
                chunks.append(message.get("body", b""))

        assert self._app is not None
        await self._app(scope, receive, send)
        answer = orjson.dumps((status, headers))
        reply(b"".join((LENGTH.pack(len(answer)), answer, *chunks)))

    # What carriers deliver ----------------------------------------------------------------

    def deliver(
        self,
        slot: int,
        carrier: int,
        connection: str,
        delivery: DeliverSm,
        answer: Callable[[DeliverSm, int], object],
    ) -> None:
        """See `gateway.cluster.peers`. With nobody there, the carrier is to come back."""

        def answered(reply: bytes | PeerFailure) -> None:
            status = ESME_RX_T_APPN if isinstance(reply, PeerFailure) else STATUS.unpack(reply)[0]
            answer(delivery, status)

        try:
            pdu = encode_deliver(delivery, delivery.sequence)
        except CodecError as error:  # it was read from octets, so this can't be
            log.error("a delivery that can't be handed on: %s", error)
            self._pipeline.events.take_in(carrier, connection, delivery, answer)
            return
        head = orjson.dumps((carrier, self._share.slot, self._run_id, connection, delivery.number))
        self.links.ask(slot, FrameKind.DELIVER, LENGTH.pack(len(head)) + head + pdu, answered)

    def _on_deliver(self, payload: bytes, reply: SendReply) -> None:
        (length,) = LENGTH.unpack_from(payload)
        head = orjson.loads(payload[LENGTH.size : LENGTH.size + length])
        carrier, slot, run, connection, number = head
        self._runs[slot] = run
        delivery = decode_deliver(payload[LENGTH.size + length :])
        delivery.number = number
        self._pipeline.events.take_in(
            carrier, f"{run}.{connection}", delivery, lambda _, status: reply(STATUS.pack(status))
        )

    def lost(self, connection: str) -> None:
        """See `gateway.cluster.peers`. Who is away starts anew, and knows that by itself."""
        name = f"{self._run_id}.{connection}".encode()
        for slot in self.links.others:
            self.links.ask(slot, FrameKind.LOST, name, _ignored, patient=False)

    def _worker_lost(self, slot: int) -> None:
        """With it went all its connections to carriers, of which it can't tell any more."""
        run = self._runs.pop(slot, None)
        if run is not None:
            self._pipeline.events.inbound.lost(run)

    def _on_lost(self, payload: bytes, reply: SendReply) -> None:
        self._pipeline.events.inbound.lost(payload.decode())
        reply(b"")

    # Rows ---------------------------------------------------------------------------------

    def take_up(self, slot: int, ids: Sequence[Id]) -> None:
        """See `gateway.cluster.peers`."""
        payload = VERSION.pack(self._directory.version) + b"".join(id.bytes for id in ids)
        self.links.ask(slot, FrameKind.TAKE_UP, payload, _ignored)

    def _on_take_up(self, payload: bytes, reply: SendReply) -> None:
        (version,) = VERSION.unpack_from(payload)
        if version > self._directory.version:
            self._after_refresh(lambda: self._on_take_up(payload, reply), reply)
            return
        # While we take over, all that waits is read in its order once everything is there.
        if not self._pipeline.acceptor.paused:
            self._pipeline.takeover.named(list(_ids(payload[VERSION.size :])))
        reply(b"")

    async def cancel(self, account_id: int, message_id: Id) -> MessageRow | None:
        """Cancel a message where it waits; as `Canceler.cancel`."""
        row = await message_rows.fetch(self._pipeline.pool, account_id, message_id)
        slot = self.owner(row["service_id"], row["sender_id"]) if row is not None else None
        if slot is not None:
            payload = VERSION.pack(account_id) + message_id.bytes
            try:
                reply = await self.links.question(slot, FrameKind.CANCEL, payload)
            except Unanswered:
                pass  # its row is enough, for one that starts again
            else:
                if reply == b"\0":
                    return None
                return await message_rows.fetch(self._pipeline.pool, account_id, message_id)
        return await self._pipeline.canceler.cancel(account_id, message_id)

    async def cancel_many(self, account_id: int, ids: Sequence[Id]) -> set[Id]:
        """Cancel messages where they wait; as `Canceler.cancel_many`, one question a worker."""
        async with self._pipeline.pool.acquire() as connection:
            rows = await message_rows.by_ids(connection, ids)
        by_slot: defaultdict[int | None, list[Id]] = defaultdict(list)
        for row in rows:
            by_slot[self.owner(row["service_id"], row["sender_id"])].append(row["id"])
        taken: set[Id] = set()
        for slot, of_slot in by_slot.items():
            if slot is not None:
                payload = VERSION.pack(account_id) + b"".join(id.bytes for id in of_slot)
                try:
                    reply = await self.links.question(slot, FrameKind.CANCEL, payload)
                except Unanswered:
                    pass  # their rows are enough, for one that starts again
                else:
                    taken.update(id for id, told in zip(of_slot, reply, strict=True) if told)
                    continue
            taken |= await self._pipeline.canceler.cancel_many(account_id, of_slot)
        return taken

    def _on_cancel(self, payload: bytes, reply: SendReply) -> None:
        """One octet for each message: whether it was canceled."""
        (account_id,) = VERSION.unpack_from(payload)
        ids = list(_ids(payload[VERSION.size :]))

        async def work() -> None:
            taken = await self._pipeline.canceler.cancel_many(account_id, ids)
            reply(bytes(id in taken for id in ids))

        self._task(work(), reply)

    def replay(self, row: MessageRow) -> None:
        """A row owes its webhooks once more."""
        slot = self.owner(row["service_id"], row["sender_id"])
        if slot is None:
            self._replay(row)
        else:
            self.links.ask(slot, FrameKind.REPLAY, row["id"].bytes, _ignored)

    def _on_replay(self, payload: bytes, reply: SendReply) -> None:
        async def work() -> None:
            async with self._pipeline.pool.acquire() as connection:
                rows = await message_rows.by_ids(connection, list(_ids(payload)))
            for row in rows:
                self._replay(row)
            reply(b"")

        self._task(work(), reply)

    # Configuration and what is shown ---------------------------------------------------------

    async def refresh(self) -> None:
        """Read a change of the configuration, here and (so far as they answer) everywhere."""
        await self._pipeline.configuration.read()
        payload = VERSION.pack(self._directory.version)
        await self._all(FrameKind.REFRESH, payload, TOLD_S)

    async def have_read(self, version: int) -> None:
        """See `gateway.cluster.peers`."""
        await self._all(FrameKind.REFRESH, VERSION.pack(version), LETS_GO_S)

    def _on_refresh(self, payload: bytes, reply: SendReply) -> None:
        (version,) = VERSION.unpack(payload)

        async def work() -> None:
            if version > self._directory.version:
                await self._pipeline.configuration.read()
            await self._pipeline.handover.let_go()
            reply(b"")

        self._task(work(), reply)

    async def carriers(self) -> list[dict[str, dict[str, Any]]]:
        """See `Elsewhere`."""
        replies = await self._all(FrameKind.CARRIERS, b"", ASKED_S)
        return [orjson.loads(reply) for reply in replies.values()]

    async def stuck(self) -> list[str]:
        """What could go and does not, at the other workers that answer; in words."""
        replies = await self._all(FrameKind.STUCK, b"", ASKED_S)
        return [reason for reply in replies.values() for reason in orjson.loads(reply)]

    async def metrics(self, accept: str) -> list[tuple[int, bytes]]:
        """The text of each other worker that answers, with its slot."""
        replies = await self._all(FrameKind.METRICS, accept.encode(), ASKED_S)
        return list(replies.items())

    async def _all(self, kind: FrameKind, payload: bytes, most_s: float) -> dict[int, bytes]:
        """The replies of the others that give one in time, by slot."""

        async def one(slot: int) -> bytes | None:
            try:
                async with asyncio.timeout(most_s):
                    return await self.links.question(slot, kind, payload, patient=False)
            except (Unanswered, TimeoutError):
                return None

        slots = self.links.others
        replies = await asyncio.gather(*map(one, slots))
        return {
            slot: reply for slot, reply in zip(slots, replies, strict=True) if reply is not None
        }

    def _after_refresh(self, work: Callable[[], None], failed: SendReply) -> None:
        async def refreshed() -> None:
            await self._pipeline.configuration.read()
            work()

        self._task(refreshed(), failed)

    def _task(self, work: Coroutine[Any, Any, None], failed: SendReply) -> None:
        """Work on a question; `failed` is called with None if that fails."""

        async def guarded() -> None:
            try:
                await work
            except DatabaseUnavailable as error:
                log.warning("a question of another worker: %s", error, extra=AWAY)
                failed(None)
            except Exception:
                log.exception("a question of another worker")
                failed(None)

        task = asyncio.create_task(guarded(), name="question")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ids(octets: bytes) -> Iterable[Id]:
    for at in range(0, len(octets), ID_OCTETS):
        yield id_from_bytes(octets[at : at + ID_OCTETS])


def _ignored(reply: bytes | PeerFailure) -> None:
    """Whoever starts again finds it in its rows."""


def _error(failure: PeerFailure) -> ApiError:
    if failure is PeerFailure.AWAY:
        return ApiError(20503, headers=dict(RETRY_AFTER_S))
    return ApiError(
        20500,
        "the worker that was asked ended before it answered: it may have done it, or not",
        status=502,
    )

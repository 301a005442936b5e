"""Requests that are another worker's to answer, and those that others hand on to this one.

A request may come to any worker. What concerns a message or a pool is done by the one whose they
are; what is only configuration, or only rows, is done where it came in. Sends are handed on as they
were read from the request, so that the worker whose the pool is validates, chooses and commits
them as if they had come to it.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Scope
from starlette.types import Message as AsgiMessage

from gateway.acceptance.forecast import Outlook
from gateway.api.http.errors import RETRY_AFTER_S, ApiError
from gateway.api.http.forms import Form
from gateway.api.messages.addresses import normal_sender
from gateway.api.messages.create_message import SERVICE_SID, Creation, OnAccepted
from gateway.backlog.canceler import Canceler
from gateway.cluster.peers import pack_ids, unpack_ids
from gateway.cluster.transport import FrameKind, PeerFailure, SendReply, Unanswered
from gateway.directory.directory import Account
from gateway.routing.destination import parse_destination
from gateway.stage_runtime import Runtime
from storage import messages as message_rows
from storage.ids import Id
from storage.messages import MessageRow

ASKED_S: Final = 2.0  # for what is only shown
LENGTH: Final = struct.Struct(">I")
MADE: Final = struct.Struct(">Bqd")  # what became of a send, and its outlook
RELAYED: Final = "tandem.relayed"  # in the scope of a request that another worker handed on
# Of a request, what its answer depends on.
KEPT_SCOPE: Final = ("method", "path", "scheme", "tandem.origin", "tandem.path")


class SendOutcome(IntEnum):
    """What became of a send."""

    ERROR = 0
    PLAIN = 1
    WITH_OUTLOOK = 2


class ForwardedRequests:
    """Both ends of them."""

    def __init__(self, runtime: Runtime, canceler: Canceler) -> None:
        self._directory = runtime.directory
        self._pool = runtime.pool
        self._canceler = canceler
        self._creation: Creation | None = None
        self._app: ASGIApp | None = None
        self._replay: Callable[[MessageRow], None] = lambda row: None
        self._peers = peers = runtime.peers
        peers.on(FrameKind.SEND, self._on_send)
        peers.on_work(FrameKind.REQUEST, self._on_request)
        peers.on_work(FrameKind.CANCEL, self._on_cancel)
        peers.on_work(FrameKind.REPLAY, self._on_replay)

    def serve(self, creation: Creation, app: ASGIApp, replay: Callable[[MessageRow], None]) -> None:
        """What the questions of others are answered with."""
        self._creation, self._app, self._replay = creation, app, replay

    # Whose it is --------------------------------------------------------------------------

    def place(self, account: Account, form: Form) -> int | None:
        """The worker that a send with these parameters is for; None: this one. What is wrong with
        them is said by whom it is told.
        """
        if self._peers.links is None:
            return None
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
        """The worker that has a message of this service or sender; None: this one."""
        return self._peers.owner(service_id, sender_id)

    # Sends --------------------------------------------------------------------------------

    def send(
        self,
        slot: int,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None,
    ) -> None:
        """Create the message there; `answer` hears of it."""

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
        self._peers.ask(slot, FrameKind.SEND, payload, answered)

    def _on_send(self, payload: bytes, reply: SendReply) -> None:
        version, account_id, values, key, digest = orjson.loads(payload)

        def answer(body: bytes | None, error: ApiError | None, outlook: Outlook | None) -> None:
            if error is not None:
                what = (error.code, error.message, error.status, error.headers)
                reply(MADE.pack(SendOutcome.ERROR, 0, 0.0) + orjson.dumps(what))
            elif outlook is None:
                reply(MADE.pack(SendOutcome.PLAIN, 0, 0.0) + (body or b""))
            else:
                reply(MADE.pack(SendOutcome.WITH_OUTLOOK, *outlook) + (body or b""))

        def create() -> None:
            assert self._creation is not None
            account = self._directory.accounts_by_id.get(account_id)
            try:
                if account is None:
                    raise ApiError(20003)
                idempotency = (key, bytes.fromhex(digest)) if key is not None else None
                self._creation.submit_here(account, Form(values), answer, idempotency)
            except ApiError as error:
                answer(None, error, None)

        away = _error(PeerFailure.AWAY)
        self._peers.at_version(version, create, lambda _: answer(None, away, None))

    # Whole requests -----------------------------------------------------------------------

    async def request(self, slot: int, scope: Scope, body: bytes) -> Response:
        """The answer of that worker to the same request. Raises ApiError."""
        head = orjson.dumps(
            {
                "version": self._directory.version,
                "scope": {name: scope[name] for name in KEPT_SCOPE},
                "query": scope["query_string"].decode("latin-1"),
                "headers": _as_text(scope["headers"]),
            }
        )
        payload = LENGTH.pack(len(head)) + head + body
        try:
            reply = await self._peers.question(slot, FrameKind.REQUEST, payload)
        except Unanswered as error:
            raise _error(error.failure) from None
        (length,) = LENGTH.unpack_from(reply)
        status, headers = orjson.loads(reply[LENGTH.size : LENGTH.size + length])
        response = Response(reply[LENGTH.size + length :], status_code=status)
        response.raw_headers = _as_octets(headers)
        return response

    async def _on_request(self, payload: bytes) -> bytes:
        (length,) = LENGTH.unpack_from(payload)
        head = orjson.loads(payload[LENGTH.size : LENGTH.size + length])
        body = payload[LENGTH.size + length :]
        if head["version"] > self._directory.version:
            await self._peers.read()
        scope = {
            **head["scope"],
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "raw_path": None,
            "root_path": "",
            "query_string": head["query"].encode("latin-1"),
            "headers": _as_octets(head["headers"]),
            RELAYED: True,
        }
        status, headers, chunks = 500, [], []

        async def receive() -> AsgiMessage:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: AsgiMessage) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], _as_text(message["headers"])
            else:
                chunks.append(message.get("body", b""))

        assert self._app is not None
        await self._app(scope, receive, send)
        answer = orjson.dumps((status, headers))
        return b"".join((LENGTH.pack(len(answer)), answer, *chunks))

    # Messages that are stored -------------------------------------------------------------

    async def cancel(self, account_id: int, message_id: Id) -> MessageRow | None:
        """Cancel a message where it waits; as `Canceler.cancel`."""
        if self._peers.links is None:
            return await self._canceler.cancel(account_id, message_id)
        row = await message_rows.fetch(self._pool, account_id, message_id)
        slot = self.owner(row["service_id"], row["sender_id"]) if row is not None else None
        if slot is not None:
            payload = pack_ids(account_id, [message_id])
            try:
                reply = await self._peers.question(slot, FrameKind.CANCEL, payload)
            except Unanswered:
                pass  # its row is enough, for one that starts again
            else:
                if reply == b"\0":
                    return None
                return await message_rows.fetch(self._pool, account_id, message_id)
        return await self._canceler.cancel(account_id, message_id)

    async def cancel_many(self, account_id: int, ids: Sequence[Id]) -> set[Id]:
        """Cancel messages where they wait; as `Canceler.cancel_many`, one question a worker."""
        if self._peers.links is None:
            return await self._canceler.cancel_many(account_id, ids)
        async with self._pool.acquire() as connection:
            rows = await message_rows.by_ids(connection, ids)
        by_slot: defaultdict[int | None, list[Id]] = defaultdict(list)
        for row in rows:
            by_slot[self.owner(row["service_id"], row["sender_id"])].append(row["id"])
        taken: set[Id] = set()
        for slot, of_slot in by_slot.items():
            if slot is not None:
                payload = pack_ids(account_id, of_slot)
                try:
                    reply = await self._peers.question(slot, FrameKind.CANCEL, payload)
                except Unanswered:
                    pass  # their rows are enough, for one that starts again
                else:
                    taken.update(id for id, told in zip(of_slot, reply, strict=True) if told)
                    continue
            taken |= await self._canceler.cancel_many(account_id, of_slot)
        return taken

    async def _on_cancel(self, payload: bytes) -> bytes:
        """One octet for each message: whether it was canceled."""
        account_id, given = unpack_ids(payload)
        ids = list(given)
        taken = await self._canceler.cancel_many(account_id, ids)
        return bytes(id in taken for id in ids)

    def replay(self, row: MessageRow) -> None:
        """A row owes its webhooks once more."""
        slot = self.owner(row["service_id"], row["sender_id"])
        if slot is None:
            self._replay(row)
        else:
            self._peers.tell(slot, FrameKind.REPLAY, pack_ids(0, [row["id"]]))

    async def _on_replay(self, payload: bytes) -> bytes:
        _, ids = unpack_ids(payload)
        async with self._pool.acquire() as connection:
            rows = await message_rows.by_ids(connection, list(ids))
        for row in rows:
            self._replay(row)
        return b""

    async def carriers(self) -> list[dict[str, dict[str, Any]]]:
        """What each other worker that answers says of its binds, by the carrier's SID."""
        replies = await self._peers.ask_all(FrameKind.CARRIERS, b"", ASKED_S)
        return [orjson.loads(reply) for reply in replies.values()]


def _as_text(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _as_octets(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _error(failure: PeerFailure) -> ApiError:
    if failure is PeerFailure.AWAY:
        return ApiError(20503, headers=dict(RETRY_AFTER_S))
    return ApiError(
        20500,
        "the worker that was asked ended before it answered: it may have done it, or not",
        status=502,
    )

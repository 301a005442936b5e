"""A message into a conversation, and out to everybody else in it, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.acceptance.acceptor import Acceptor, Overloaded, Rejected, Unavailable
from gateway.acceptance.committer import Also
from gateway.acceptance.draft import Draft
from gateway.content.encoding import BODY_LIMIT, body_units
from gateway.conversations.events import (
    MESSAGE_ADDED,
    STATE_UPDATED,
    EventWriter,
    Source,
    of_message,
    of_state,
)
from gateway.messages.message import Flag, Message
from gateway.routing.destination import parse_destination
from gateway.stage_runtime import Runtime
from storage import conversation_messages as message_rows
from storage import conversations as rows
from storage.conversation_messages import ConversationMessageRow
from storage.conversations import ConversationRow, ParticipantRow
from storage.database import BadRow, Connection
from storage.ids import Id

MOST_PARTICIPANTS: Final = 1_000  # that are read
NOT_SENT: Final = 30020
LONGEST_VALIDITY_S: Final = 36_000


class NotPosted(Exception):
    """The conversation takes no messages any more, or the message is in it already, or erased."""


class Words(NamedTuple):
    """What is said."""

    author: str
    body: str
    attributes: str = "{}"
    inbound_id: Id | None = None
    heard: bool = True  # webhooks are told

    def changed(self, changes: Mapping[str, str]) -> Words:
        """As an app wants it (`author`, `body`, `attributes`)."""
        return self._replace(
            author=changes.get("author", self.author),
            body=changes.get("body", self.body),
            attributes=changes.get("attributes", self.attributes),
        )


class ConversationSender:
    """Stores messages of conversations, and what they send."""

    def __init__(self, runtime: Runtime, acceptor: Acceptor, events: EventWriter) -> None:
        self._directory = runtime.directory
        self._acceptor = acceptor
        self._pool = runtime.pool
        self._events = events
        self._next_id = runtime.next_id
        self._clock = runtime.clock
        self._random = runtime.random
        self._alerts = runtime.alerts

    def new_sid(self, prefix: str) -> str:
        return f"{prefix}{self._random.getrandbits(128):032x}"

    async def post(
        self, conversation: ConversationRow, words: Words, source: Source
    ) -> ConversationMessageRow:
        """The stored message. It leaves as SMS to each participant with an address but its author.

        An inactive conversation becomes active by it. Raises NotPosted, Overloaded, Unavailable;
        the message was not stored then.
        """
        if conversation["state"] == "inactive":
            conversation = await self._awake(conversation, words, source)
        others = await rows.participants(self._pool, conversation["id"], None, MOST_PARTICIPANTS)
        author = next((other for other in others if _is(other, words)), None)
        sends = [
            (other, draft)
            for other in others
            if other is not author
            and (draft := self._draft(conversation, other, words)) is not None
        ]
        event = await self._events.event(
            self._pool, conversation, MESSAGE_ADDED, [], source, words.body
        )
        stored: list[ConversationMessageRow] = []

        async def store(connection: Connection) -> None:
            values: dict[str, Any] = {
                "sid": self.new_sid("IM"),
                "conversation_id": conversation["id"],
                "author": words.author,
                "participant": author["sid"] if author is not None else None,
                "body": words.body,
                "attributes": words.attributes,
                "inbound_id": words.inbound_id,
            }
            row = await message_rows.insert(connection, values)
            stored[:] = [row]
            if sends:
                receipts = [
                    (self.new_sid("DY"), row["id"], participant["sid"], sent.id, sent.sid)
                    for participant, sent in ((other, draft.message) for other, draft in sends)
                ]
                await message_rows.insert_receipts(connection, receipts)
            if words.heard:
                told = event._replace(
                    parameters=event.parameters + of_message(conversation, row),
                    messages=[
                        *([words.inbound_id] if words.inbound_id is not None else ()),
                        *(draft.message.id for _, draft in sends),
                    ],
                )
                await self._events.write(connection, told)

        if sends:
            also = Also(store, holds=("conversation", conversation["id"]))
            error = await self._submit([draft for _, draft in sends], also)
            if isinstance(error, Rejected):
                raise NotPosted from error
            if error is not None:
                raise error
        else:
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    await store(connection)
            except BadRow as error:
                raise NotPosted from error
        self._events.written()
        return stored[0]

    async def _awake(
        self, conversation: ConversationRow, words: Words, source: Source
    ) -> ConversationRow:
        """The conversation, active again. Raises NotPosted when it is closed or gone."""
        async with self._pool.acquire() as connection, connection.transaction():
            now = await rows.locked(connection, conversation["id"])
            if now is None or now["state"] == "closed":
                raise NotPosted
            if now["state"] == "active":
                return now
            await rows.set_state(connection, now["id"], "active")
            after = await rows.by_id(connection, now["id"])
            assert after is not None, "it is locked"
            if words.heard:
                parameters = of_state(after, now["state"], "EVENT")
                await self._events.record(connection, after, STATE_UPDATED, parameters, source)
            return after

    async def _submit(self, drafts: Sequence[Draft], also: Also) -> Exception | None:
        outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if not outcome.done():
                outcome.set_result(error)

        try:
            self._acceptor.submit(drafts, done, also)
        except (Overloaded, Unavailable) as error:
            return error
        return await outcome

    def _draft(
        self, conversation: ConversationRow, participant: ParticipantRow, words: Words
    ) -> Draft | None:
        """What goes to one participant; None to one without a number, or who can't be reached."""
        if participant["address"] is None:
            return None
        destination = parse_destination(participant["address"])
        record = self._directory.senders_by_address.get(participant["proxy_address"] or "")
        if (
            destination is None
            or record is None
            or record.account_id != conversation["account_id"]
            or not 0 < body_units(words.body) <= BODY_LIMIT
        ):
            self._alerts.alert(
                NOT_SENT,
                f"a message was not sent to participant {participant['sid']}",
                resource=conversation["sid"],
                account_id=conversation["account_id"],
            )
            return None
        service = self._directory.services_by_id.get(record.service_id or 0)
        message = Message(
            self._next_id(),
            record.account_id,
            destination.e164,
            words.body,
            service_id=record.service_id,
            callback_url=service.status_callback if service is not None else None,
            valid_until=self._clock.wall()
            + (service.validity_s if service is not None else LONGEST_VALIDITY_S),
            flags=Flag.CONVERSATION,
        )
        return Draft(message, destination, from_record=record, from_address=record.sender.address)


def _is(participant: ParticipantRow, words: Words) -> bool:
    """Whether a participant is the author."""
    if participant["address"] is not None:
        return participant["address"] == words.author
    return participant["identity"] == words.author

"""Inbound messages into conversations: found by their pair of addresses, or made
(docs/spec/messaging-services.md#autocreate-a-conversation).

The pair (From, To) is in one conversation that is not closed: a unique index says so, and of two
first messages at once the second finds what the first has made. A message that comes here again,
after a crash, is recognised by its id.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.conversations import events as names
from gateway.conversations.events import EventWriter, Source
from gateway.conversations.outbound import ConversationSender, NotPosted, Words
from gateway.conversations.pre_webhooks import PreEventWebhooks
from gateway.conversations.timers import interval_of
from gateway.directory.directory import Directory
from gateway.messages.message import Message
from storage import conversation_messages as message_rows
from storage import conversation_settings as setting_rows
from storage import conversations as rows
from storage import inbound as inbound_rows
from storage.database import Connection, ConnectionPool, UniqueViolation

ROUNDS: Final = 5


class Contended(Exception):
    """Others change the same conversation all the time; the caller tries again later."""


class InboundMessages:
    """Takes inbound messages into conversations."""

    def __init__(
        self,
        directory: Directory,
        pool: ConnectionPool,
        events: EventWriter,
        outbound: ConversationSender,
        pre_events: PreEventWebhooks,
    ) -> None:
        self._directory = directory
        self._pool = pool
        self._events = events
        self._outbound = outbound
        self._pre_events = pre_events

    async def take(self, message: Message, create: bool) -> bool:
        """Whether the message belongs in a conversation, and so to no other handler.

        `create`: its service makes conversations; an address configuration may say so too. Safe
        to be called again. Raises what keeps it from being stored now.
        """
        author = message.sender_address
        if not author:
            return create
        words = Words(author, message.submitted_body, inbound_id=message.id)
        made = False
        for _ in range(ROUNDS):
            if await message_rows.came(self._pool, message.id):
                return True
            if not await inbound_rows.is_owed(self._pool, message.id):
                return True  # erased meanwhile: nobody hears its text any more
            bound = await rows.bound(self._pool, message.account_id, author, message.recipient)
            if bound is None:
                address = await setting_rows.creating(
                    self._pool, message.account_id, message.recipient
                )
                if not create and address is None and not made:
                    return False
                if not await self._make(message, author, address):
                    return True
                made = True
                continue
            conversation = await rows.by_id(self._pool, bound["conversation_id"])
            if conversation is None:
                continue
            # Nobody is asked about the message that made its conversation: that was asked for.
            said = words if made else await self._allowed(conversation, words)
            if said is None:
                return True
            try:
                await self._outbound.post(conversation, said, Source.SMS)
            except NotPosted:  # closed or erased just now, or another process was first
                continue
            return True
        raise Contended(f"{message.sid} could not be added to a conversation")

    async def _allowed(self, conversation: rows.ConversationRow, words: Words) -> Words | None:
        """The message as the app wants it; None when it does not."""
        settings = await setting_rows.known_settings(self._pool, conversation["account_id"])
        if settings is None:
            return words
        asked = [
            ("ConversationSid", conversation["sid"]),
            ("Body", words.body),
            ("Author", words.author),
            ("Attributes", words.attributes),
            ("Media", ""),
        ]
        ids = [words.inbound_id] if words.inbound_id is not None else []
        verdict = await self._pre_events.ask(settings, names.MESSAGE_ADD, asked, Source.SMS, ids)
        return words.changed(verdict.changes) if verdict.allowed else None

    async def _make(
        self, message: Message, author: str, address: setting_rows.ConversationAddressRow | None
    ) -> bool:
        """A conversation of the pair, if the app does not refuse it: False when it does."""
        account_id = message.account_id
        settings = await setting_rows.settings(self._pool, account_id, self._outbound.new_sid("IS"))
        service = self._directory.services_by_id.get(message.service_id or 0)
        messaging_service = service.sid if service is not None else None
        binding = (author, message.recipient)
        verdict = await self._pre_events.ask(
            settings,
            names.CONVERSATION_ADD,
            [
                ("MessageBody", message.submitted_body),
                ("Media", ""),
                *names.of_binding(binding),
                ("MessagingServiceSid", messaging_service or ""),
            ],
            Source.SMS,
            [message.id],
        )
        if not verdict.allowed:
            return False
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                conversation = await self._insert(
                    connection,
                    settings,
                    address,
                    messaging_service,
                    verdict.changes.get("friendly_name"),
                )
                values: dict[str, Any] = {
                    "sid": self._outbound.new_sid("MB"),
                    "conversation_id": conversation["id"],
                    "account_id": account_id,
                    "address": author,
                    "proxy_address": message.recipient,
                }
                participant = await rows.insert_participant(connection, values)
                for name, parameters in (
                    (names.CONVERSATION_ADDED, names.of_conversation(conversation, binding)),
                    (names.PARTICIPANT_ADDED, names.of_participant(conversation, participant)),
                ):
                    await self._events.record(
                        connection, conversation, name, parameters, Source.SMS
                    )
        except UniqueViolation:
            return True  # another first message was first: it is found now
        self._events.written()
        return True

    async def _insert(
        self,
        connection: Connection,
        settings: setting_rows.ConversationSettingsRow,
        address: setting_rows.ConversationAddressRow | None,
        messaging_service: str | None,
        friendly_name: str | None,
    ) -> rows.ConversationRow:
        chat_service_id = settings["chat_service_id"]
        if address is not None and address["chat_service_id"] is not None:
            chat_service_id = address["chat_service_id"]
        conversation = await rows.insert(
            connection,
            {
                "sid": self._outbound.new_sid("CH"),
                "account_id": settings["account_id"],
                "chat_service_id": chat_service_id,
                "messaging_service": messaging_service or settings["messaging_service"],
                "friendly_name": friendly_name,
                "inactive_after": interval_of(settings["inactive_after"]),
                "closed_after": interval_of(settings["closed_after"]),
            },
        )
        if address is not None and address["creation_type"] == "webhook":
            await rows.insert_webhook(
                connection,
                {
                    "sid": self._outbound.new_sid("WH"),
                    "conversation_id": conversation["id"],
                    "target": "webhook",
                    "url": address["webhook_url"],
                    "method": address["webhook_method"] or "POST",
                    "filters": address["webhook_filters"] or [],
                    "triggers": [],
                },
            )
        return conversation

"""What apps are told of conversations: who listens to an event, and its parameters.

An event is written by the transaction that makes it true; `event_poster` posts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.directory.directory import Directory
from storage import conversation_events as event_rows
from storage import conversation_settings as setting_rows
from storage import conversations as rows
from storage.conversation_messages import ConversationMessageRow
from storage.conversations import ConversationRow, ConversationWebhookRow, ParticipantRow
from storage.database import Connection, ConnectionPool
from storage.ids import Id

Pairs = list[tuple[str, str]]

CONVERSATION_ADD: Final = "onConversationAdd"
CONVERSATION_ADDED: Final = "onConversationAdded"
CONVERSATION_UPDATED: Final = "onConversationUpdated"
CONVERSATION_REMOVED: Final = "onConversationRemoved"
STATE_UPDATED: Final = "onConversationStateUpdated"
PARTICIPANT_ADD: Final = "onParticipantAdd"
PARTICIPANT_ADDED: Final = "onParticipantAdded"
PARTICIPANT_UPDATED: Final = "onParticipantUpdated"
PARTICIPANT_REMOVED: Final = "onParticipantRemoved"
MESSAGE_ADD: Final = "onMessageAdd"
MESSAGE_ADDED: Final = "onMessageAdded"
MESSAGE_UPDATED: Final = "onMessageUpdated"
MESSAGE_REMOVED: Final = "onMessageRemoved"
DELIVERY_UPDATED: Final = "onDeliveryUpdated"

BEFORE: Final = frozenset({CONVERSATION_ADD, PARTICIPANT_ADD, MESSAGE_ADD})
AFTER: Final = frozenset(
    {
        CONVERSATION_ADDED,
        CONVERSATION_UPDATED,
        CONVERSATION_REMOVED,
        STATE_UPDATED,
        PARTICIPANT_ADDED,
        PARTICIPANT_UPDATED,
        PARTICIPANT_REMOVED,
        MESSAGE_ADDED,
        MESSAGE_UPDATED,
        MESSAGE_REMOVED,
        DELIVERY_UPDATED,
    }
)


class Source(StrEnum):
    """Where an event comes from."""

    API = "API"
    SMS = "SMS"


class Listener(NamedTuple):
    """A webhook that listens."""

    url: str
    method: str


class ConversationEvent(NamedTuple):
    """Something that is told to some."""

    conversation_id: int
    account_id: int
    targets: Sequence[Listener]
    parameters: Pairs
    messages: Sequence[Id] = ()  # whose text it has


def iso(at: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at.timestamp()))


class EventWriter:
    """Finds who listens, and writes what they are to be told."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.written: Callable[[], object] = lambda: None  # called after the commit

    async def event(
        self,
        connection: Connection | ConnectionPool,
        conversation: ConversationRow,
        name: str,
        parameters: Pairs,
        source: Source,
        text: str = "",
    ) -> ConversationEvent:
        """An event with those who listen to it now. `text`: of a message, for triggers."""
        account_id = conversation["account_id"]
        targets = []
        settings = await setting_rows.known_settings(connection, account_id)
        if settings is not None and settings["post_webhook_url"] and name in settings["filters"]:
            targets.append(Listener(settings["post_webhook_url"], settings["method"]))
        for hook in await rows.webhooks(connection, conversation["id"]):
            if _listens(hook, name, text):
                targets.append(Listener(hook["url"], hook["method"]))
        common = self.common(account_id, conversation["chat_service"], name, source)
        return ConversationEvent(conversation["id"], account_id, targets, common + parameters)

    async def write(self, connection: Connection, event: ConversationEvent) -> None:
        """In the caller's transaction; call `written` once it is committed."""
        for target in event.targets:
            await event_rows.insert(
                connection,
                event.conversation_id,
                event.account_id,
                target.url,
                target.method,
                event.parameters,
                event.messages,
            )

    async def record(
        self,
        connection: Connection,
        conversation: ConversationRow,
        name: str,
        parameters: Pairs,
        source: Source = Source.API,
        messages: Sequence[Id] = (),
    ) -> None:
        """Both at once."""
        event = await self.event(connection, conversation, name, parameters, source)
        await self.write(connection, event._replace(messages=messages))

    def common(self, account_id: int, chat_service: str, name: str, source: Source) -> Pairs:
        return [
            ("EventType", name),
            ("AccountSid", self._directory.accounts_by_id[account_id].sid),
            ("Source", source.value),
            ("ChatServiceSid", chat_service),
        ]


def _listens(hook: ConversationWebhookRow, name: str, text: str) -> bool:
    if hook["target"] == "trigger":
        lowered = text.casefold()
        return name == MESSAGE_ADDED and any(
            trigger.casefold() in lowered for trigger in hook["triggers"]
        )
    return name in hook["filters"]


# Parameters -----------------------------------------------------------------------------------


def of_conversation(conversation: ConversationRow, binding: tuple[str, str] | None = None) -> Pairs:
    return [
        ("ConversationSid", conversation["sid"]),
        ("FriendlyName", conversation["friendly_name"] or ""),
        ("UniqueName", conversation["unique_name"] or ""),
        ("Attributes", conversation["attributes"]),
        ("MessagingServiceSid", conversation["messaging_service"] or ""),
        ("State", conversation["state"]),
        *of_binding(binding),
        ("DateCreated", iso(conversation["created_at"])),
        ("DateUpdated", iso(conversation["updated_at"])),
    ]


def of_binding(binding: tuple[str, str] | None) -> Pairs:
    if binding is None:
        return []
    return [
        ("MessagingBinding.Address", binding[0]),
        ("MessagingBinding.ProxyAddress", binding[1]),
    ]


def of_participant(conversation: ConversationRow, participant: ParticipantRow) -> Pairs:
    pairs = [
        ("ConversationSid", conversation["sid"]),
        ("ParticipantSid", participant["sid"]),
        ("DateCreated", iso(participant["created_at"])),
        ("Identity", participant["identity"] or ""),
        ("RoleSid", participant["role"] or ""),
        ("Attributes", participant["attributes"]),
    ]
    if participant["address"] is not None and participant["proxy_address"] is not None:
        pairs += of_binding((participant["address"], participant["proxy_address"]))
        pairs.append(("MessagingBinding.Type", "sms"))
    return pairs


def of_message(conversation: ConversationRow, message: ConversationMessageRow) -> Pairs:
    return [
        ("ConversationSid", conversation["sid"]),
        ("MessageSid", message["sid"]),
        ("MessagingServiceSid", conversation["messaging_service"] or ""),
        ("Index", str(message["index"])),
        ("DateCreated", iso(message["created_at"])),
        ("Body", message["body"]),
        ("Author", message["author"]),
        ("ParticipantSid", message["participant"] or ""),
        ("Attributes", message["attributes"]),
        ("Media", ""),
    ]


def of_state(conversation: ConversationRow, before: str, reason: str) -> Pairs:
    return [
        ("ConversationSid", conversation["sid"]),
        ("StateFrom", before),
        ("StateTo", conversation["state"]),
        ("StateUpdated", iso(conversation["updated_at"])),
        ("Reason", reason),
        ("MessagingServiceSid", conversation["messaging_service"] or ""),
    ]

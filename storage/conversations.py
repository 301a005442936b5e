"""Conversations, their participants and webhooks: one transaction per change
(docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from storage import config
from storage.database import Connection, ConnectionPool
from storage.erasure import erase_events_of
from storage.keyset import falling, rising
from storage.lists import Lists
from storage.records import ResourceRow, columns


class NamedConversationRow(TypedDict):
    """What a conversation is called, and when its state changes."""

    friendly_name: str | None
    unique_name: str | None
    state: str
    date_inactive: datetime | None
    date_closed: datetime | None
    chat_service: str


class ConversationRow(ResourceRow, NamedConversationRow):
    account_id: int
    messaging_service: str | None
    attributes: str


class BoundConversationRow(TypedDict):
    conversation_id: int
    conversation: str


class SpeakerRow(TypedDict):
    """Who takes part: by address, or by identity."""

    identity: str | None
    address: str | None
    proxy_address: str | None


class ParticipantRow(ResourceRow, SpeakerRow):
    attributes: str
    role: str | None
    last_read_index: int | None
    last_read_at: str | None


class MembershipRow(SpeakerRow, NamedConversationRow):
    sid: str
    conversation: str
    conversation_attributes: str
    conversation_created_at: datetime
    conversation_updated_at: datetime


class ConversationWebhookRow(ResourceRow):
    target: str
    url: str
    method: str
    filters: list[str]
    triggers: list[str]
    replay_after: int | None


_FIELDS = """
SELECT c.id, c.sid, c.account_id, c.messaging_service, c.friendly_name, c.unique_name, c.attributes,
       c.state, c.date_inactive, c.date_closed, c.created_at, c.updated_at, s.sid AS chat_service
  FROM conversations AS c
  JOIN chat_services AS s ON s.id = c.chat_service_id
"""

# Under a lock: whoever changes a conversation, or adds to it, comes one after another.
LOCK = "SELECT id FROM conversations WHERE id = $1 FOR UPDATE"

PAGE = falling(
    _FIELDS
    + """
 WHERE c.account_id = $1
   AND ($2::text IS NULL
        OR c.id @PAST (SELECT id FROM conversations WHERE sid = $2 AND account_id = $1))
   AND ($3::text IS NULL OR c.state = $3)
   AND ($4::timestamptz IS NULL OR c.created_at >= $4)
   AND ($5::timestamptz IS NULL OR c.created_at < $5)
 ORDER BY c.id @ORDER LIMIT $6
"""
)

# The conversation that a pair of addresses is in, if one is not closed.
BOUND = """
SELECT p.conversation_id, c.sid AS conversation
  FROM conversation_participants AS p JOIN conversations AS c ON c.id = p.conversation_id
 WHERE p.account_id = $1 AND p.address = $2 AND p.proxy_address = $3 AND p.open
"""

TOUCH = """
UPDATE conversations
   SET updated_at = now(), date_inactive = now() + inactive_after,
       date_closed = now() + closed_after
 WHERE id = $1
"""

SET_STATE = "UPDATE conversations SET state = $2, updated_at = now() WHERE id = $1"
SET_OPEN = "UPDATE conversation_participants SET open = $2 WHERE conversation_id = $1"

_DUE = """
SELECT id, CASE WHEN date_closed <= now() THEN 'closed' ELSE 'inactive' END AS state
  FROM conversations
 WHERE ((state = 'active' AND date_inactive <= now())
        OR (state <> 'closed' AND date_closed <= now()))
"""

PARTICIPANTS = rising(f"""
SELECT {columns(ParticipantRow)} FROM conversation_participants
 WHERE conversation_id = $1
   AND ($2::text IS NULL
        OR id @PAST (SELECT id FROM conversation_participants WHERE sid = $2))
 ORDER BY id @ORDER LIMIT $3
""")

PARTICIPANTS_OF = falling("""
SELECT p.sid, p.identity, p.address, p.proxy_address,
       c.sid AS conversation, c.friendly_name, c.unique_name, c.state,
       c.attributes AS conversation_attributes, c.created_at AS conversation_created_at,
       c.updated_at AS conversation_updated_at, c.date_inactive, c.date_closed,
       s.sid AS chat_service
  FROM conversation_participants AS p
  JOIN conversations AS c ON c.id = p.conversation_id
  JOIN chat_services AS s ON s.id = c.chat_service_id
 WHERE c.account_id = $1 AND (p.address = $2 OR p.identity = $3)
   AND ($4::text IS NULL OR p.id @PAST (SELECT id FROM conversation_participants WHERE sid = $4))
 ORDER BY p.id @ORDER LIMIT $5
""")


async def by_name(
    connection: Connection | ConnectionPool, account_id: int, chat_service_id: int, name: str
) -> ConversationRow | None:
    """A conversation by its SID, or by its unique name in the default chat service."""
    return await connection.fetchrow(
        _FIELDS + " WHERE c.account_id = $1 AND (c.sid = $3"
        " OR (c.chat_service_id = $2 AND c.unique_name = $3))",
        account_id,
        chat_service_id,
        name,
    )


async def by_id(
    connection: Connection | ConnectionPool, conversation_id: int
) -> ConversationRow | None:
    return await connection.fetchrow(_FIELDS + " WHERE c.id = $1", conversation_id)


async def locked(connection: Connection, conversation_id: int) -> ConversationRow | None:
    """The row as it is now; it stays so until the transaction ends."""
    await connection.execute(LOCK, conversation_id)
    return await by_id(connection, conversation_id)


async def page(
    pool: ConnectionPool | Lists,
    account_id: int,
    *,
    before: str | None,
    back: bool = False,
    state: str | None,
    since: datetime | None,
    until: datetime | None,
    most: int,
) -> list[ConversationRow]:
    """Newest first."""
    return await pool.fetch(PAGE.of(back), account_id, before, state, since, until, most)


async def insert(connection: Connection, values: dict[str, Any]) -> ConversationRow:
    """Raises UniqueViolation when the unique name is taken."""
    await config.insert(connection, "conversations", values)
    conversation_id = await connection.fetchval(
        "SELECT id FROM conversations WHERE sid = $1", values["sid"]
    )
    await connection.execute(TOUCH, conversation_id)
    row = await by_id(connection, conversation_id)
    assert row is not None
    return row


async def update(connection: Connection, conversation_id: int, values: dict[str, Any]) -> None:
    """Raises UniqueViolation when the unique name is taken. Its timers start again."""
    if values:
        await config.update(connection, "conversations", conversation_id, values)
    await connection.execute(TOUCH, conversation_id)


async def touch(connection: Connection, conversation_id: int) -> None:
    """Something happened in it: its timers start again."""
    await connection.execute(TOUCH, conversation_id)


async def set_state(connection: Connection, conversation_id: int, state: str) -> None:
    """A closed one frees the pairs of its participants."""
    await connection.execute(SET_STATE, conversation_id, state)
    if state == "closed":
        await connection.execute(SET_OPEN, conversation_id, False)


async def delete(connection: Connection, conversation_id: int) -> None:
    """A conversation goes with its messages: apps that are still to be told hear no texts."""
    await connection.execute("DELETE FROM conversations WHERE id = $1", conversation_id)
    await erase_events_of(connection, [conversation_id])


async def due(connection: Connection, most: int) -> list[int]:
    """Conversations whose timer has run out."""
    return [row[0] for row in await connection.fetch(_DUE + " ORDER BY id LIMIT $1", most)]


async def due_now(connection: Connection, conversation_id: int) -> str | None:
    """The state that a conversation's timer means, if it has run out."""
    query = _DUE + " AND id = $1"
    state: str | None = await connection.fetchval(query, conversation_id, column=1)
    return state


async def bound(
    connection: Connection | ConnectionPool, account_id: int, address: str, proxy_address: str
) -> BoundConversationRow | None:
    return await connection.fetchrow(BOUND, account_id, address, proxy_address)


# Participants ---------------------------------------------------------------------------------


async def insert_participant(connection: Connection, values: dict[str, Any]) -> ParticipantRow:
    """Raises UniqueViolation when the pair or the identity is taken."""
    await config.insert(connection, "conversation_participants", values)
    row = await participant(connection, values["conversation_id"], values["sid"])
    assert row is not None
    return row


async def update_participant(
    connection: Connection, participant_id: int, values: dict[str, Any]
) -> None:
    if values:
        await config.update(connection, "conversation_participants", participant_id, values)


async def delete_participant(connection: Connection, participant_id: int) -> None:
    await connection.execute("DELETE FROM conversation_participants WHERE id = $1", participant_id)


async def participant(
    connection: Connection | ConnectionPool, conversation_id: int, sid_or_identity: str
) -> ParticipantRow | None:
    return await connection.fetchrow(
        f"SELECT {columns(ParticipantRow)} FROM conversation_participants"
        " WHERE conversation_id = $1 AND (sid = $2 OR identity = $2)",
        conversation_id,
        sid_or_identity,
    )


async def participants(
    connection: Connection | ConnectionPool | Lists,
    conversation_id: int,
    after: str | None,
    most: int,
    *,
    back: bool = False,
) -> list[ParticipantRow]:
    return await connection.fetch(PARTICIPANTS.of(back), conversation_id, after, most)


async def count_bound(connection: Connection, conversation_id: int) -> int:
    """How many participants have an address."""
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM conversation_participants"
            " WHERE conversation_id = $1 AND address IS NOT NULL",
            conversation_id,
        )
    )


async def memberships(
    pool: ConnectionPool | Lists,
    account_id: int,
    *,
    address: str | None,
    identity: str | None,
    before: str | None,
    most: int,
    back: bool = False,
) -> list[MembershipRow]:
    """Where somebody takes part, newest first."""
    return await pool.fetch(PARTICIPANTS_OF.of(back), account_id, address, identity, before, most)


# Webhooks of one conversation -----------------------------------------------------------------


async def insert_webhook(connection: Connection, values: dict[str, Any]) -> None:
    await config.insert(connection, "conversation_webhooks", values)


async def update_webhook(pool: ConnectionPool, webhook_id: int, values: dict[str, Any]) -> None:
    if values:
        async with pool.acquire() as connection:
            await config.update(connection, "conversation_webhooks", webhook_id, values)


async def webhook(
    pool: ConnectionPool, conversation_id: int, sid: str
) -> ConversationWebhookRow | None:
    return await pool.fetchrow(
        f"SELECT {columns(ConversationWebhookRow)} FROM conversation_webhooks"
        " WHERE conversation_id = $1 AND sid = $2",
        conversation_id,
        sid,
    )


async def webhooks(
    connection: Connection | ConnectionPool, conversation_id: int
) -> list[ConversationWebhookRow]:
    return await connection.fetch(
        f"SELECT {columns(ConversationWebhookRow)} FROM conversation_webhooks"
        " WHERE conversation_id = $1 ORDER BY id",
        conversation_id,
    )


async def delete_webhook(pool: ConnectionPool, webhook_id: int) -> None:
    await pool.execute("DELETE FROM conversation_webhooks WHERE id = $1", webhook_id)

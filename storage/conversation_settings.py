"""What accounts set for their conversations: defaults, webhooks, addresses, chat services."""

from __future__ import annotations

from typing import Any, TypedDict

from storage import config
from storage.database import Connection, ConnectionPool
from storage.erasure import erase_events_of
from storage.keyset import rising
from storage.lists import Lists
from storage.records import ResourceRow, columns


class ConversationSettingsRow(TypedDict):
    account_id: int
    chat_service_id: int
    messaging_service: str | None
    inactive_after: str | None
    closed_after: str | None
    pre_webhook_url: str | None
    post_webhook_url: str | None
    method: str
    filters: list[str]
    target: str
    chat_service: str


class ChatServiceRow(ResourceRow):
    friendly_name: str


class ConversationAddressRow(ResourceRow):
    account_id: int
    type: str
    address: str
    friendly_name: str | None
    country: str | None
    enabled: bool
    creation_type: str
    chat_service_id: int | None
    webhook_url: str | None
    webhook_method: str | None
    webhook_filters: list[str] | None
    chat_service: str | None


SETTINGS = """
SELECT s.*, c.sid AS chat_service FROM conversation_settings AS s
  JOIN chat_services AS c ON c.id = s.chat_service_id
 WHERE s.account_id = $1
"""

# The default one is made on first use. All are made one after another.
DEFAULT_NAME = "Default Chat Service"
ONE_MAKER = "SELECT pg_advisory_xact_lock(7401, $1)"
MAKE_SETTINGS = """
WITH made AS (
    INSERT INTO chat_services (sid, account_id, friendly_name) VALUES ($2, $1, $3) RETURNING id
)
INSERT INTO conversation_settings (account_id, chat_service_id) SELECT $1, id FROM made
"""

INSERT_CHAT_SERVICE = f"""
INSERT INTO chat_services (sid, account_id, friendly_name) VALUES ($1, $2, $3)
RETURNING {columns(ChatServiceRow)}
"""

UPDATE_SETTINGS = "UPDATE conversation_settings SET {changes} WHERE account_id = $1"

# Under the locks that its deletion takes anyway: what is said in them waits, and finds them gone.
CONVERSATIONS_OF = """
SELECT id FROM conversations WHERE chat_service_id = $1 ORDER BY id FOR UPDATE
"""

ADDRESS_FIELDS = """
SELECT a.*, c.sid AS chat_service FROM conversation_addresses AS a
  LEFT JOIN chat_services AS c ON c.id = a.chat_service_id
"""

CHAT_SERVICES = rising(f"""
SELECT {columns(ChatServiceRow)} FROM chat_services
 WHERE account_id = $1
   AND ($2::text IS NULL
        OR id @PAST (SELECT id FROM chat_services WHERE sid = $2 AND account_id = $1))
 ORDER BY id @ORDER LIMIT $3
""")

ADDRESSES = rising(
    ADDRESS_FIELDS
    + """
 WHERE a.account_id = $1 AND ($2::text IS NULL OR a.type = $2)
   AND ($3::text IS NULL OR a.id @PAST (SELECT id FROM conversation_addresses WHERE sid = $3))
 ORDER BY a.id @ORDER LIMIT $4
"""
)


async def settings(pool: ConnectionPool, account_id: int, new_sid: str) -> ConversationSettingsRow:
    """An account's settings. `new_sid` is its default chat service's when none was made yet."""
    row: ConversationSettingsRow | None = await pool.fetchrow(SETTINGS, account_id)
    if row is None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(ONE_MAKER, account_id)
            row = await connection.fetchrow(SETTINGS, account_id)
            if row is None:
                await connection.execute(MAKE_SETTINGS, account_id, new_sid, DEFAULT_NAME)
                row = await connection.fetchrow(SETTINGS, account_id)
    assert row is not None, "it was made"
    return row


async def known_settings(
    connection: Connection | ConnectionPool, account_id: int
) -> ConversationSettingsRow | None:
    return await connection.fetchrow(SETTINGS, account_id)


async def update_settings(pool: ConnectionPool, account_id: int, values: dict[str, Any]) -> None:
    if values:
        changes = ", ".join(f"{name} = ${at}" for at, name in enumerate(values, start=2))
        await pool.execute(UPDATE_SETTINGS.format(changes=changes), account_id, *values.values())


# Chat services --------------------------------------------------------------------------------


async def insert_chat_service(
    pool: ConnectionPool, account_id: int, sid: str, name: str, most: int
) -> ChatServiceRow:
    """Raises AtLimit when the account has `most` besides the default one."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(ONE_MAKER, account_id)
        row: ChatServiceRow | None = await connection.fetchrow(
            INSERT_CHAT_SERVICE, sid, account_id, name
        )
        await config.check_held(connection, "conversation_services", most, account_id)
    assert row is not None
    return row


async def chat_service(
    pool: ConnectionPool | Connection, account_id: int, sid: str
) -> ChatServiceRow | None:
    return await pool.fetchrow(
        f"SELECT {columns(ChatServiceRow)} FROM chat_services WHERE account_id = $1 AND sid = $2",
        account_id,
        sid,
    )


async def chat_services(
    pool: ConnectionPool | Lists,
    account_id: int,
    after: str | None,
    most: int,
    *,
    back: bool = False,
) -> list[ChatServiceRow]:
    return await pool.fetch(CHAT_SERVICES.of(back), account_id, after, most)


async def delete_chat_service(pool: ConnectionPool, chat_service_id: int) -> None:
    """A chat service goes with its conversations. Raises a foreign key's violation for the
    default one.
    """
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(CONVERSATIONS_OF, chat_service_id)
        await connection.execute("DELETE FROM chat_services WHERE id = $1", chat_service_id)
        await erase_events_of(connection, [row[0] for row in rows])


# Addresses ------------------------------------------------------------------------------------


async def insert_address(pool: ConnectionPool, values: dict[str, Any]) -> None:
    """Raises UniqueViolation when the address has a configuration."""
    async with pool.acquire() as connection:
        await config.insert(connection, "conversation_addresses", values)


async def update_address(pool: ConnectionPool, address_id: int, values: dict[str, Any]) -> None:
    if values:
        async with pool.acquire() as connection:
            await config.update(connection, "conversation_addresses", address_id, values)


async def address(
    pool: ConnectionPool, account_id: int, sid_or_address: str
) -> ConversationAddressRow | None:
    return await pool.fetchrow(
        ADDRESS_FIELDS + " WHERE a.account_id = $1 AND (a.sid = $2 OR a.address = $2)",
        account_id,
        sid_or_address,
    )


async def addresses(
    pool: ConnectionPool | Lists,
    account_id: int,
    type: str | None,
    after: str | None,
    most: int,
    *,
    back: bool = False,
) -> list[ConversationAddressRow]:
    return await pool.fetch(ADDRESSES.of(back), account_id, type, after, most)


async def delete_address(pool: ConnectionPool, address_id: int) -> None:
    await pool.execute("DELETE FROM conversation_addresses WHERE id = $1", address_id)


async def creating(
    connection: Connection | ConnectionPool, account_id: int, own: str
) -> ConversationAddressRow | None:
    """The address configuration by which a message to `own` makes a conversation."""
    return await connection.fetchrow(
        ADDRESS_FIELDS + " WHERE a.account_id = $1 AND a.address = $2 AND a.enabled",
        account_id,
        own,
    )

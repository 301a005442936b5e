"""Accounts, carriers, senders and services: small, in every process's memory, written rarely.

Every write bumps `config_version` in its own transaction, and triggers log which rows came with
the version; `load` returns one consistent picture with the version that it shows, or what changed
since the version that somebody knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from storage.database import Connection, ConnectionPool
from storage.records import ResourceRow

DELETE_SERVICE = """
WITH gone AS (DELETE FROM services WHERE id = $1 RETURNING id, sid, account_id)
INSERT INTO former_services (id, sid, account_id) SELECT id, sid, account_id FROM gone
"""
BUMP = "UPDATE config_version SET version = version + 1"
CHANNEL = "tandem_config"

# Tables whose changes are read by the row; an account may have a thousand of each without need.
BY_ROW = (
    *("api_keys", "applications", "content_templates", "link_domains", "opt_out_configs"),
    "safe_list",
)
REST = "rest"  # stands in the log for all other tables
MOST_VERSIONS = 1_000  # behind which everything is read anew
MOST_CHANGES = 2_000

CHANGES = """
SELECT DISTINCT version, kind, id FROM config_changes WHERE version > $1 ORDER BY version LIMIT $2
"""
FORGET_CHANGES = """
DELETE FROM config_changes WHERE version < (SELECT version FROM config_version) - $1::int
"""

# By setting: what it counts of an account. Opt-out configurations without a service count whatever
# the new one is for, or there would be more of them with every service that comes and goes.
HELD = {
    "services": "SELECT count(*) FROM services WHERE account_id = $1",
    "applications": "SELECT count(*) FROM applications WHERE account_id = $1",
    "keys": "SELECT count(*) FROM api_keys WHERE account_id = $1",
    "templates": "SELECT count(*) FROM content_templates WHERE account_id = $1",
    "template_octets": """
        SELECT coalesce(sum(octets), 0)::bigint FROM content_templates WHERE account_id = $1
    """,
    "opt_out_configurations": """
        SELECT count(*) FROM opt_out_configs
         WHERE account_id = $1 AND (service_id IS NULL OR service_id = $2)
    """,
    "opt_out_octets": """
        SELECT octet_length(keywords::text) + octet_length(messages::text)
          FROM opt_out_configs WHERE account_id = $1 AND id = $2
    """,
    "safe_numbers": "SELECT count(*) FROM safe_list WHERE account_id = $1",
    "link_domains": "SELECT count(*) FROM link_domains WHERE account_id = $1",
    # 3: an alphanumeric ID; 0 and 1: long codes and toll-free numbers (SenderKind).
    "alphanumeric_senders": "SELECT count(*) FROM senders WHERE account_id = $1 AND kind = 3",
    # Besides the default one, which is made before any other.
    "conversation_services": "SELECT count(*) - 1 FROM chat_services WHERE account_id = $1",
    "sender_registrations": "SELECT count(*) FROM sender_registrations WHERE account_id = $1",
    "subaccount_limit": """
        SELECT count(*) FROM accounts WHERE owner_id = $1 AND status <> 'closed'
    """,
    "inventory_numbers": """
        SELECT count(*) FROM senders AS s JOIN inventory AS i ON i.address = s.address
         WHERE s.account_id = $1 AND s.kind IN (0, 1)
    """,
}


class PoolFull(Exception):
    """The pool of a service holds as many numbers and short codes as it may."""


class AtLimit(Exception):
    """An account has as many of something as the setting says that it may."""

    def __init__(self, setting: str, most: int) -> None:
        super().__init__(f"{setting}: {most}")
        self.setting = setting
        self.most = most


class SenderRow(ResourceRow):
    account_id: int
    carrier_id: int | None
    kind: int
    address: str
    country: str
    friendly_name: str
    sms: bool
    mms: bool
    voice: bool
    rate: float | None
    settings: dict[str, Any]
    service_id: int | None
    destination_country: str


class ServiceRow(ResourceRow):
    account_id: int
    friendly_name: str
    settings: dict[str, Any]
    link_domain_id: int | None


class PoolMemberRow(TypedDict):
    service_id: int
    sender_id: int
    created_at: datetime


# Of a table whose rows the directory has in a shape of its own, whose fields are their columns.
TableRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rest:
    """What routing is made of, and the operator's tables: read whole whenever any of it changed."""

    accounts: list[TableRow]
    carriers: list[TableRow]
    senders: list[SenderRow]
    services: list[ServiceRow]
    memberships: list[PoolMemberRow]
    registrations: list[TableRow]
    campaign_rates: dict[int, float]  # by service
    fact_revision: str  # of the operator's tables, whose content is read apart


@dataclass(frozen=True, slots=True)
class ConfigurationSnapshot:
    """The configuration at one version; or what came with it since an earlier one."""

    version: int
    whole: bool
    # Of each table of BY_ROW: all of them where this is whole, else those that changed.
    rows: dict[str, list[TableRow]]
    # Ids of the rows of those that are deleted.
    gone: dict[str, set[int]]
    # None where nothing of it changed.
    rest: Rest | None


async def version(pool: ConnectionPool) -> int:
    return int(await pool.fetchval("SELECT version FROM config_version"))


async def account_sids(pool: ConnectionPool) -> set[str]:
    return {row[0] for row in await pool.fetch("SELECT sid FROM accounts")}


async def load(pool: ConnectionPool, known: int = 0) -> ConfigurationSnapshot:
    """The configuration, for who has it as it was at the version `known`.

    What changed since, so that one row of one account costs the same however many rows others
    have; all of it where that is not known, or is much.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        now = int(await connection.fetchval("SELECT version FROM config_version"))
        changes = await _changes(connection, known, now)
        if changes is None:
            rows = {
                table: await connection.fetch(f"SELECT * FROM {table} ORDER BY id")
                for table in BY_ROW
            }
            return ConfigurationSnapshot(now, True, rows, {}, await _rest(connection))
        rows, gone = {}, {}
        for table, ids in changes.items():
            if table == REST:
                continue
            rows[table] = await connection.fetch(
                f"SELECT * FROM {table} WHERE id = ANY($1::int[]) ORDER BY id", list(ids)
            )
            gone[table] = ids - {row["id"] for row in rows[table]}
        rest = await _rest(connection) if REST in changes else None
        return ConfigurationSnapshot(now, False, rows, gone, rest)


async def _changes(connection: Connection, known: int, now: int) -> dict[str, set[int]] | None:
    """Ids by table of what came after the version `known`; None where that is not told.

    A version of which nothing is told may have changed anything.
    """
    if not known or not 0 <= now - known <= MOST_VERSIONS:
        return None
    log = await connection.fetch(CHANGES, known, MOST_CHANGES + 1)
    if len(log) > MOST_CHANGES or len({row[0] for row in log}) < now - known:
        return None
    changes: dict[str, set[int]] = {}
    for _, kind, id in log:
        changes.setdefault(kind, set()).add(id)
    return changes


async def forget_changes(connection: Connection) -> None:
    """Forget what came with versions that nobody can still have."""
    await connection.execute(FORGET_CHANGES, 2 * MOST_VERSIONS)


async def _rest(connection: Connection) -> Rest:
    return Rest(
        accounts=await connection.fetch("SELECT * FROM accounts ORDER BY id"),
        carriers=await connection.fetch("SELECT * FROM carriers ORDER BY id"),
        senders=await connection.fetch("SELECT * FROM senders ORDER BY id"),
        services=await connection.fetch("SELECT * FROM services ORDER BY id"),
        registrations=await connection.fetch("SELECT * FROM sender_registrations ORDER BY id"),
        campaign_rates=dict(
            await connection.fetch(
                "SELECT service_id, (fields->>'mps')::double precision FROM campaigns"
                " WHERE fields->>'mps' IS NOT NULL"
            )
        ),
        fact_revision=await connection.fetchval(
            "SELECT coalesce(string_agg(name || ' ' || revision, ',' ORDER BY name), '')"
            " FROM fact_tables"
        ),
        memberships=await connection.fetch(
            "SELECT * FROM service_senders ORDER BY service_id, created_at, sender_id"
        ),
    )


@asynccontextmanager
async def change(pool: ConnectionPool) -> AsyncIterator[Connection]:
    """A transaction that changes configuration; other processes hear of it after the commit."""
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute(BUMP)
            yield connection
        await connection.execute(f"NOTIFY {CHANNEL}")


async def listen(connection: Connection, rang: Callable[[], object]) -> None:
    """Call `rang` whenever any process has changed the configuration."""

    def heard(connection: Connection, process_id: int, channel: str, payload: object) -> None:
        rang()

    await connection.add_listener(CHANNEL, heard)


async def insert_account(
    connection: Connection, *, sid: str, owner_id: int | None, friendly_name: str, auth_token: str
) -> None:
    await connection.execute(
        "INSERT INTO accounts (sid, owner_id, friendly_name, auth_token) VALUES ($1, $2, $3, $4)",
        sid,
        owner_id,
        friendly_name,
        auth_token,
    )


async def is_closed(connection: Connection, account_id: int) -> bool:
    """Whether the account is closed now; to be asked in the transaction of a change."""
    status = await connection.fetchval("SELECT status FROM accounts WHERE id = $1", account_id)
    return bool(status == "closed")


async def update_account(connection: Connection, account_id: int, values: dict[str, Any]) -> None:
    await update(connection, "accounts", account_id, values)


async def insert_application(connection: Connection, values: dict[str, Any]) -> None:
    await insert(connection, "applications", values)


async def update_application(
    connection: Connection, application_id: int, values: dict[str, Any]
) -> None:
    await update(connection, "applications", application_id, values)


async def delete_application(connection: Connection, application_id: int) -> None:
    await connection.execute("DELETE FROM applications WHERE id = $1", application_id)


async def insert_sender(connection: Connection, values: dict[str, Any]) -> None:
    """Raises UniqueViolation when that address already belongs to someone."""
    await insert(connection, "senders", values)


async def update_sender(connection: Connection, sender_id: int, values: dict[str, Any]) -> None:
    await update(connection, "senders", sender_id, values)


async def delete_sender(connection: Connection, sender_id: int) -> None:
    await connection.execute("DELETE FROM senders WHERE id = $1", sender_id)


async def insert_service(connection: Connection, values: dict[str, Any]) -> None:
    await insert(connection, "services", values)


async def update_service(connection: Connection, service_id: int, values: dict[str, Any]) -> None:
    await update(connection, "services", service_id, values)


async def delete_service(connection: Connection, service_id: int) -> None:
    """A service's messages keep its SID: that is kept apart."""
    await connection.execute(DELETE_SERVICE, service_id)


async def former_services(
    pool: ConnectionPool, ids: Sequence[int] | None, most: int
) -> dict[int, str]:
    """SIDs of services that are deleted, by id, the newest first: of these, or of the newest."""
    rows = await pool.fetch(
        "SELECT id, sid FROM former_services WHERE $1::int[] IS NULL OR id = ANY($1)"
        " ORDER BY deleted_at DESC LIMIT $2",
        ids,
        most,
    )
    return dict(rows)


async def add_member(
    connection: Connection,
    service_id: int,
    sender_id: int,
    counted: Sequence[int] = (),
    most: int = 0,
) -> None:
    """Put a sender into a pool that may hold `most` of the `counted` kinds.

    Raises UniqueViolation when the sender is in a service already, PoolFull when the pool has
    no room. Exact, because changes of configuration happen one after another.
    """
    await connection.execute(
        "INSERT INTO service_senders (service_id, sender_id) VALUES ($1, $2)", service_id, sender_id
    )
    if counted:
        held = await connection.fetchval(
            "SELECT count(*) FROM service_senders AS m JOIN senders AS s ON s.id = m.sender_id"
            " WHERE m.service_id = $1 AND s.kind = ANY ($2::smallint[])",
            service_id,
            counted,
        )
        if held > most:
            raise PoolFull


async def check_held(
    connection: Connection, setting: str, most: int, account_id: int, *more: object
) -> None:
    """Raises AtLimit where the account holds more than `most` of what a setting counts (HELD).

    To be asked in the transaction of the change, after it: exact, because changes of
    configuration happen one after another, and others take a lock.
    """
    held = await connection.fetchval(HELD[setting], account_id, *more)
    if held > most:
        raise AtLimit(setting, most)


async def remove_member(connection: Connection, service_id: int, sender_id: int) -> None:
    await connection.execute(
        "DELETE FROM service_senders WHERE service_id = $1 AND sender_id = $2",
        service_id,
        sender_id,
    )


async def insert(connection: Connection, table: str, values: dict[str, Any]) -> None:
    """A row of a configuration table, from columns that the caller names."""
    places = ", ".join(f"${index}" for index in range(1, len(values) + 1))
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values()
    )


async def update(connection: Connection, table: str, key: int, values: dict[str, Any]) -> None:
    """Change these columns of one row, and its `updated_at`."""
    changes = ", ".join(f"{name} = ${index}" for index, name in enumerate(values, start=2))
    await connection.execute(
        f"UPDATE {table} SET {changes}, updated_at = now() WHERE id = $1", key, *values.values()
    )

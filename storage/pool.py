"""Connections: a pool for requests, and single ones with a purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import orjson

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

# What callers may catch without knowing the driver.
DatabaseUnavailable = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)
UniqueViolation = asyncpg.UniqueViolationError


async def open_pool(url: str, *, most: int = 8) -> Pool:
    """A pool of at most `most` connections for everything that is not hot."""
    return await asyncpg.create_pool(
        url, min_size=1, max_size=most, init=prepare_connection, command_timeout=30
    )


async def open_connection(url: str) -> Connection:
    """A connection of its own, for a stage that always has one statement under way."""
    connection = await asyncpg.connect(url, command_timeout=30)
    await prepare_connection(connection)
    return connection


async def prepare_connection(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )

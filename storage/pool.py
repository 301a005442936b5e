"""Connections: a pool for requests, and single ones with a purpose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import orjson

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Row: TypeAlias = asyncpg.Record
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool
    Row = asyncpg.Record

# What callers may catch without knowing the driver.
# By class, so that what was never met here is met right: all of these pass by themselves.
DatabaseUnavailable = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # its end was announced, and its socket not closed yet
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, starting up, query cancelled
    asyncpg.InsufficientResourcesError,  # disk, memory, connections
    asyncpg.PostgresSystemError,  # its own I/O errors
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections for now
    asyncpg.ReadOnlySQLTransactionError,
)
# Reached, but not for us: no such database, role or password, or too few rights.
DatabaseRefused = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
)
# One row's content that no table takes: a wrong value, not a broken server.
BadRow = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,  # the driver's word for a number that its column cannot hold
    UnicodeError,
)
UniqueViolation = asyncpg.UniqueViolationError
# The schema is older than the code: nothing was migrated yet.
SchemaMissing = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)

APPLICATION = "tandem"  # what our sessions are called in pg_stat_activity


async def open_pool(url: str, *, most: int = 8) -> Pool:
    """A pool of at most `most` connections for everything that is not hot."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=most,
        init=prepare_connection,
        command_timeout=30,
        server_settings={"application_name": APPLICATION},
    )


async def open_connection(url: str) -> Connection:
    """A connection of its own, for a stage that always has one statement under way.

    Raises ConnectionError for whatever the server says to a newcomer: a stage that comes back
    after a failure must not die of an answer nobody thought of.
    """
    try:
        connection = await asyncpg.connect(
            url, command_timeout=30, server_settings={"application_name": APPLICATION}
        )
    except asyncpg.PostgresError as error:
        raise ConnectionError(str(error)) from error
    await prepare_connection(connection)
    return connection


class OwnConnection:
    """The one connection of a stage: opened when it is asked for, dropped after a failure."""

    def __init__(
        self, url: str, prepare: Callable[[Connection], Awaitable[None]] | None = None
    ) -> None:
        self._url = url
        self._prepare = prepare
        self._connection: Connection | None = None

    async def get(self) -> Connection:
        """The connection, open. Raises what DatabaseUnavailable names."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await open_connection(self._url)
            if self._prepare is not None:
                await self._prepare(self._connection)
        return self._connection

    def drop(self) -> None:
        """Close it at once, whatever it does; the next `get` opens another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def prepare_connection(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )

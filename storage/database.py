"""Sessions: a pool for requests, and single ones with a purpose.

Each says whose it is (`tandem/<run>/<stage>` in pg_stat_activity), so that whoever takes over can
end those of its predecessor, and each asks to be noticed soon when its other end is gone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
import orjson

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # Rows take the type that a query's function promises (`storage.records`).
    Connection: TypeAlias = asyncpg.Connection[Any] | PoolConnectionProxy[Any]
    ConnectionPool: TypeAlias = asyncpg.Pool[Any]
else:
    Connection = asyncpg.Connection
    ConnectionPool = asyncpg.Pool

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
TooFewRights = asyncpg.InsufficientPrivilegeError  # to make or read what is ours
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

CONNECT_S: Final = 2.0  # for a server to answer that it is there
COMMAND_S: Final = 30.0  # for a statement that nobody on the hot path waits for
HOT_S: Final = 5.0  # for one of accept, claim, write-behind and inbound

# An end that fell silent is noticed in about four seconds. On a Unix socket, which has no silent
# other end, the server takes these and does nothing with them.
IDLE_S, AGAIN_S, PROBES = 2, 1, 3
SILENCE_S: Final = 4.0
NOTICE_SILENCE: Final = {
    "tcp_keepalives_idle": str(IDLE_S),
    "tcp_keepalives_interval": str(AGAIN_S),
    "tcp_keepalives_count": str(PROBES),
    "tcp_user_timeout": str(int(SILENCE_S * 1000)),
}
OPERATOR: Final = "cli"  # stands in a session's name for the run of one that has none

# The server's own place for the warning: its text is in the server's language.
NO_STANDBY: Final = "SyncRepWaitForLSN"
WARNED: Final = "01000"
# Writes to the log and nowhere else, so that its commit waits for the standby, and with it for
# all that was committed before.
END_FORMER: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
   AND application_name = current_setting('application_name')
"""
ENDS_S: Final = 5.0
LOOK_S: Final = 0.02
UNTIL_CONFIRMED_S: Final = 86_400.0  # a session that breaks ends it sooner
CONFIRM_ALL: Final = "SELECT pg_logical_emit_message(true, 'tandem', '')"


class Unconfirmed(ConnectionError):
    """A commit of which the server says that no standby has it: a fail-over may take it back."""


class DatabaseSession(asyncpg.Connection):
    """A connection that hears the server take back what a commit promises."""

    __slots__ = ("unconfirmed",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.unconfirmed = False

    async def reset(self, *, timeout: float | None = None) -> None:
        """Before the pool has it back: whoever had it hears of a commit that is not confirmed."""
        await super().reset(timeout=timeout)
        confirm(self)

    def _process_log_message(self, fields: dict[str, str], last_query: object) -> None:
        """Each notice, as it is read: before the answer to the commit that it belongs to.

        The driver's own place, since its listeners are for sessions that are in no pool.
        """
        own_words = "synchronous replication" in fields.get("M", "")
        if fields.get("R") == NO_STANDBY or (fields.get("C") == WARNED and own_words):
            self.unconfirmed = True
        super()._process_log_message(fields, last_query)  # type: ignore[misc]


def confirm(connection: Connection) -> None:
    """What was committed here is also where `synchronous_standby_names` wants it.

    Raises Unconfirmed, once, where the server stopped waiting for that: nobody knows then whether
    it is kept. To be asked after whatever a promise follows.
    """
    if getattr(connection, "unconfirmed", False):
        connection.unconfirmed = False  # type: ignore[union-attr]
        raise Unconfirmed("a commit is on no standby: the wait for one was canceled")


async def end_former(connection: Connection) -> None:
    """End the sessions that this stage of this run had before: what they began is committed when
    this returns, or never will be. One that we have left may still hang in its statement.

    Raises what DatabaseUnavailable names.
    """
    for _ in range(int(ENDS_S / LOOK_S)):
        if not await connection.fetchval(END_FORMER):
            return
        await asyncio.sleep(LOOK_S)
    raise ConnectionError("a former session does not end")


async def wait_for_standby(connection: Connection) -> None:
    """Return when what was committed here is also where `synchronous_standby_names` wants it.

    For what must not be written a second time: where the server stopped waiting for a standby, it
    is made to wait again, however long that takes. Raises what DatabaseUnavailable names.
    """
    while getattr(connection, "unconfirmed", False):
        connection.unconfirmed = False  # type: ignore[union-attr]
        await connection.execute(CONFIRM_ALL, timeout=UNTIL_CONFIRMED_S)


def session_name(run: int | str, stage: str) -> str:
    """What pg_stat_activity shows."""
    return f"tandem/{run}/{stage}"


async def open_connection(
    url: str, stage: str = "command", *, run: int | str = OPERATOR, command_s: float = COMMAND_S
) -> Connection:
    """A connection of its own, for a stage that always has one statement under way.

    Raises ConnectionError for whatever the server says to a newcomer: a stage that comes back
    after a failure must not die of an answer nobody thought of.
    """
    try:
        connection = await _connect(url, session_name(run, stage), command_timeout=command_s)
    except asyncpg.PostgresError as error:
        raise ConnectionError(str(error)) from error
    await prepare_connection(connection)
    return connection


async def _connect(url: str, name: str, **options: Any) -> DatabaseSession:
    """As the driver's, with what every session of ours has."""
    given: dict[str, Any] = {"connection_class": DatabaseSession, "timeout": CONNECT_S, **options}
    given["server_settings"] = {**NOTICE_SILENCE, "application_name": name}
    connection: DatabaseSession = await asyncpg.connect(url, **given)
    _notice_silence(connection)
    return connection


def _notice_silence(connection: DatabaseSession) -> None:
    """The same for our end: a request to a server that is gone must not hang for a quarter hour."""
    transport = connection._transport  # type: ignore[attr-defined]  # the driver has no door to it
    own = transport.get_extra_info("socket")
    if own is None or own.family not in (socket.AF_INET, socket.AF_INET6):
        return
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", IDLE_S),
        ("TCP_KEEPINTVL", AGAIN_S),
        ("TCP_KEEPCNT", PROBES),
        ("TCP_USER_TIMEOUT", int(SILENCE_S * 1000)),
    ):
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            own.setsockopt(socket.IPPROTO_TCP, option, value)


class Database:
    """A database as one run works with it."""

    def __init__(self, url: str, run: int, ours: Callable[[], bool]) -> None:
        """`run` is one life of a process, and `ours` says whether it has the right to work with the
        database. One that has not opens no session: it would write beside whoever has ended its
        former ones.
        """
        self._url = url
        self._run = run
        self._ours = ours

    async def open(self, stage: str, *, command_s: float = COMMAND_S) -> Connection:
        """A connection for a stage. Raises ConnectionError, as `open_connection`."""
        self._check()
        return await open_connection(self._url, stage, run=self._run, command_s=command_s)

    async def open_pool(self, *, most: int = 8) -> ConnectionPool:
        """A pool of at most `most` connections for everything that is not hot."""
        return await asyncpg.create_pool(  # type: ignore[call-overload,no-any-return]
            self._url,
            min_size=1,
            max_size=most,
            connect=self._connect_pooled,
            connection_class=DatabaseSession,
            init=prepare_connection,
            command_timeout=COMMAND_S,
        )

    async def _connect_pooled(self, url: str, **options: Any) -> DatabaseSession:
        self._check()
        return await _connect(url, session_name(self._run, "pool"), **options)

    def _check(self) -> None:
        if not self._ours():
            raise ConnectionError("the right to work with the database is not confirmed")


class OwnConnection:
    """The one connection of a stage: opened when it is asked for, dropped after a failure."""

    def __init__(
        self,
        database: Database,
        stage: str,
        prepare: Callable[[Connection], Awaitable[None]] | None = None,
        *,
        command_s: float = COMMAND_S,
    ) -> None:
        self._database = database
        self._stage = stage
        self._command_s = command_s
        self._prepare = prepare
        self._connection: Connection | None = None
        self._again = False

    async def get(self) -> Connection:
        """The connection, open. Raises what DatabaseUnavailable names.

        What an earlier one committed, or may have, is kept for good if it is seen by this one.
        """
        if self._connection is None or self._connection.is_closed():
            connection = await self._database.open(self._stage, command_s=self._command_s)
            try:
                if self._prepare is not None:
                    await self._prepare(connection)
                if self._again:
                    await end_former(connection)
                    await connection.execute(CONFIRM_ALL)
                    confirm(connection)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
            self._again = True
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

"""Before a gateway can begin: its database, the right to work with it, its first account."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Collection, Sequence
from random import Random
from weakref import WeakValueDictionary

from gateway.cluster.peers import Peers
from gateway.cluster.placement import Ownership
from gateway.cluster.session_lock import GatewayLock, WorkerIdentity, keys_of
from gateway.cluster.worker_slot import ALONE
from gateway.directory.directory import Directory
from gateway.messages.message import IdSource
from gateway.observe.alerts import Alerts
from gateway.observe.journal import Journal
from gateway.observe.wall import Walls
from gateway.runtime.clock import Clock
from gateway.settings import ConfigurationError, Settings
from gateway.stage_runtime import Runtime
from storage import config as config_rows
from storage.database import (
    ConnectionPool,
    Database,
    DatabaseRefused,
    DatabaseUnavailable,
    TooFewRights,
)
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.migrate import migrate
from storage.safety import LOSES, Danger, Unsafe, dangers

log = logging.getLogger(__name__)

UNSAFE_DATABASE = 99003  # an alert of ours
POOL_CLOSES_S = 1.0


async def own_database(
    settings: Settings, stack: contextlib.AsyncExitStack
) -> tuple[str, EmbeddedPostgres | None]:
    """The URL of the database, and the embedded server that is started where there is none."""
    if settings.database_url is not None:
        return settings.database_url, None
    embedded = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        url = await embedded.start()
    except EmbeddedPostgresError as error:
        raise ConfigurationError(str(error)) from error
    stack.push_async_callback(embedded.stop)
    return url, embedded


async def take_lock(
    url: str,
    run: int,
    place: WorkerIdentity | None,
    allowed: Collection[Danger],
    stop: asyncio.Event,
) -> GatewayLock:
    """The right to work with the database, once it is ours, or `stop` is set.

    Raises ConfigurationError where the database can't be asked.
    """
    shared = "two_gateways" in allowed
    if shared:
        log.warning("several gateways may work with this database: %s", LOSES["two_gateways"])
    gateway_lock = GatewayLock(url, run, keys_of(place), shared=shared)
    try:
        await gateway_lock.wait_unless(stop)
    except BaseException as error:
        gateway_lock.close()
        if isinstance(error, TooFewRights):
            raise ConfigurationError(f"the database can't be prepared: {_reason(error)}") from error
        if isinstance(error, (*DatabaseUnavailable, *DatabaseRefused, ValueError)):
            raise ConfigurationError(f"the database can't be reached: {_reason(error)}") from error
        raise
    return gateway_lock


async def prepare_database(database: Database, allowed: Collection[Danger]) -> list[Unsafe]:
    """Migrate, and make sure that what is committed there is kept.

    Answers what is unsafe and allowed. Raises ConfigurationError for what is not.
    """
    try:
        connection = await database.open("start")
    except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
        raise ConfigurationError(f"the database can't be reached: {_reason(error)}") from error
    try:
        unsafe = await dangers(connection)
        refused = [risk for risk in unsafe if risk.danger not in allowed]
        if refused:
            raise ConfigurationError(_unsafe(refused))
        await migrate(connection)
    except (*DatabaseUnavailable, *DatabaseRefused) as error:
        raise ConfigurationError(f"the database can't be prepared: {_reason(error)}") from error
    finally:
        await connection.close()
    return unsafe


def _unsafe(refused: Sequence[Unsafe]) -> str:
    names = ", ".join(f'"{risk.danger}"' for risk in refused)
    return "\n".join(
        (
            "the database does not keep what it confirms, so no 201 could be trusted:",
            *(f"  {risk.text}" for risk in refused),
            f"set it right, or accept the loss by name: allow_unsafe = [{names}]",
        )
    )


def _reason(error: Exception) -> str:
    return (
        f"{error} (database_url, or TANDEM_DATABASE_URL, says which)" if str(error) else "timeout"
    )


def warn_of(unsafe: Sequence[Unsafe], alerts: Alerts) -> None:
    """The operator accepted these by name: nobody else may come to believe in a 201."""
    for risk in unsafe:
        alerts.alert(UNSAFE_DATABASE, risk.text, subject=risk.danger)


async def ensure_account(pool: ConnectionPool, settings: Settings, random: Random) -> None:
    """The first account of a new database; its credentials go to the data folder."""
    wanted = settings.account
    known = await config_rows.account_sids(pool)
    if wanted.sid in known or (wanted.sid is None and known):
        return
    sid = wanted.sid or f"AC{random.getrandbits(128):032x}"
    token = wanted.auth_token or f"{random.getrandbits(128):032x}"
    async with config_rows.change(pool) as connection:
        await config_rows.insert_account(
            connection, sid=sid, owner_id=None, friendly_name="Main", auth_token=token
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    file = settings.data_dir / "account.json"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        json.dump({"account_sid": sid, "auth_token": token}, out)
    log.info("made the first account %s; its token is in %s", sid, file)


async def close_pool(pool: ConnectionPool) -> None:
    """A connection whose server does not answer keeps nobody."""
    try:
        async with asyncio.timeout(POOL_CLOSES_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def runtime_of(
    settings: Settings,
    database: Database,
    pool: ConnectionPool,
    clock: Clock,
    random: Random,
    place: WorkerIdentity | None,
) -> Runtime:
    """What the stages of this process are given."""
    share = place.share if place is not None else ALONE
    directory = Directory()
    ownership = Ownership(share, directory)
    journal = Journal(
        settings.data_dir / "journal" if settings.journal.keep_hours else None,
        clock,
        keep_s=settings.journal.keep_hours * 3600.0,
        most_octets=settings.journal.most_mb * 1024 * 1024,
        writer=share.slot,
    )
    alerts = Alerts(pool, clock, random)
    return Runtime(
        clock=clock,
        random=random,
        next_id=IdSource(clock.wall, clock.monotonic, random.randbytes),
        database=database,
        pool=pool,
        directory=directory,
        ownership=ownership,
        peers=Peers(directory, ownership, place.folder if place is not None else None),
        run_id=f"{random.getrandbits(32):08x}",
        alerts=alerts,
        walls=Walls(alerts),
        journal=journal,
        live=WeakValueDictionary(),
    )

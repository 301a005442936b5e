"""`tandem restore`: hold what may have been sent since a backup, and decide what becomes of it.

Works on the database itself, the one of the configuration or the embedded one. `hold` needs it for
itself; the others may be run beside a gateway.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from gateway.backlog import backup_hold
from gateway.commands.options import TIME, ConfigFile, new_app, refuses, taking
from gateway.messages.message import Status, created_at
from gateway.messages.rows import sid_of_row
from gateway.runtime.times import shown
from gateway.settings import ConfigurationError, Settings, load_settings
from smpp.describe import shown_number
from storage.database import (
    Connection,
    DatabaseRefused,
    DatabaseUnavailable,
    open_connection,
)
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.migrate import SchemaError
from storage.restore import HeldRow

COLUMNS = {  # of a table, and their names in JSON
    "SID": "sid",
    "ACCOUNT": "account_sid",
    "SERVICE": "messaging_service_sid",
    "FROM": "from",
    "TO": "to",
    "STATUS": "status",
    "ACCEPTED": "accepted_at",
    "VALID UNTIL": "valid_until",
    "SEGMENTS": "segments",
}


app = new_app()
AsOf = Annotated[
    datetime | None, Option(**TIME, help="The moment of the backup, as 2026-11-24T21:00:00Z.")
]
refusing = refuses(
    "restore", ConfigurationError, EmbeddedPostgresError, SchemaError, backup_hold.RestoreRefused
)
# Does what was asked; the lines to print, once the database is let go.
Ask = Callable[[Connection, Settings], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class HeldOptions:
    """Which of the held messages are meant."""

    context: typer.Context
    sids: Annotated[list[str] | None, Argument(metavar="SID", help="Of messages.")] = None
    everything: Annotated[bool, Option("--all", help="Everything that is held.")] = False
    account: Annotated[str | None, Option(metavar="SID", help="What is held of this account.")] = (
        None
    )
    since: Annotated[datetime | None, Option(**TIME, help="What was accepted then, or after.")] = (
        None
    )
    before: Annotated[datetime | None, Option(**TIME, help="What was accepted before.")] = None
    config: ConfigFile = None

    def selection(self) -> backup_hold.Selection:
        """Raises RestoreRefused where that is not clear."""
        conditions = (self.account, self.since, self.before)
        some = any(condition is not None for condition in conditions)
        if (bool(self.sids), self.everything, some).count(True) != 1:
            raise backup_hold.RestoreRefused(
                "say which: SIDs, or --all, or one or more of --account, --since, --before"
            )
        return backup_hold.Selection(self.sids or (), *conditions)


@app.callback(invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@refusing
def restore_or_hold(context: typer.Context, as_of: AsOf = None, config: ConfigFile = None) -> int:
    """Decide what may be sent twice after a restore.

    Without a command: `hold`.
    """
    context.obj = context.params  # what is said here holds for the subcommand
    return _run(config, partial(_hold, as_of)) if context.invoked_subcommand is None else 0


@app.command()
@refusing
def hold(context: typer.Context, as_of: AsOf = None, config: ConfigFile = None) -> int:
    """Before the gateway is started: hold what may have been sent since."""
    return _run(config or context.obj["config"], partial(_hold, as_of or context.obj["as_of"]))


@app.command("list")
@refusing
def list_held(
    context: typer.Context,
    account: Annotated[str | None, Option(metavar="SID", help="Only of this account.")] = None,
    form: Annotated[Literal["text", "json"], Option("--format")] = "text",
    config: ConfigFile = None,
) -> int:
    """Print what is held."""
    return _run(config or context.obj["config"], partial(_list, account, form))


@app.command()
@refusing
@taking(HeldOptions)
def release(told: HeldOptions) -> int:
    """Send after all, as a possible duplicate."""
    return _run(told.config or told.context.obj["config"], partial(_release, told.selection()))


@app.command()
@refusing
@taking(HeldOptions)
def close(told: HeldOptions) -> int:
    """Do not send: failed, 30410."""
    return _run(told.config or told.context.obj["config"], partial(_close, told.selection()))


def _run(config: Path | None, ask: Ask) -> int:
    try:
        lines = asyncio.run(_with_database(ask, load_settings(config)))
    except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
        raise backup_hold.RestoreRefused(f"the database can't be asked: {error}") from error
    for line in lines:
        print(line)
    return 0


async def _with_database(ask: Ask, settings: Settings) -> list[str]:
    async with _database(settings) as connection:
        return await ask(connection, settings)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Connection]:
    """Raises Refused where there is none: one that was made now would have nothing to hold."""
    embedded = None
    url = settings.database_url
    if url is None:
        folder = settings.data_dir / "postgres"
        if not await asyncio.to_thread(folder.exists):
            raise backup_hold.RestoreRefused(
                f"there is no database: set database_url, or restore {folder}"
            )
        embedded = EmbeddedPostgres(folder)
        url = await embedded.start()
    try:
        connection = await open_connection(url)
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        if embedded is not None:
            await embedded.stop()


# The commands --------------------------------------------------------------------------------


async def _hold(as_of: datetime | None, connection: Connection, settings: Settings) -> list[str]:
    if as_of is None:
        raise backup_hold.RestoreRefused(
            "say --as-of TIME, the moment of the backup (or list, release, close)"
        )
    done = await backup_hold.hold(
        connection,
        as_of=as_of,
        now=datetime.now(UTC),
        random=SystemRandom(),
        leaves_s=backup_hold.LEAVES_S,
    )
    if done.before is not None:
        then, at = shown(done.before["as_of"]), shown(done.before["held_at"])
        still = _messages(done.before["messages"])
        return [f"held before, at {at} as of {then}; held now: {still}. Nothing more was held"]
    lines = [f"held as of {shown(as_of)}: {_counted(done.counts)}"]
    if done.scheduled:
        lines.append(f"not held, their time has not come: {done.scheduled} scheduled")
    return [
        *lines,
        "the gateway may be started: what is held leaves only by `tandem restore release`",
    ]


async def _list(
    account: str | None, form: str, connection: Connection, settings: Settings
) -> list[str]:
    rows = await backup_hold.held(connection, account)
    entries = [_entry(row, mask=settings.log.mask) for row in rows]
    counts = Counter(Status(row["status"]) for row in rows)
    if form == "json":
        by_status = {status.shown: number for status, number in sorted(counts.items())}
        return [json.dumps({"held": entries, "counts": by_status}, indent=2)]
    return [*(_table(entries) if entries else ()), _counted(counts)]


async def _release(
    selection: backup_hold.Selection, connection: Connection, settings: Settings
) -> list[str]:
    released = await backup_hold.release(connection, selection)
    lines = [f"released {_messages(released)}, marked as possible duplicates"]
    return (
        [*lines, "a gateway that runs takes them up now, another at its start"]
        if released
        else lines
    )


async def _close(
    selection: backup_hold.Selection, connection: Connection, settings: Settings
) -> list[str]:
    closed = await backup_hold.close(
        connection, selection, now=datetime.now(UTC), random=SystemRandom()
    )
    lines = [f"closed {_messages(closed)}: failed, 30410"]
    if closed:
        lines.append("a gateway that runs posts their callbacks now, another at its start")
    return lines


# As printed ----------------------------------------------------------------------------------


def _entry(row: HeldRow, *, mask: bool) -> dict[str, Any]:
    """One held message, without its text."""
    until = row["expires_at"]
    return {
        "sid": sid_of_row(row),
        "account_sid": row["account"],
        "messaging_service_sid": row["service"],
        "from": row["sender"],
        "to": shown_number(row["recipient"], mask),
        "status": Status(row["status"]).shown,
        "accepted_at": shown(datetime.fromtimestamp(created_at(row["id"]), UTC)),
        "valid_until": shown(until) if until is not None else None,
        "segments": row["segments"],
    }


def _table(entries: list[dict[str, Any]]) -> Iterable[str]:
    names = COLUMNS.values()
    cells = [tuple(COLUMNS), *(tuple(_cell(entry[name]) for name in names) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _counted(counts: Mapping[Status, int]) -> str:
    parts = ", ".join(f"{number} {status.shown}" for status, number in sorted(counts.items()))
    return f"{_messages(sum(counts.values()))}{f' ({parts})' if parts else ''}"


def _messages(number: int) -> str:
    return f"{number} message" if number == 1 else f"{number} messages"

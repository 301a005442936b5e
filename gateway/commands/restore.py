"""`tandem restore`: hold what may have been sent since a backup, and decide what becomes of it.

Works on the database itself, the one of the configuration or the embedded one. `hold` needs it for
itself; the others may be run beside a gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any

from gateway.backlog import restore
from gateway.messages.message import Status, created_at
from gateway.runtime.times import moment, shown
from gateway.settings import ConfigurationError, Settings, load_settings
from smpp.describe import shown_number
from storage.database import (
    Connection,
    DatabaseRefused,
    DatabaseUnavailable,
    Row,
    open_connection,
)
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.migrate import SchemaError

WRONG_USE = 2
TIME = "TIME"
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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands; without one, `--as-of` means `hold`."""
    commands = parser.add_subparsers(dest="restore_command", metavar="COMMAND")

    holding = commands.add_parser(
        "hold", help="before the gateway is started: hold what may have been sent since"
    )

    listing = commands.add_parser("list", help="what is held")
    listing.add_argument("--account", metavar="SID", help="only of this account")
    listing.add_argument("--format", choices=("text", "json"), default="text")
    listing.set_defaults(run=_run(_list))

    releasing = commands.add_parser("release", help="send after all, as a possible duplicate")
    _selection(releasing)
    releasing.set_defaults(run=_run(_release))

    closing = commands.add_parser("close", help="do not send: failed, 30410")
    _selection(closing)
    closing.set_defaults(run=_run(_close))

    for command in (parser, holding):
        command.add_argument(
            "--as-of",
            type=moment,
            metavar=TIME,
            default=None if command is parser else argparse.SUPPRESS,
            help="the moment of the backup, as 2026-11-24T21:00:00Z",
        )
        command.set_defaults(run=_run(_hold))
    parser.add_argument("--config", type=Path, help="default: ./tandem.toml where it exists")
    for command in commands.choices.values():
        # What was said before the subcommand holds for it.
        command.add_argument("--config", type=Path, default=argparse.SUPPRESS)


def _selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("sids", nargs="*", metavar="SID", help="of messages")
    command.add_argument("--all", action="store_true", help="everything that is held")
    command.add_argument("--account", metavar="SID", help="what is held of this account")
    command.add_argument(
        "--since", type=moment, metavar=TIME, help="what was accepted then, or after"
    )
    command.add_argument("--before", type=moment, metavar=TIME, help="what was accepted before")


# Does what was asked; the lines to print, once the database is let go.
Ask = Callable[[Connection, argparse.Namespace, Settings], Awaitable[list[str]]]


def _run(command: Ask) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        try:
            lines = asyncio.run(_with_database(command, options, load_settings(options.config)))
        except (
            ConfigurationError,
            EmbeddedPostgresError,
            SchemaError,
            restore.RestoreRefused,
        ) as error:
            print(f"tandem restore: {error}", file=sys.stderr)
            return WRONG_USE
        except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
            print(f"tandem restore: the database can't be asked: {error}", file=sys.stderr)
            return WRONG_USE
        for line in lines:
            print(line)
        return 0

    return run


async def _with_database(
    command: Ask, options: argparse.Namespace, settings: Settings
) -> list[str]:
    async with _database(settings) as connection:
        return await command(connection, options, settings)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Connection]:
    """Raises Refused where there is none: one that was made now would have nothing to hold."""
    embedded = None
    url = settings.database_url
    if url is None:
        folder = settings.data_dir / "postgres"
        if not await asyncio.to_thread(folder.exists):
            raise restore.RestoreRefused(
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


async def _hold(
    connection: Connection, options: argparse.Namespace, settings: Settings
) -> list[str]:
    if options.as_of is None:
        raise restore.RestoreRefused(
            "say --as-of TIME, the moment of the backup (or list, release, close)"
        )
    done = await restore.hold(
        connection,
        as_of=options.as_of,
        now=datetime.now(UTC),
        random=SystemRandom(),
        leaves_s=restore.LEAVES_S,
    )
    if done.before is not None:
        as_of, at = shown(done.before["as_of"]), shown(done.before["held_at"])
        still = _messages(done.before["messages"])
        return [f"held before, at {at} as of {as_of}; held now: {still}. Nothing more was held"]
    lines = [f"held as of {shown(options.as_of)}: {_counted(done.counts)}"]
    if done.scheduled:
        lines.append(f"not held, their time has not come: {done.scheduled} scheduled")
    return [
        *lines,
        "the gateway may be started: what is held leaves only by `tandem restore release`",
    ]


async def _list(
    connection: Connection, options: argparse.Namespace, settings: Settings
) -> list[str]:
    rows = await restore.held(connection, options.account)
    entries = [_entry(row, mask=settings.log.mask) for row in rows]
    counts = Counter(Status(row["status"]) for row in rows)
    if options.format == "json":
        by_status = {status.shown: number for status, number in sorted(counts.items())}
        return [json.dumps({"held": entries, "counts": by_status}, indent=2)]
    return [*(_table(entries) if entries else ()), _counted(counts)]


async def _release(
    connection: Connection, options: argparse.Namespace, settings: Settings
) -> list[str]:
    released = await restore.release(connection, _selected(options))
    lines = [f"released {_messages(released)}, marked as possible duplicates"]
    return (
        [*lines, "a gateway that runs takes them up now, another at its start"]
        if released
        else lines
    )


async def _close(
    connection: Connection, options: argparse.Namespace, settings: Settings
) -> list[str]:
    closed = await restore.close(
        connection, _selected(options), now=datetime.now(UTC), random=SystemRandom()
    )
    lines = [f"closed {_messages(closed)}: failed, 30410"]
    if closed:
        lines.append("a gateway that runs posts their callbacks now, another at its start")
    return lines


def _selected(options: argparse.Namespace) -> restore.Selection:
    """What is meant. Raises Refused where that is not clear."""
    conditions = (options.account, options.since, options.before)
    some = any(condition is not None for condition in conditions)
    if (bool(options.sids), options.all, some).count(True) != 1:
        raise restore.RestoreRefused(
            "say which: SIDs, or --all, or one or more of --account, --since, --before"
        )
    return restore.Selection(tuple(options.sids), *conditions)


# As printed ----------------------------------------------------------------------------------


def _entry(row: Row, *, mask: bool) -> dict[str, Any]:
    """One held message, without its text."""
    until = row["expires_at"]
    return {
        "sid": restore.sid_of(row),
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

"""Numbered SQL files, applied once each, in order, by one process at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from storage.database import Connection

ADVISORY_LOCK = 0x7A4DE3  # any number of our own; held while migrating
FILE_NAME = re.compile(r"^(\d{4})_(\w+)\.sql$")


class SchemaError(Exception):
    """The database and this code do not fit together."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """The packaged migrations, by version. Raises SchemaError on a gap."""
    found = []
    for file in resources.files("storage.schema").iterdir():
        match = FILE_NAME.match(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text()))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise SchemaError("migrations must be numbered 0001, 0002, … without a gap")
    return found


async def version(connection: Connection) -> int | None:
    """The schema's version; None for a database that has none of ours."""
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        return None
    current: int | None = await connection.fetchval("SELECT max(version) FROM schema_version")
    return current


async def migrate(connection: Connection) -> int:
    """Bring the schema up to this code's version and return it.

    Raises SchemaError when the database is newer than the code: an older program must
    not write into tables that it does not understand.
    """
    known = migrations()
    await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version ("
            " version int PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        current = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_version")
        if current > len(known):
            raise SchemaError(
                f"the database has schema {current}, this version of Tandem knows {len(known)}:"
                " upgrade Tandem, or restore a backup made before the upgrade"
            )
        for migration in known[current:]:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_version (version, name) VALUES ($1, $2)",
                    migration.version,
                    migration.name,
                )
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)
    return len(known)

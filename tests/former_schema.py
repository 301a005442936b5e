"""The schema as an earlier version had it."""

from __future__ import annotations

from itertools import takewhile

import asyncpg

from storage.migrate import migrations


async def until_before(connection: asyncpg.Connection, name: str) -> None:
    """The schema as it was before that migration."""
    await connection.execute(
        "CREATE TABLE schema_version (version int PRIMARY KEY, name text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    for migration in takewhile(lambda migration: migration.name != name, migrations()):
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_version VALUES ($1, $2)", migration.version, migration.name
        )

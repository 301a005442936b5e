"""`tandem demo` and `tandem world` as one runs them: each a process, on ports of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

import asyncpg
import pytest
from commands import PORTS, Command
from testing import until


async def test_the_demo_shows_the_life_of_its_message_in_order(command: Command) -> None:
    assert await command.run("demo") == 0, command.said
    states = re.findall(r"^ +([\d.]+) s  state +(\w+)", command.said, re.MULTILINE)
    assert [state for _, state in states] == ["accepted", "queued", "sending", "sent", "delivered"]
    times = re.findall(r"^ +(-?[\d.]+) s ", command.said, re.MULTILINE)
    assert times == sorted(times, key=float)
    assert re.search(r"queued, from \+44770090010[12] ", command.said)
    assert command.said.count("PDU ") == 4
    assert re.findall(r"callback +(\w+)  signature verified", command.said) == [
        "queued",
        "sent",
        "delivered",
    ]


@pytest.mark.parametrize("name", ["demo", "world"])
async def test_a_database_that_does_not_let_us_in_is_named(
    command: Command, name: str, database_url: str
) -> None:
    for wrong, reason in (
        (database_url.replace("tandem_test", "no_such_database"), "no_such_database"),
        ("postgresql://127.0.0.1:1/tandem", "can't be reached"),
        ("nonsense", "can't be reached"),
    ):
        command.environment["TANDEM_DATABASE_URL"] = wrong
        assert await command.run(name) == 2
        last = command.said.splitlines()[-1]
        assert last.startswith(f"tandem {name}: the gateway ended with status 2: tandem serve: ")
        assert reason in last
        assert "Traceback" not in command.said


async def test_serve_names_a_role_that_does_not_exist(command: Command, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE guest_of_nothing LOGIN")
    try:
        for role, reason in (("nobody_at_all", "nobody_at_all"), ("guest_of_nothing", "prepared")):
            command.environment["TANDEM_DATABASE_URL"] = re.sub(
                r"//[^@]*@", f"//{role}@", database_url
            )
            assert await command.run("serve") == 2
            assert reason in command.said
            assert "Traceback" not in command.said
    finally:
        await connection.execute("DROP ROLE guest_of_nothing")
        await connection.close()


async def test_the_world_starts_again_what_dies(command: Command) -> None:
    await command.start("world")
    await command.says("facts")
    gateway = command.facts["gateway_pid"]
    os.kill(gateway, signal.SIGKILL)
    await command.says("gateway    ended with status -9; starting it again")
    await command.says("gateway    http", 2)
    await until(lambda: command.facts["gateway_pid"] != gateway)
    os.kill(_listener(command.port("SMSC_PORT")), signal.SIGKILL)
    await command.says("simulator  ended with status -9; starting it again")
    await command.says("simulator  smpp", 2)
    command.signal(signal.SIGINT)
    command.signal(signal.SIGTERM)
    assert await command.ends() == 0
    assert not _taken(command)


async def test_a_taken_port_is_named_with_its_likely_reason(command: Command, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", command.port("PORT"))):
        assert await command.run("world") == 2
        assert "set TANDEM_PORT to a free one" in command.said
        (folder / "demo.json").write_text(json.dumps({"gateway_pid": os.getpid()}))
        assert await command.run("world") == 2
        assert f"whose gateway was process {os.getpid()}" in command.said
    for option, name in (("--port", "SMSC_PORT"), ("--control-port", "SMSC_CONTROL_PORT")):
        ports = [
            *("--port", str(command.port("SMSC_PORT"))),
            *("--control-port", str(command.port("SMSC_CONTROL_PORT"))),
        ]
        with socket.create_server(("127.0.0.1", command.port(name))):
            assert await command.run("smsc", *ports) == 2
            assert f"({option} chooses another)" in command.said


async def test_a_data_folder_that_cannot_be_is_named(command: Command, folder: Path) -> None:
    (folder / "file").touch()
    command.environment["TANDEM_DATA_DIR"] = str(folder / "file")
    del command.environment["TANDEM_DATABASE_URL"]
    for arguments in (("world",), ("demo",), ("serve",), ("carrier", "check", "x")):
        assert await command.run(*arguments) == 2, command.said
        assert "Traceback" not in command.said
        assert "TANDEM_DATA_DIR" in command.said or arguments[0] == "carrier"


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's word of a parent's death")
async def test_a_killed_world_leaves_nothing_running(folder: Path) -> None:
    command = Command(folder)
    await command.start("world")
    await command.says("facts")
    database = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    command.signal(signal.SIGKILL)
    await command.ends()
    await until(lambda: not _taken(command))
    await until(lambda: not Path(f"/proc/{database}").exists())
    await command.start("world")  # and nothing is in the way of the next
    await command.says("facts")
    command.signal(signal.SIGTERM)
    assert await command.ends() == 0


def _taken(command: Command) -> list[str]:
    taken = []
    for name in PORTS[:3]:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", command.port(name))) == 0:
                taken.append(name)
    return taken


def _listener(port: int) -> int:
    import psutil

    for connection in psutil.net_connections("tcp"):
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            assert connection.pid is not None
            return int(connection.pid)
    raise LookupError(port)


async def test_the_tour_of_the_readme_prints_what_it_says(command: Command, folder: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [tour] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (folder / ".tandem").symlink_to(folder)
    await command.start("world")
    await command.says("facts")
    python = await asyncio.create_subprocess_exec(
        sys.executable, "-c", tour, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await python.communicate()
    promised = re.findall(r"^print\(.*\)  # (.*)$", tour, re.MULTILINE)
    for line, promise in zip(said.decode().splitlines(), promised, strict=True):
        assert re.fullmatch(re.escape(promise).replace("…", r"\w+"), line), line

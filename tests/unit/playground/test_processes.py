"""Children of the world: what they say is read, and they end when they should."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from testing import free_port, until

from gateway.playground import processes
from gateway.playground.processes import Child
from gateway.playground.world import until_terminated


class Script(Child):
    """A child that runs some Python instead of `tandem`."""

    def __init__(self, code: str, on_line: Callable[[str], None]) -> None:
        super().__init__("script", ["--version"], {"SCRIPT": code}, on_line)


@pytest.fixture
async def script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Callable[[str], tuple[Child, list[str]]]]:
    runner = tmp_path / "run"
    runner.write_text(f"#!{sys.executable}\nimport os\nexec(os.environ['SCRIPT'])\n")
    runner.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(runner))
    children: list[Child] = []

    def make(code: str) -> tuple[Child, list[str]]:
        lines: list[str] = []
        children.append(Script(code, lines.append))
        return children[-1], lines

    yield make
    for child in children:
        await child.stop()


Make = Callable[[str], tuple[Child, list[str]]]


@pytest.mark.parametrize("length", [10, 65_536, 200_000, 2_000_000])
async def test_a_line_may_have_any_length(script: Make, length: int) -> None:
    child, lines = script(f"print('x' * {length}); print('the next'); print('last', end='')")
    await child.start()
    assert await child.wait() == 0
    assert lines[-2:] == ["the next", "last"]
    assert "".join(lines[:-2]) == "x" * length
    assert child.last_line == "last"


async def test_a_child_that_will_not_stop_is_killed(
    script: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.3)
    child, lines = script(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(60)"
    )
    await child.start()
    await until(lambda: lines == ["ready"])
    await child.stop()
    assert await child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("tandem serve: no", "tandem serve: no"),
        ('{"message": "m", "level": "error"}', "m"),
        ('{"message": "m", "exception": "Traceback:\\n  x\\nValueError: why"}', "ValueError: why"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
async def test_a_child_is_quoted(script: Make, words: str, reason: str) -> None:
    child, _ = script(f"print({words!r})")
    await child.start()
    await child.wait()
    assert child.why_it_ended() == reason


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word is Linux's own")
async def test_a_child_ends_with_a_parent_that_is_killed() -> None:
    code = """
import asyncio
from gateway.playground.processes import Child
async def main():
    child = Child("smsc", ["smsc", "--port", "0", "--control-port", "0"], {}, lambda line: None)
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    await asyncio.sleep(0.3)
    os.kill(pid, 0)
    parent.kill()
    await parent.wait()
    await until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_second_signal_does_not_cut_the_cleaning_up_short() -> None:
    """In a process of its own, whose signals are its own."""
    code = """
import asyncio, os, signal
from gateway.playground.world import until_terminated
async def work():
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        print("first", flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        print("cleaned", flush=True)
    return 0
raise SystemExit(asyncio.run(until_terminated(work, 7)))
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGTERM)
    assert (await child.stdout.read()).decode().split() == ["first", "cleaned"]
    assert await child.wait() == 7


async def test_work_that_ends_by_itself_gives_its_own_status() -> None:
    async def work() -> int:
        return 3

    async def failing() -> int:
        raise LookupError

    assert await until_terminated(work) == 3
    with pytest.raises(LookupError):
        await until_terminated(failing)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)


@pytest.mark.parametrize("command", ["demo", "world", "serve", "smsc"])
@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.3])
def test_a_ctrl_c_at_the_beginning_shows_no_traceback(
    command: str, after_s: float, tmp_path: Path
) -> None:
    code = "import sys; from gateway.entry import main; print('go', flush=True); sys.exit(main())"
    ports = {
        f"TANDEM_{name}": str(free_port())
        for name in ("PORT", "SMSC_PORT", "SMSC_CONTROL_PORT", "CALLBACK_PORT")
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code, command],
        env={**os.environ, **ports, "TANDEM_DATABASE_URL": "postgresql://127.0.0.1:1/none"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert b"Traceback" not in said
    assert b"KeyboardInterrupt" not in said

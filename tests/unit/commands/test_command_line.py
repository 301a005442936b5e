"""The command line as a whole: every command's help, what is refused, and how it is shown."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from gateway.commands.main import COMMANDS, OWN_SIGNALS, app, main

ENTRY = "import sys; from gateway.entry import main; sys.exit(main())"
NUMBERS = ("--from", "+447700900101", "--to", "+447700900102")


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each command, groups and `tandem` itself among them."""
    group = group or get_group(app)
    yield path
    for name in group.list_commands(None) if hasattr(group, "list_commands") else ():
        yield from commands(group.get_command(None, name), (*path, name))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said to arguments that typer or we refuse."""
    try:
        status: object = main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_the_walk_finds_every_command() -> None:
    found = set(commands())
    assert {path[0] for path in found if path} == set(COMMANDS)
    assert {("smsc", "mo"), ("carrier", "check"), ("restore", "close"), ("ca", "init")} <= found
    assert set(OWN_SIGNALS) < set(COMMANDS)


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_a_help_in_plain_text(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(capsys, *path, "--help")
    assert said.startswith(f"Usage: {' '.join(('tandem', *path))} ")
    assert said.splitlines()[2].endswith(".")  # what it does
    assert "completion" not in said
    assert "\x1b" not in said
    assert "╭" not in said
    assert shown(capsys, *path, "-h") == said


def test_the_help_lists_every_command_with_a_line_of_what_it_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = dict(
        line.split(maxsplit=1)
        for line in shown(capsys, "--help").split("Commands:\n")[1].splitlines()
    )
    assert tuple(lines) == COMMANDS
    assert all(line.endswith(".") and not line.endswith("...") for line in lines.values())


def test_what_the_supervisor_tells_its_workers_is_hidden_and_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = shown(capsys, "serve", "--help")
    assert "--workers" in said
    for option in ("--worker ", "--links", "--heartbeat"):
        assert option not in said
    assert "'--worker': Value error" in refused(capsys, "serve", "--worker", "first/2")
    assert "'--heartbeat'" in refused(capsys, "serve", "--worker", "0/2", "--heartbeat", "x")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--version") == f"tandem {version('tandem')}\n"


@pytest.mark.parametrize("path", [(), ("carrier",), ("ca",), ("webhook",)], ids=" ".join)
def test_a_group_alone_tells_what_there_is(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, *path)
    assert said.rstrip() == shown(capsys, *path, "--help").rstrip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("serv", "No such command 'serv'. Did you mean 'serve'?"),
        ("--nonsense", "No such option: --nonsense"),
        ("serve --workers many", "'--workers'"),
        ("serve now", "unexpected extra argument(s) (now)"),
        ("serve --conf x", "No such option: --conf"),
        ("smsc --port smpp", "'--port'"),
        ("smsc --port 65536", "'--port'"),
        ("smsc --control-port -1", "'--control-port'"),
        ("smsc nonsense", "No such command 'nonsense'"),
        ("smsc mo hello --to +447700900102", "Missing option '--from'"),
        ("smsc mo --from +447700900101 --to +447700900102", "Missing argument 'text'"),
        ("smsc mo hello --from 1 --to 2 --mode morse", "'udh8', 'udh16', 'sar', 'payload'"),
        ("carrier list main", "unexpected extra argument(s) (main)"),
        ("carrier show", "Missing argument 'NAME'"),
        ("carrier set main", "Missing argument 'FIELD=VALUE'"),
        ("carrier check main --wait long", "'--wait'"),
        ("carrier check main --url http://127.0.0.1:1", "No such option: --url"),
        ("restore --as-of yesterday", "'--as-of': invalid moment value: 'yesterday'"),
        ("restore list --format yaml", "'text', 'json'"),
        ("restore release --since noon", "'--since': invalid moment value: 'noon'"),
        ("restore close --before noon", "'--before': invalid moment value: 'noon'"),
        ("ca init now", "unexpected extra argument(s) (now)"),
        ("webhook sign", "Missing argument 'url'"),
        ("demo now", "unexpected extra argument(s) (now)"),
        ("world --config x", "No such option: --config"),
        ("inbox --reply hi --twiml hi.xml", "--twiml: not allowed with --reply"),
        ("inbox --port 65536", "'--port'"),
        ("bench", "Missing argument 'url'"),
        ("bench http://127.0.0.1:1 --arrivals odd", "'poisson', 'even'"),
        ("reconcile", "Missing option '--ledger'"),
        ("reconcile --ledger http://127.0.0.1:1 --since noon", "invalid moment value: 'noon'"),
    ],
)
def test_wrong_use_is_told_with_the_usage(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, *arguments.split())
    assert said.startswith("Usage: tandem ")
    assert words in said


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        ("serve --config none.toml", "tandem serve: "),
        ("smsc --scenario none.toml", "tandem smsc: "),
        ("carrier list --config none.toml", "tandem carrier: "),
        ("carrier set main rate --config empty.toml", "tandem carrier: 'rate' is not FIELD=VALUE"),
        ("restore --config none.toml list", "tandem restore: "),
        ("restore list --config none.toml", "tandem restore: "),
        ("restore --config empty.toml release", "tandem restore: say which: SIDs, or --all"),
        ("ca init --config none.toml", "tandem ca init: "),
        ("webhook sign here --token x", "tandem webhook sign: here is not an absolute URL"),
        ("bench http://127.0.0.1:1", "tandem bench: give --account and --token"),
        ("reconcile --config none.toml --ledger http://127.0.0.1:1", "tandem reconcile: "),
    ],
)
def test_what_can_not_be_done_is_told_in_a_line(
    arguments: str,
    begin: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWILIO_ACCOUNT_SID", raising=False)
    (tmp_path / "empty.toml").touch()
    said = refused(capsys, *arguments.split())
    assert said.startswith(begin)


def test_a_message_that_no_simulator_takes_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smsc", "mo", *NUMBERS, "--control", "http://127.0.0.1:1", "hello"]) == 1
    assert capsys.readouterr().err.startswith("tandem smsc: http://127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("terminal", "drawn"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)],
    ids=["terminal", "dumb", "NO_COLOR"],
)
def test_boxes_and_colours_are_for_terminals_that_show_them(
    terminal: dict[str, str], drawn: bool
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    outside, inside = pty.openpty()
    for arguments in (["ca", "--help"], ["ca", "init", "--nonsense"]):
        subprocess.run(
            [sys.executable, "-c", ENTRY, *arguments],
            env={**inherited, "TERM": "xterm", **terminal},
            stdout=inside,
            stderr=inside,
            check=False,
            timeout=30,
        )
    os.close(inside)
    said = os.read(outside, 65_536).decode()
    os.close(outside)
    text = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "Usage: tandem ca " in text
    assert "No such option: --nonsense" in text
    assert ("\x1b[" in said, "╭" in said) == (drawn, drawn)


def test_a_ctrl_c_ends_a_command_with_130_and_no_traceback(tmp_path: Path) -> None:
    pipe = tmp_path / "body.json"
    os.mkfifo(pipe)
    words = ["webhook", "sign", "https://a.example/", "--token", "x", "--json", str(pipe)]
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *words], stderr=subprocess.PIPE, start_new_session=True
    )
    with pipe.open("wb"):  # opened once the command reads it
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, b"")

"""The simulator as a program: read the scenario, serve until told to stop."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from smpp.smsc.mobile import Mode
from smpp.smsc.scenario import CarrierScenario, Scenario, ScenarioError, parse
from smpp.smsc.server import Smsc

HOST = "127.0.0.1"
PORT = 2775
CONTROL_PORT = 2780
CONTROL_URL = f"http://{HOST}:{CONTROL_PORT}"


def run(
    host: str = HOST,
    port: int = PORT,
    control_port: int = CONTROL_PORT,
    scenario: Path | None = None,
    seed: int | None = None,
    system_id: str | None = None,
    password: str | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM. Exit status 2 for a scenario or port that cannot be.

    A `port` of 0 takes a free one; `seed` is of all chances and the first message id. `system_id`
    and `password` are the first carrier's login, in place of the scenario's.
    """
    try:
        smsc = Smsc(_scenario(scenario, system_id, password), seed=seed)
    except (ScenarioError, OSError) as error:
        print(f"tandem smsc: {error}", file=sys.stderr)
        return 2
    serving = _serve(smsc, host, port, control_port)
    try:
        import uvloop
    except ImportError:  # it is a matter of speed only
        return asyncio.run(serving)
    return uvloop.run(serving)


def _scenario(path: Path | None, system_id: str | None, password: str | None) -> Scenario:
    scenario = Scenario()
    if path is not None:
        scenario = parse(path.read_text(encoding="utf-8"), path.name)
    first: CarrierScenario = scenario.carriers[0]
    if system_id:
        first = replace(first, system_id=system_id)
    if password:
        first = replace(first, password=password)
    return replace(scenario, carriers=(first, *scenario.carriers[1:]))


async def _serve(smsc: Smsc, host: str, port: int, control_port: int) -> int:
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    try:
        await smsc.start(host, port, control_port)
    except OSError as error:
        other = _another_port(error, {"--control-port": control_port, "--port": port})
        print(f"tandem smsc: {error}{other}", file=sys.stderr)
        return 2
    for carrier in smsc.carriers:
        name = carrier.scenario.name
        print(
            f"{name}: smpp://{host}:{smsc.ports[name]} system_id {carrier.scenario.system_id}",
            flush=True,
        )
    print(f"control: http://{host}:{smsc.control_port}", flush=True)
    await done.wait()
    await smsc.stop()
    return 0


def _another_port(error: OSError, ports: dict[str, int]) -> str:
    """Which option chooses another port, where one is taken or not for us."""
    for option, port in ports.items():
        if error.errno in (errno.EADDRINUSE, errno.EACCES) and f", {port})" in str(error):
            return f" ({option} chooses another)"
    return ""


def send_message(
    text: str,
    sender: str,
    recipient: str,
    control: str = CONTROL_URL,
    mode: Mode = "udh8",
    carrier: str = "",
) -> int:
    """Let a subscriber write to us, through a running simulator's control endpoint.

    `mode` is how a long text is cut; `carrier` the name of one, or empty for the first.
    """
    order = {"from": sender, "to": recipient, "text": text, "mode": mode, "carrier": carrier}
    request = urllib.request.Request(f"{control}/mo", json.dumps(order).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as error:
        print(f"tandem smsc: {error.read().decode()}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tandem smsc: {control}: {error}", file=sys.stderr)
        return 1
    return 0

"""The simulator as a program: read the scenario, serve until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from smpp.smsc.mobile import MODES
from smpp.smsc.scenario import CarrierScenario, Scenario, ScenarioError, parse
from smpp.smsc.server import Smsc


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser, and `mo`, which sets `run` to `send_message`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=2775, help="SMPP port; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=2780, help="port of the HTTP control")
    parser.add_argument("--scenario", metavar="FILE", help="a scenario file (docs/smpp.md)")
    parser.add_argument("--seed", type=int, help="of all chances and the first message id")
    parser.add_argument("--system-id", help="login of the first carrier")
    parser.add_argument("--password", help="password of the first carrier")
    commands = parser.add_subparsers(title="commands", metavar="")
    message = commands.add_parser("mo", help="send a message in, through a running simulator")
    message.add_argument("--control", default="http://127.0.0.1:2780", metavar="URL")
    message.add_argument("--from", dest="sender", required=True, help="the subscriber's number")
    message.add_argument("--to", dest="recipient", required=True, help="one of our numbers")
    message.add_argument("--mode", default="udh8", choices=MODES, help="how long texts are cut")
    message.add_argument("--carrier", default="", help="name of the carrier; else the first")
    message.add_argument("text")
    message.set_defaults(run=send_message)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Exit status 2 for a scenario or port that cannot be."""
    try:
        scenario = _scenario(args)
    except (ScenarioError, OSError) as error:
        print(f"tandem smsc: {error}", file=sys.stderr)
        return 2
    try:
        import uvloop
    except ImportError:  # it is a matter of speed only
        return asyncio.run(_serve(args, scenario))
    return uvloop.run(_serve(args, scenario))


def _scenario(args: argparse.Namespace) -> Scenario:
    scenario = Scenario()
    if args.scenario:
        path = Path(args.scenario)
        scenario = parse(path.read_text(encoding="utf-8"), path.name)
    first: CarrierScenario = scenario.carriers[0]
    if args.system_id:
        first = replace(first, system_id=args.system_id)
    if args.password:
        first = replace(first, password=args.password)
    return replace(scenario, carriers=(first, *scenario.carriers[1:]))


async def _serve(args: argparse.Namespace, scenario: Scenario) -> int:
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    smsc = Smsc(scenario, seed=args.seed)
    try:
        await smsc.start(args.host, args.port, args.control_port)
    except OSError as error:
        print(f"tandem smsc: {error}{_another_port(args, error)}", file=sys.stderr)
        return 2
    for carrier in smsc.carriers:
        name = carrier.scenario.name
        print(
            f"{name}: smpp://{args.host}:{smsc.ports[name]} system_id {carrier.scenario.system_id}",
            flush=True,
        )
    print(f"control: http://{args.host}:{smsc.control_port}", flush=True)
    await done.wait()
    await smsc.stop()
    return 0


def _another_port(args: argparse.Namespace, error: OSError) -> str:
    """Which option chooses another port, where one is taken or not for us."""
    for option, port in (("--control-port", args.control_port), ("--port", args.port)):
        if error.errno in (errno.EADDRINUSE, errno.EACCES) and f", {port})" in str(error):
            return f" ({option} chooses another)"
    return ""


def send_message(args: argparse.Namespace) -> int:
    """Let a subscriber write to us, through a running simulator's control endpoint."""
    order = {
        "from": args.sender,
        "to": args.recipient,
        "text": args.text,
        "mode": args.mode,
        "carrier": args.carrier,
    }
    request = urllib.request.Request(f"{args.control}/mo", json.dumps(order).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as error:
        print(f"tandem smsc: {error.read().decode()}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tandem smsc: {args.control}: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """`python -m smpp.smsc`."""
    parser = argparse.ArgumentParser(prog="tandem smsc", description=__doc__)
    parser.set_defaults(run=run)
    arguments(parser)
    args = parser.parse_args()
    return int(args.run(args))

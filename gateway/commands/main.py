"""The `tandem` command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from gateway.app import Gateway
from gateway.cluster.session_lock import WorkerIdentity
from gateway.cluster.share import WorkerSlot
from gateway.commands import bench, ca, carrier, inbox, restore, webhook
from gateway.commands.garbage_collector import tune_collector
from gateway.commands.supervisor import Supervisor, beat
from gateway.observe.logs import set_up_logging
from gateway.runtime.event_loop import EventLoop
from gateway.runtime.open_files import raise_open_files
from gateway.runtime.times import moment
from gateway.settings import ConfigurationError, load_settings
from smpp.smsc import command as smsc_command
from storage.migrate import SchemaError

log = logging.getLogger("tandem")

WRONG_USE = 2
# These have a handler for SIGINT before they have anything to clean up: see gateway.entry.
OWN_SIGNALS = ("serve", "smsc", "demo", "world", "inbox")
INTERRUPTED = 130  # as shells say of a program that a Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is its verdict."""
    parser = argparse.ArgumentParser(
        prog="tandem", description="A self-hosted, Twilio-compatible messaging gateway."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the gateway")
    serve.add_argument("--config", type=Path, help="default: ./tandem.toml where it exists")
    serve.add_argument(
        "--workers", type=int, metavar="N", help="processes that are one gateway; default: 1"
    )
    # What the supervisor tells its workers.
    serve.add_argument("--worker", type=_share, help=argparse.SUPPRESS)
    serve.add_argument("--links", type=Path, help=argparse.SUPPRESS)
    serve.add_argument("--heartbeat", type=int, help=argparse.SUPPRESS)
    serve.set_defaults(run=_serve)

    smsc = commands.add_parser("smsc", help="run the carrier simulator")
    smsc_command.arguments(smsc)
    smsc.set_defaults(run=smsc_command.run)

    carrier_parser = commands.add_parser("carrier", help="show, change and test carriers")
    carrier.arguments(carrier_parser)

    restore_parser = commands.add_parser("restore", help="what may be sent twice after a restore")
    restore.arguments(restore_parser)

    authority = commands.add_parser("ca", help="the certificates for apps that stay as they are")
    ca.arguments(authority)

    webhook_parser = commands.add_parser("webhook", help="how webhooks are signed")
    webhook.arguments(webhook_parser)

    demo = commands.add_parser("demo", help="send one message through everything")
    demo.set_defaults(run=_demo)

    world = commands.add_parser("world", help="gateway, simulator and database, kept running")
    world.set_defaults(run=_world)

    inbox_parser = commands.add_parser("inbox", help="an app's server to try things with")
    inbox.arguments(inbox_parser)
    inbox_parser.set_defaults(run=inbox.run)

    bench_parser = commands.add_parser("bench", help="load on a gateway, and what came of it")
    bench.arguments(bench_parser)

    reconcile = commands.add_parser(
        "reconcile", help="hold the database against a carrier simulator's ledger"
    )
    reconcile.add_argument("--config", type=Path, help="default: ./tandem.toml where it exists")
    reconcile.add_argument(
        "--ledger", required=True, metavar="URL", help="the simulator's control endpoint"
    )
    reconcile.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="only messages accepted since, as 2026-11-24T21:00:00Z: of what is older than the"
        " simulator, its ledger knows nothing, and it would count as lost",
    )
    reconcile.add_argument(
        "--api",
        type=Path,
        metavar="FILE",
        help="the SIDs that an app was told 201 for, one a line: each must have a row",
    )
    reconcile.add_argument(
        "--gateway",
        action="append",
        default=[],
        metavar="URL",
        help="a gateway on this database, to be asked what it holds (for several, said again): what"
        " waits for over 30 s and is in none of their memories is told, too",
    )
    reconcile.set_defaults(run=_reconcile)

    arguments = parser.parse_args(argv)
    from_entry = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if from_entry and arguments.command not in OWN_SIGNALS:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED


def _serve(arguments: argparse.Namespace) -> int:
    try:
        chosen = {"workers": arguments.workers} if arguments.workers is not None else {}
        settings = load_settings(arguments.config, **chosen)
        set_up_logging(settings.log.level, settings.log.form)
        raise_open_files()
        if arguments.worker is not None:
            gateway = Gateway(settings, place=WorkerIdentity(arguments.worker, arguments.links))
            return uvloop.run(_run_gateway(gateway, arguments.heartbeat), loop_factory=EventLoop)
        if settings.workers > 1:
            return asyncio.run(_supervise(Supervisor(settings, arguments.config)))
        return uvloop.run(_run_gateway(Gateway(settings)), loop_factory=EventLoop)
    except (ConfigurationError, SchemaError) as error:
        print(f"tandem serve: {error}", file=sys.stderr)
        return WRONG_USE


async def _supervise(supervisor: Supervisor) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop.set)
    return await supervisor.run()


def _share(text: str) -> WorkerSlot:
    slot, _, workers = text.partition("/")
    return WorkerSlot(int(slot), int(workers))


async def _run_gateway(gateway: Gateway, heartbeat: int | None = None) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, gateway.stop.set)
    tune_collector()
    beating = asyncio.create_task(_beat(gateway, heartbeat)) if heartbeat is not None else None
    try:
        await gateway.run()
    except (ConfigurationError, SchemaError):
        raise
    except Exception:
        log.exception("the gateway stops: one of its stages failed")
        return 1
    finally:
        if beating is not None:
            beating.cancel()
    return 0


async def _beat(gateway: Gateway, heartbeat: int) -> None:
    await gateway.started.wait()
    await beat(heartbeat)


def _reconcile(arguments: argparse.Namespace) -> int:
    from gateway.loadtest.reconcile import read_sids, reconcile

    try:
        settings = load_settings(arguments.config)
        told = None
        if arguments.api is not None:
            told = read_sids(arguments.api.read_text(errors="replace").splitlines())
        return asyncio.run(
            reconcile(
                settings,
                arguments.ledger,
                arguments.since,
                told,
                gateways=arguments.gateway,
            )
        )
    except (ConfigurationError, OSError) as error:
        print(f"tandem reconcile: {error}", file=sys.stderr)
        return WRONG_USE


def _demo(arguments: argparse.Namespace) -> int:
    from gateway.playground.demo import run_demo

    return run_demo()


def _world(arguments: argparse.Namespace) -> int:
    from gateway.playground.world import run_world

    return run_world()


if __name__ == "__main__":
    sys.exit(main())

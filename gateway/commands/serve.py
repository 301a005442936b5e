"""`tandem serve`: the gateway, in one process or in several."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import uvloop
from typer import Option

from gateway.app import Gateway
from gateway.cluster.session_lock import WorkerIdentity
from gateway.cluster.worker_slot import WorkerSlot
from gateway.commands.garbage_collector import tune_collector
from gateway.commands.options import ConfigFile, new_app, refuses
from gateway.commands.supervisor import Supervisor, beat
from gateway.observe.logs import set_up_logging
from gateway.runtime.event_loop import EventLoop
from gateway.runtime.open_files import raise_open_files
from gateway.settings import ConfigurationError, load_settings
from storage.migrate import SchemaError

log = logging.getLogger("tandem")
app = new_app()


def _share(text: str) -> WorkerSlot:
    slot, _, workers = text.partition("/")
    return WorkerSlot(int(slot), int(workers))


@app.command()
@refuses("serve", ConfigurationError, SchemaError)
def serve(
    config: ConfigFile = None,
    workers: Annotated[
        int | None, Option(metavar="N", help="Processes that are one gateway. Default: 1.")
    ] = None,
    # What the supervisor tells its workers.
    worker: Annotated[WorkerSlot | None, Option(parser=_share, hidden=True)] = None,
    links: Annotated[Path | None, Option(hidden=True)] = None,
    heartbeat: Annotated[int | None, Option(hidden=True)] = None,
) -> int:
    """Run the gateway."""
    chosen = {"workers": workers} if workers is not None else {}
    settings = load_settings(config, **chosen)
    set_up_logging(settings.log.level, settings.log.form)
    raise_open_files()
    if worker is not None and links is not None:
        gateway = Gateway(settings, place=WorkerIdentity(worker, links))
        return uvloop.run(_run_gateway(gateway, heartbeat), loop_factory=EventLoop)
    if settings.workers > 1:
        return asyncio.run(_supervise(Supervisor(settings, config)))
    return uvloop.run(_run_gateway(Gateway(settings)), loop_factory=EventLoop)


async def _supervise(supervisor: Supervisor) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop.set)
    return await supervisor.run()


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

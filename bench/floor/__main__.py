"""The floor as a program: `python -m bench.floor --database-url … --smsc-port … --port …`.

Its database is migrated as the gateway's is. It recovers from nothing: whatever goes wrong ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import signal
from datetime import UTC, datetime

import uvloop

from bench.floor.callbacks import Callbacks
from bench.floor.http import Http
from bench.floor.pipeline import Pipeline
from bench.floor.rows import Rows
from smpp.esme import Bind, BindConfig
from smpp.esme_session import EsmeConfig
from storage.database import open_connection
from storage.messages import tune_for_batches
from storage.migrate import migrate
from storage.partitions import ensure_partitions

HOST = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.floor", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--smsc-port", type=int, required=True)
    parser.add_argument("--system-id", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--window", type=int, required=True)
    parser.add_argument("--callbacks", metavar="URL", required=True)
    parser.add_argument("--account", metavar="SID", required=True)
    parser.add_argument("--token", required=True)
    uvloop.run(_until_terminated(parser.parse_args()))


async def _until_terminated(parsed: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(parsed, stop)


async def run(parsed: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, or until something goes wrong, which is raised."""
    accepting = await open_connection(parsed.database_url)
    await migrate(accepting)
    await ensure_partitions(accepting, datetime.now(UTC).date())
    writing = await open_connection(parsed.database_url)
    for connection in (accepting, writing):
        await tune_for_batches(connection)
    callbacks = Callbacks(parsed.callbacks, parsed.token)
    await callbacks.connect()
    pipeline = Pipeline(accepting, writing, await Rows.of(accepting), callbacks)
    session = EsmeConfig(parsed.system_id, parsed.password, window=parsed.window)
    pipeline.bind = Bind(BindConfig("floor", ((HOST, parsed.smsc_port),), session), pipeline)
    credentials = base64.b64encode(f"{parsed.account}:{parsed.token}".encode())
    server = await asyncio.get_running_loop().create_server(
        lambda: Http(pipeline, b"Basic " + credentials), HOST, parsed.port
    )
    stages = [
        asyncio.create_task(stage, name=name)
        for name, stage in (
            ("bind", pipeline.bind.run()),
            ("accept", pipeline.run_accept()),
            ("write", pipeline.run_write()),
            ("stop", stop.wait()),
        )
    ]
    done, _ = await asyncio.wait(stages, return_when=asyncio.FIRST_COMPLETED)
    server.close()
    callbacks.close()
    for stage in stages:
        stage.cancel()
    await asyncio.gather(*stages, return_exceptions=True)
    for connection in (accepting, writing):
        connection.terminate()
    for stage in done:
        stage.result()


if __name__ == "__main__":
    main()

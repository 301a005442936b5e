"""The gateway's own Postgres is killed under load: it comes back, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from testing import Client50, GatewayProcess, Receiver, Sdk, free_port, until
from workers import WorkersProcess

from gateway.loadtest.reconcile import compare, read_ledger
from gateway.messages.message import Direction
from smpp.smsc import Smsc
from storage import messages as message_rows
from storage import postmaster
from storage.ids import id_at

PART = 150  # messages before, and as many after


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not tmp_path: as root the server is another user, who must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="tandem-tests-") as name:
        yield Path(name).resolve()


async def send_all(client: Client50, receiver: Receiver, stop: asyncio.Event) -> None:
    """Send on and on, whatever comes of it."""
    while not stop.is_set():
        await client.send(20, StatusCallback=receiver.url)


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_comes_back_and_every_201_is_delivered(
    folder: Path, smsc: Smsc, receiver: Receiver, workers: int
) -> None:
    none = ""  # the embedded one
    gateway = (
        GatewayProcess(none, smsc.port, folder, free_port())
        if workers == 1
        else WorkersProcess(none, smsc.port, folder, workers)
    )
    await gateway.start()
    try:
        await until(lambda: len(smsc.carriers[0].connections) == workers)
        sdk = await Sdk.provisioned(gateway.base_url)
        client = Client50(sdk, connections=8)
        stop = asyncio.Event()
        sending = asyncio.create_task(send_all(client, receiver, stop))
        await until(lambda: len(client.sids) >= PART)
        found = postmaster.read(folder / "postgres")
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        await until(lambda: 503 in client.refused)
        taken = len(client.sids)
        await until(lambda: len(client.sids) >= taken + PART)
        stop.set()
        await sending
        assert set(client.refused) == {503}
        assert client.broken == 0
        await receiver.has(client.sids)
        socket = folder / "postgres"
        connection = await asyncpg.connect(f"postgresql://postgres@/tandem?host={socket}")
        rows = await message_rows.outbound(connection, inbound=Direction.INBOUND, since=id_at(0.0))
        await connection.close()
        verdict = compare(rows, read_ledger(smsc.ledger.lines()))
        assert {f"SM{row['id'].hex}" for row in rows} >= set(client.sids)
        assert (verdict.lost, verdict.doubled, verdict.foreign) == (0, 0, 0)
        assert "the embedded Postgres has ended" in gateway.log
        assert "the embedded Postgres is back" in gateway.log
    finally:
        print(gateway.log)
        assert await gateway.stop() == 0
    assert postmaster.read(folder / "postgres") is None
    assert gateway.log.count("starting the embedded Postgres again") == 1

"""SIGTERM ends a gateway in ten seconds, whatever it is in the middle of."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from testing import Client50, GatewayProcess, Receiver, Sdk, free_port, until

from smpp.smsc import CarrierScenario, Rule, Smsc

STOP_S = 10.0  # the promise (docs/reliability.md)


@pytest.fixture
async def smsc(start_smsc: Callable[..., Awaitable[Smsc]]) -> Smsc:
    """A carrier that takes its time."""
    return await start_smsc(CarrierScenario(rules=(Rule(answer_after_s=0.1),)))


async def test_under_load_everything_that_was_answered_is_kept(
    database_url: str, smsc: Smsc, receiver: Receiver, tmp_path: Path
) -> None:
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    client = Client50(await Sdk.provisioned(process.base_url))
    loading = asyncio.create_task(client.send(3_000, StatusCallback=receiver.url))
    await until(lambda: len(client.sids) >= 500)
    async with asyncio.timeout(STOP_S):
        assert await process.stop() == 0
    await loading
    accepted = len(client.sids)
    assert 500 <= accepted < 3_000
    assert "Traceback" not in process.log
    assert "not written" not in process.log

    await process.start()
    for sid in client.sids[-5:]:
        await client._sdk.reaches(sid, "delivered")
    await until(lambda: len(smsc.ledger.entries) >= accepted)
    await process.stop()
    seen = Counter(json.loads(line)["destination"] for line in smsc.ledger.lines())
    assert len(seen) >= accepted
    assert set(seen.values()) == {1}, "a graceful end leaves nothing in doubt"


async def test_with_a_carrier_that_went_deaf(database_url: str, smsc: Smsc, tmp_path: Path) -> None:
    """No answer to what is in the window comes, and none to the unbind."""
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    await until(lambda: len(smsc.connections) == 1)
    for connection in smsc.connections:
        connection.go_deaf()
    sid = (await sdk.send()).sid
    async with asyncio.timeout(STOP_S):
        assert await process.stop() == 0
    assert "does not answer to unbind" in process.log
    await process.start()
    assert (await sdk.reaches(sid, "delivered")).error_code is None
    await process.stop()

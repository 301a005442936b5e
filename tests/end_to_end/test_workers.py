"""Several processes as one gateway: each message and each bind is one worker's (decision 0009)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from testing import Client50, Receiver, Sdk, until
from workers import WorkersProcess

from smpp.smsc import Smsc

LEFT = ("+447700900101", "+447700900102")
RIGHT = ("+447700900103", "+447700900104")


@pytest.fixture
async def gateway(database_url: str, smsc: Smsc, tmp_path: Path) -> AsyncIterator[WorkersProcess]:
    process = WorkersProcess(database_url, smsc.port, tmp_path)
    await process.start()
    yield process
    print(process.log)
    await process.stop()


@pytest.fixture
async def pair(gateway: WorkersProcess, smsc: Smsc) -> list[Sdk]:
    """Two services of one account; each is another worker's."""
    await until(lambda: len(smsc.carriers[0].connections) == 2)
    return [await Sdk.provisioned(gateway.base_url, numbers) for numbers in (LEFT, RIGHT)]


def ledger(smsc: Smsc) -> list[dict[str, Any]]:
    return [json.loads(line) for line in smsc.ledger.lines()]


async def test_each_pool_is_served_by_one_bind_and_all_is_delivered(
    pair: list[Sdk], smsc: Smsc, receiver: Receiver
) -> None:
    clients = [Client50(sdk, connections=8) for sdk in pair]
    await asyncio.gather(*(one.send(300, StatusCallback=receiver.url) for one in clients))
    sids = [sid for client in clients for sid in client.sids]
    assert len(set(sids)) == 600
    await receiver.has(sids)
    assert Counter(tuple(receiver.statuses[sid]) for sid in sids) == {
        ("queued", "sent", "delivered"): 600
    }
    binds: dict[str, set[str]] = defaultdict(set)
    for row in ledger(smsc):
        binds[row["source"]].add(row["bind"])
    assert set(binds) == {number.lstrip("+") for number in LEFT + RIGHT}
    print(binds)


def services(smsc: Smsc) -> dict[str, list[dict[str, Any]]]:
    """What was taken, by whose numbers."""
    left = {number.lstrip("+") for number in LEFT}
    parts: dict[str, list[dict[str, Any]]] = {"left": [], "right": []}
    for row in ledger(smsc):
        parts["left" if row["source"] in left else "right"].append(row)
    return parts


def slot_of(gateway: WorkersProcess, smsc: Smsc, sdk: Sdk) -> int:
    """The worker of a service: that of the bind which its messages leave by."""
    [bind] = {row["bind"] for row in ledger(smsc) if "+" + row["source"] in sdk.numbers}
    return int(bind.rpartition("#")[2]) - 1


@pytest.mark.parametrize("how", ["kill_worker", "freeze_worker"])
async def test_a_worker_that_dies_is_followed_in_time_and_loses_nothing(
    gateway: WorkersProcess, pair: list[Sdk], smsc: Smsc, receiver: Receiver, how: str
) -> None:
    for sdk in pair:
        await sdk.reaches((await sdk.send()).sid, "delivered")
    slot = slot_of(gateway, smsc, pair[0])
    clients = [Client50(sdk, connections=4) for sdk in pair]

    async def strike() -> None:
        await until(lambda: len(clients[0].sids) >= 300)
        getattr(gateway, how)(slot)

    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.send(1500, StatusCallback=receiver.url))
        tasks.create_task(strike())
    for client in clients:
        await receiver.has(client.sids)
        for sid in client.sids:
            steps = list(dict.fromkeys(receiver.statuses[sid]))
            assert steps == ["queued", "sent", "delivered"]
    times = sorted(row["time"] for row in services(smsc)["left"])
    pause = max(b - a for a, b in pairwise(times))
    print(f"{how}: its numbers were silent for {pause:.2f} s; {clients[0].refused}")
    print(Counter(Counter(row["destination"] for row in ledger(smsc)).values()))

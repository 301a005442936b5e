"""Lanes at their end: who lines up work then must not fail of it."""

from __future__ import annotations

import asyncio
from random import Random

from testing import WAIT_S

from gateway.runtime.clock import SystemClock
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.host_queues import HostQueues

HOST = AppServer(1, "host")


async def test_what_comes_while_and_after_they_end_waits_and_raises_nothing() -> None:
    """The write-behind lines up callbacks for as long as a stop takes."""
    done: list[str] = []
    begun, ending = asyncio.Event(), asyncio.Event()

    async def work(job: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            assert host_queues.line_up(HOST, "while they end")
            done.append(job)

    async def sweep() -> bool:
        return False

    host_queues: HostQueues[str] = HostQueues(
        "test",
        SystemClock(),
        Random(1),
        Connections(),
        per_host=2,
        work=work,
        spilled=lambda job: None,
        sweep=sweep,
        broke=lambda job, why: None,
    )
    running = asyncio.create_task(host_queues.run())
    host_queues.line_up(HOST, "first")
    await begun.wait()
    running.cancel()
    _, pending = await asyncio.wait((running,), timeout=WAIT_S)
    assert not pending
    assert running.cancelled()
    assert ending.is_set()
    assert host_queues.line_up(HOST, "after")
    assert host_queues.line_up(HOST._replace(host="another"), "after")
    assert done == ["first"]
    assert host_queues.waiting == 3

"""The benchmark's floor does what it is held to do: commits, submits, receipts, callbacks."""

from __future__ import annotations

import argparse
import asyncio
from random import Random

import asyncpg
from testing import ACCOUNT_SID, AUTH_TOKEN, NUMBERS, WAIT_S, Receiver, free_port, until

from bench.floor.__main__ import run
from gateway.loadtest import ledger
from gateway.loadtest.generator import Generator, Plan
from gateway.loadtest.sends import BulkSends, LoadMessage, Recipients, Sends, SingleSends
from gateway.messages.message import Status
from smpp.smsc import Smsc

COUNT = 100


async def test_the_floor_carries_single_and_bulk_sends_to_their_last_callback(
    empty_database_url: str, smsc: Smsc
):
    port, stop = free_port(), asyncio.Event()
    control = f"http://127.0.0.1:{smsc.control_port}"
    async with Receiver() as receiver:
        options = argparse.Namespace(
            port=port,
            database_url=empty_database_url,
            smsc_port=smsc.port,
            system_id="tandem",
            password="secret",
            window=10,
            callbacks=receiver.url,
            account=ACCOUNT_SID,
            token=AUTH_TOKEN,
        )
        floor = asyncio.create_task(run(options, stop))
        await until(lambda: smsc.counters.binds == 1 or floor.done())
        url = f"http://127.0.0.1:{port}"
        message = LoadMessage("hello & goodbye", NUMBERS[0], None, receiver.url)
        recipients = Recipients("4479", Random(1).randrange(10**6))
        who = (url, ACCOUNT_SID, AUTH_TOKEN, message)
        loads: tuple[tuple[Sends, Recipients], ...] = (
            (SingleSends(*who, recipients), recipients),
            (BulkSends(*who, Recipients("4478"), COUNT // 2), Recipients("4478")),
        )
        for number, (sends, numbers) in enumerate(loads):
            result = await Generator(url, Plan(COUNT, 8), sends).run()
            assert result.clean, result
            submits = await ledger.fetch(control, COUNT, number * COUNT)
            assert ledger.check(result.taken, numbers, submits).clean
        await until(lambda: sum(map(len, receiver.statuses.values())) == 4 * COUNT)
        assert all(status == ["sent", "delivered"] for status in receiver.statuses.values())
        assert receiver.bad_signatures == 0
        connection = await asyncpg.connect(empty_database_url)
        delivered = "SELECT count(*) FROM messages WHERE status = $1 AND callbacks_done = 2"
        async with asyncio.timeout(WAIT_S):
            while await connection.fetchval(delivered, Status.DELIVERED) != 2 * COUNT:
                await asyncio.sleep(0.01)
        await connection.close()
        stop.set()
        await floor

"""The gateway is killed, or the app is down: every inbound message is told all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from hooks import Hooks, hangs, says, write
from testing import NUMBERS, WAIT_S, GatewayProcess, Sdk, free_port, until

from gateway.webhooks import host_queues as lanes_module
from smpp.smsc import Smsc


async def configured(process: GatewayProcess, url: str) -> Sdk:
    sdk = await Sdk.provisioned(process.base_url)
    numbers = sdk.client.incoming_phone_numbers
    for number in await sdk.call(numbers.list):
        await sdk.call(numbers(number.sid).update, sms_url=url)
    return sdk


async def owed(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM messages WHERE handling > 0"))
    finally:
        await connection.close()


async def until_owed(database_url: str, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while await owed(database_url) != count:
            await asyncio.sleep(0.02)


def bodies(hooks: Hooks) -> set[str]:
    return {taken.form["Body"] for taken in hooks.taken if taken.valid}


async def test_killed_between_the_arrival_and_the_answer_of_the_app(
    database_url: str, tmp_path: Path, hooks: Hooks, smsc: Smsc
) -> None:
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    sdk = await configured(process, hooks.url("/sms"))
    hooks.answers["/sms"] = hangs
    expected = {f"message {number}" for number in range(100)}  # more than go at once to a host
    for body in sorted(expected):
        await write(smsc, body, NUMBERS[0])
    await hooks.has("/sms", 64)
    await until_owed(database_url, 100)
    await process.kill()
    assert len(hooks.taken) < 100

    hooks.taken.clear()
    hooks.answers["/sms"] = says("got it", "text/plain")
    await process.start()
    await until(lambda: bodies(hooks) == expected)
    await until_owed(database_url, 0)
    # Each was told again, and answered: one reply each, though fifteen is the most for one pair.
    listed = await sdk.call(sdk.client.messages.list)
    assert sum(message.direction == "outbound-reply" for message in listed) == 15
    assert await process.stop() == 0


async def test_killed_while_the_app_is_down(
    database_url: str, tmp_path: Path, hooks: Hooks, smsc: Smsc
) -> None:
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    await configured(process, hooks.url("/sms"))
    await hooks.close()
    expected = set()
    for round_ in range(2):
        for number in range(10):
            body = f"{round_}/{number}"
            expected.add(body)
            await write(smsc, body, NUMBERS[number % 2])
        await until_owed(database_url, len(expected))
        await process.kill()
        await process.start()
    await hooks.open()
    await until(lambda: bodies(hooks) == expected)
    await until_owed(database_url, 0)
    assert await process.stop() == 0


async def test_what_memory_does_not_hold_is_read_from_the_rows_again(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    """A receiver is down with more owed than a lane holds; another one is not delayed."""
    for name, value in (("LANE_BOUND", 10), ("RETRY_BOUND", 15), ("SWEEP_EVERY_S", 0.05)):
        monkeypatch.setattr(lanes_module, name, value)
    numbers = {
        n.phone_number: n.sid for n in await sdk.call(sdk.client.incoming_phone_numbers.list)
    }
    async with Hooks() as down:
        for address, hook in ((NUMBERS[0], down), (NUMBERS[1], hooks)):
            update = sdk.client.incoming_phone_numbers(numbers[address]).update
            await sdk.call(update, sms_url=hook.url("/sms"))
        await down.close()
        expected = {f"message {number}" for number in range(40)}
        for body in sorted(expected):
            await write(smsc, body, NUMBERS[0])
        await until_owed(database_url, 40)
        for number in range(5):
            await write(smsc, f"alive {number}", NUMBERS[1])
        await hooks.has("/sms", 5)
        await down.open()
        await until(lambda: bodies(down) == expected)
        await until_owed(database_url, 0)

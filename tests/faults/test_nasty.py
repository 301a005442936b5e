"""`examples/scenarios/nasty.toml`: every misbehaviour at once, 5,000 messages, then the ledgers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from testing import Client50, GatewayUnderTest, carrier

from gateway.loadtest.reconcile import compare, read_ledger
from gateway.messages.message import Direction, Status
from smpp.smsc import Smsc, parse
from storage import messages as message_rows
from storage.ids import id_from_bytes

Start = Callable[..., Awaitable[GatewayUnderTest]]
SCENARIO = Path(__file__).parents[2] / "examples" / "scenarios" / "nasty.toml"
COUNT = 5_000
FINISH_S = 240
# One in eight goes to a number with a rule of its own (of which there are few: what is sent
# to one of them waits for the one before it), the others to numbers of their own.
RULED = tuple(f"4477009000{n}" for n in range(10))
PLAIN = ("4478", "4479", "4420")


def destination(number: int) -> str:
    if number % 8 == 0:
        turn = number // 8
        return f"+{RULED[turn % 10]}{turn // 10 % 10}"
    return f"+{PLAIN[number % 3]}{number:08d}"


class Mixed(Client50):
    """Recipients of every kind; one text in ten takes three segments."""

    def form(self, number: int) -> dict[str, str]:
        body = f"message {number} " + "x" * (400 if number % 10 == 0 else 0)
        return super().form(number) | {"To": destination(number), "Body": body}


async def test_five_thousand_messages_through_everything_end_as_the_carrier_says(
    start_gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A recipient that is refused for the moment is tried again sooner than a real one.
    monkeypatch.setattr("gateway.submission.submitter.REST_S", 0.1)
    monkeypatch.setattr("gateway.submission.submitter.LONGEST_REST_S", 1.0)
    smsc = Smsc(parse(SCENARIO.read_text(), SCENARIO.name), seed=7)
    await smsc.start()
    settings: dict[str, Any] = {
        "carriers": (
            carrier(
                smsc.port,
                binds=3,
                window=50,
                response_timeout_s=3.0,
                enquire_interval_s=1.0,
            ),
        )
    }
    try:
        gateway = await start_gateway(smsc.port, **settings)
        sdk = await gateway.sdk()
        client = Mixed(sdk)
        await client.send(COUNT)
        assert len(client.sids) == COUNT

        connection = await asyncpg.connect(gateway.database_url)
        async with asyncio.timeout(FINISH_S):
            while await connection.fetchval(
                "SELECT count(*) FROM messages WHERE status < $1", int(Status.DELIVERED)
            ):
                await asyncio.sleep(0.2)
        rows = await message_rows.outbound(
            connection, inbound=Direction.INBOUND, since=id_from_bytes(bytes(16))
        )
        await connection.close()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{smsc.control_port}/ledger") as response,
        ):
            submits = read_ledger((await response.read()).splitlines())
        verdict = compare(rows, submits)
        print("\n" + verdict.table())
        assert verdict.clean
        assert verdict.ours.keys() == {"delivered", "undelivered", "failed"}
        assert smsc.counters.disconnects > 0
        # How often it throttled is the machine's speed: a slow one never reaches that rate.
        assert smsc.counters.malformed_sent > 0
    finally:
        await smsc.stop()

"""A gateway whose right to the database is not confirmed takes nothing in and writes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from testing import GatewayUnderTest, Sdk, basic, until

from gateway.messages.message import Status
from smpp.smsc import CarrierScenario, ScenarioRule, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
StartSmsc = Callable[..., Awaitable[Smsc]]
PATIENCE_S = 120.0
TO = "+447700900200"


class Right:
    """Whether a gateway has it, as it believes."""

    def __init__(self, gateway: GatewayUnderTest) -> None:
        self._pipeline = gateway.pipeline
        self._has = True
        gateway.pipeline.allow_while(lambda: self._has)
        gateway.pipeline.acceptor.small._database._ours = lambda: self._has

    def take(self) -> None:
        """As if the process had stood still: nobody has told it yet."""
        self._has = False

    def give_back(self) -> None:
        self._has = True
        self._pipeline.suspend(False)


async def post(sdk: Sdk, to: str = TO, **more: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
            data={"To": to, "Body": "hello", "MessagingServiceSid": sdk.service_sid},
            headers={"Authorization": basic(sdk.account_sid, sdk.auth_token), **more},
        ) as response,
    ):
        return response.status


async def readyz(gateway: GatewayUnderTest) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.base_url}/readyz") as response,
    ):
        return response.status, await response.json()


async def test_it_is_not_ready_and_a_send_waits_until_the_right_is_confirmed_again(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    right = Right(gateway)
    right.take()
    status, said = await readyz(gateway)
    assert (status, said["database"]) == (503, "away")
    assert said["reasons"] == ["the right to the database is not confirmed"]
    sending = asyncio.create_task(post(sdk))
    await until(lambda: len(gateway.pipeline.acceptor.small.waiting) == 1, seconds=PATIENCE_S)
    assert gateway.pipeline.acceptor.small.between.is_set()  # and stays there
    assert await post(sdk, **{"Idempotency-Key": "k"}) == 503
    right.give_back()
    assert await sending == 201
    assert (await readyz(gateway))[0] == 200


async def test_what_waits_is_answered_with_503_when_the_right_is_lost(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    """Also what is in the middle of its commit, which hangs."""
    right = Right(gateway)
    connection = await asyncpg.connect(gateway.database_url)
    acceptor = gateway.pipeline.acceptor
    async with connection.transaction():
        await connection.execute("LOCK TABLE messages IN SHARE ROW EXCLUSIVE MODE")
        sends = [asyncio.create_task(post(sdk))]
        await until(lambda: not acceptor.small.between.is_set(), seconds=PATIENCE_S)
        sends += [asyncio.create_task(post(sdk)) for _ in range(2)]
        await until(lambda: len(acceptor.small.waiting) == 2, seconds=PATIENCE_S)
        right.take()
        gateway.pipeline.suspend(True)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.gather(*sends) == [503, 503, 503]
    right.give_back()
    await until(lambda: acceptor.available, seconds=PATIENCE_S)
    assert await connection.fetchval("SELECT count(*) FROM messages") == 0
    assert await post(sdk) == 201
    await connection.close()


async def test_what_was_claimed_is_not_written_and_goes_on_when_the_right_is_back(
    start_gateway: Start, smsc: Smsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit came back, and then the process stood still."""
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    right = Right(gateway)
    answer = gateway.pipeline.acceptor._answer

    def stand_still(*arguments: Any) -> None:
        answer(*arguments)
        right.take()

    monkeypatch.setattr(gateway.pipeline.acceptor, "_answer", stand_still)
    assert await post(sdk) == 201
    monkeypatch.undo()
    [message] = gateway.pipeline.runtime.live.values()
    assert message.status is Status.SENDING
    assert message.outstanding == 0
    assert not list(smsc.ledger.lines())
    right.give_back()
    await until(lambda: message.status is Status.DELIVERED, seconds=PATIENCE_S)
    assert len(list(smsc.ledger.lines())) == 1
    assert message.flags == 0  # it was never written


async def test_what_is_beyond_the_window_is_not_written_either(
    start_gateway: Start, start_smsc: StartSmsc
) -> None:
    """Answers of the carrier make room, and wake what was to be written next."""
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer_after_s=0.3),)))
    settings = {
        "name": "simulator",
        "hosts": (f"127.0.0.1:{smsc.port}",),
        "system_id": "tandem",
        "password": "secret",
        "window": 2,
    }
    gateway = await start_gateway(smsc.port, carriers=(settings,))
    sdk = await gateway.sdk()
    right = Right(gateway)
    sid = (await sdk.send("x" * 800)).sid  # six parts
    [connector] = gateway.pipeline.connectors.by_id.values()
    [wire] = connector._wires.values()
    await until(lambda: len(wire.overflow) == 4, seconds=PATIENCE_S)
    right.take()
    await until(lambda: wire.bind.window_free == 2, seconds=PATIENCE_S)
    assert [json.loads(line)["segment"] for line in smsc.ledger.lines()] == [1, 2]
    right.give_back()
    await sdk.reaches(sid, "delivered")
    assert len(list(smsc.ledger.lines())) == 6


async def test_a_commit_that_hung_and_was_given_up_is_not_there_later(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    """Its session lives on at the server, and would commit after we made sure that it has not."""
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("""
        CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
        CREATE TRIGGER hang BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION hang();
        SELECT pg_advisory_lock(1)
    """)
    acceptor = gateway.pipeline.acceptor
    sending = asyncio.create_task(post(sdk))
    hangs = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(PATIENCE_S):
        while not await connection.fetchval(hangs):
            await asyncio.sleep(0.01)
    acceptor.suspend()
    assert await sending == 503
    await until(lambda: acceptor.available, seconds=PATIENCE_S)
    assert await connection.fetchval(hangs) == 0  # while the lock is held: it was ended
    await connection.execute("SELECT pg_advisory_unlock(1)")
    assert await post(sdk) == 201
    assert await connection.fetchval("SELECT count(*) FROM messages") == 1
    await connection.close()

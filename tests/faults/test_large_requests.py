"""A request of many messages is committed apart: nobody else's waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from pools import Pool
from testing import GatewayUnderTest, Sdk, until

from gateway.acceptance.acceptor import LARGE
from smpp.smsc import Smsc
from storage import recipients
from storage.recipients import Reservation

NUMBER = "+447700900311"
OF_LARGE, OTHER = "+447400900000", "+447400999999"


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    pool = await Pool.of(gateway, smsc)
    await pool.number(NUMBER)
    return pool


async def bulk(sdk: Sdk, sid: str, count: int, key: str | None = None) -> int:
    request = {
        "from": {"messagingServiceSid": sid},
        "to": [{"address": f"+4474009{n:05d}", "channel": "PHONE"} for n in range(count)],
        "content": {"text": "many"},
    }
    headers = {"Idempotency-Key": key} if key is not None else {}
    status, _ = await sdk.operate("POST", "/comms/v1/Messages", json=request, headers=headers)
    return status


async def test_what_a_large_request_waits_for_holds_up_nobody_else(
    gateway: GatewayUnderTest, pool: Pool
) -> None:
    """But for a message to one of its recipients, which would wait for the same."""
    acceptor, directory = gateway.pipeline.acceptor, gateway.pipeline.runtime.directory
    service = directory.services[pool.sid]
    [sender] = service.pool.senders
    connection = await asyncpg.connect(gateway.database_url)
    holding = connection.transaction()
    await holding.start()
    mapping = Reservation(service.id, 0, OF_LARGE, sender.id, None)
    await recipients.reserve(connection, [mapping])

    large = asyncio.create_task(bulk(pool.sdk, pool.sid, LARGE + 1))
    await until(lambda: not acceptor.large.between.is_set())
    sent = [await pool.sdk.send("x", OTHER, messaging_service_sid=pool.sid) for _ in range(3)]
    assert all(message.sid for message in sent)
    behind = asyncio.create_task(pool.sdk.send("x", OF_LARGE, messaging_service_sid=pool.sid))
    await until(lambda: len(acceptor.large.waiting) == 1)
    after = await pool.sdk.send("x", OTHER, messaging_service_sid=pool.sid)
    assert after.sid
    assert not large.done()
    assert not behind.done()

    await holding.rollback()
    await connection.close()
    assert await large == 202
    assert (await behind).sid
    assert acceptor.backlog == 0
    assert not acceptor.large.waiting


async def test_a_request_of_as_many_as_a_small_one_may_have_is_committed_with_the_others(
    gateway: GatewayUnderTest, pool: Pool
) -> None:
    acceptor = gateway.pipeline.acceptor
    acceptor.pause()
    tasks = [asyncio.create_task(bulk(pool.sdk, pool.sid, n)) for n in (LARGE, LARGE + 1)]
    await until(lambda: len(acceptor.small.waiting) == len(acceptor.large.waiting) == 1)
    acceptor.resume()
    assert await asyncio.gather(*tasks) == [202, 202]


@pytest.mark.parametrize("bound", ["BACKLOG", "LARGE_BACKLOG"])
async def test_large_requests_that_wait_have_bounds_and_refuse_no_small_one(
    gateway: GatewayUnderTest, pool: Pool, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Of an account, and of all."""
    monkeypatch.setattr(f"gateway.acceptance.acceptor.{bound}", 2 * (LARGE + 1))
    acceptor = gateway.pipeline.acceptor
    acceptor.pause()
    tasks: list[asyncio.Task[Any]] = []
    for n in range(2):
        tasks.append(asyncio.create_task(bulk(pool.sdk, pool.sid, LARGE + 1)))
        await until(lambda n=n: len(acceptor.large.waiting) == n + 1)  # type: ignore[misc]
    assert await bulk(pool.sdk, pool.sid, LARGE + 1) == 429
    single = asyncio.create_task(pool.sdk.send("x", OTHER, messaging_service_sid=pool.sid))
    await until(lambda: len(acceptor.small.waiting) == 1)
    acceptor.resume()
    assert await asyncio.gather(*tasks) == [202, 202]
    assert (await single).sid
    assert await bulk(pool.sdk, pool.sid, LARGE + 1) == 202


async def test_a_key_of_a_large_request_holds_up_nobody_but_who_repeats_it(
    gateway: GatewayUnderTest, pool: Pool
) -> None:
    acceptor = gateway.pipeline.acceptor
    account = gateway.pipeline.runtime.directory.accounts[pool.sdk.account_sid]
    connection = await asyncpg.connect(gateway.database_url)
    holding = connection.transaction()
    await holding.start()
    await connection.execute(
        "INSERT INTO idempotency (account_id, key, digest, message_id)"
        " VALUES ($1, 'operation k', '', gen_random_uuid())",
        account.id,
    )
    large = asyncio.create_task(bulk(pool.sdk, pool.sid, LARGE + 1, key="k"))
    await until(lambda: not acceptor.large.between.is_set())
    again = asyncio.create_task(bulk(pool.sdk, pool.sid, 1, key="k"))
    await until(lambda: len(acceptor.large.waiting) == 1)
    after = await pool.sdk.send("x", OTHER, messaging_service_sid=pool.sid)
    assert after.sid
    assert not large.done()
    assert not again.done()
    await holding.rollback()
    await connection.close()
    assert await large == 202
    assert await again == 409  # with other recipients

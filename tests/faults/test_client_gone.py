"""A send whose client has given up by the time it could be stored is not stored.

While the database hangs, apps time out, and those without an idempotency key send again: what they
gave up must not leave beside that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import pytest
from testing import GatewayUnderTest, Sdk, basic, until

PATIENCE_S = 120.0
TO = "+447700900200"

Send = Callable[[aiohttp.ClientSession, Sdk, str], Awaitable[int]]


async def by_the_fast_lane(session: aiohttp.ClientSession, sdk: Sdk, body: str) -> int:
    return await _single(session, sdk, body, {})


async def with_a_key(session: aiohttp.ClientSession, sdk: Sdk, body: str) -> int:
    return await _single(session, sdk, body, {"Idempotency-Key": body.replace(" ", "-")})


async def asking_for_leave(session: aiohttp.ClientSession, sdk: Sdk, body: str) -> int:
    return await _single(session, sdk, body, {"Expect": "100-continue"})


async def in_bulk(session: aiohttp.ClientSession, sdk: Sdk, body: str) -> int:
    request = {
        "from": {"messagingServiceSid": sdk.service_sid},
        "to": [{"address": f"+4477009002{n:02d}"} for n in range(10)],
        "content": {"text": body},
    }
    async with session.post(
        f"{sdk.base_url}/comms/v1/Messages", json=request, headers=_login(sdk)
    ) as response:
        return response.status


async def in_the_small_bulk(session: aiohttp.ClientSession, sdk: Sdk, body: str) -> int:
    request = {"Messages": [{"To": TO}], "From": sdk.numbers[0], "Body": body}
    async with session.post(
        f"{sdk.base_url}/preview/v1/Messages", json=request, headers=_login(sdk)
    ) as response:
        return response.status


async def _single(
    session: aiohttp.ClientSession, sdk: Sdk, body: str, headers: dict[str, str]
) -> int:
    async with session.post(
        f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
        data={"To": TO, "Body": body, "MessagingServiceSid": sdk.service_sid},
        headers={**_login(sdk), **headers},
    ) as response:
        return response.status


def _login(sdk: Sdk) -> dict[str, str]:
    return {"Authorization": basic(sdk.account_sid, sdk.auth_token)}


@pytest.mark.parametrize(
    "send", [by_the_fast_lane, with_a_key, asking_for_leave, in_bulk, in_the_small_bulk]
)
async def test_what_was_given_up_while_the_database_hung_is_not_stored(
    gateway: GatewayUnderTest, sdk: Sdk, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.acceptance.acceptor.PATIENT_S", 0.0)
    acceptor = gateway.pipeline.acceptor
    connection = await asyncpg.connect(gateway.database_url)
    async with aiohttp.ClientSession() as session:
        async with connection.transaction():
            await connection.execute("LOCK TABLE messages IN SHARE ROW EXCLUSIVE MODE")
            under_way = asyncio.create_task(by_the_fast_lane(session, sdk, "under way"))
            await until(lambda: not acceptor.small.between.is_set(), seconds=PATIENCE_S)
            given_up = asyncio.create_task(send(session, sdk, "given up"))
            await until(lambda: len(acceptor.small.waiting) == 1, seconds=PATIENCE_S)
            waiting = asyncio.create_task(send(session, sdk, "waiting"))
            await until(lambda: len(acceptor.small.waiting) == 2, seconds=PATIENCE_S)
            given_up.cancel()
            client = acceptor.small.waiting[0].client
            await until(client.gone, seconds=PATIENCE_S)
        assert await under_way == 201
        assert await waiting in (200, 201, 202)
    stored = await connection.fetch("SELECT DISTINCT body FROM messages ORDER BY body")
    assert [row["body"] for row in stored] == ["under way", "waiting"]
    assert acceptor.refused["Gone"] == 1
    assert acceptor.backlog == 0
    await connection.close()


async def test_one_whose_client_goes_while_it_is_committed_is_stored(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    """It is too late to say: it may be there, and who sends again has a key for that."""
    acceptor = gateway.pipeline.acceptor
    connection = await asyncpg.connect(gateway.database_url)
    async with aiohttp.ClientSession() as session:
        async with connection.transaction():
            await connection.execute("LOCK TABLE messages IN SHARE ROW EXCLUSIVE MODE")
            sending = asyncio.create_task(by_the_fast_lane(session, sdk, "under way"))
            await until(lambda: not acceptor.small.between.is_set(), seconds=PATIENCE_S)
            sending.cancel()
            await asyncio.wait((sending,))
        await until(acceptor.small.between.is_set, seconds=PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        while not await connection.fetchval("SELECT count(*) FROM messages"):
            await asyncio.sleep(0.01)
    await connection.close()

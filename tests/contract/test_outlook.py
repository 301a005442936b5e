"""`X-Queue-Ahead` and `X-Estimated-Send-At`: what the queue says to a new message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from testing import NUMBERS, TO, GatewayUnderTest, Sdk, basic

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def send(sdk: Sdk, lane: str, **form: str) -> tuple[int, float]:
    """Segments ahead, and seconds from now to the estimated time."""
    body = urlencode({"To": TO, "Body": "x", **form}).encode()

    async def chunked() -> AsyncIterator[bytes]:
        yield body

    headers = {
        "Authorization": basic(sdk.account_sid, sdk.auth_token),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    data: Any = body if lane == "fast" else chunked()
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(
            f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json", data=data
        ) as response,
    ):
        assert response.status == 201, await response.text()
        at = datetime.fromisoformat(response.headers["X-Estimated-Send-At"])
        return int(response.headers["X-Queue-Ahead"]), (at - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_a_queue_tells_its_length_and_its_time(
    start_gateway: Start, smsc: Smsc, lane: str
) -> None:
    sdk = await (await start_gateway(smsc.port, default_rate_per_second=0.1)).sdk()
    plain = {"From": NUMBERS[0], "Body": "y" * 400}  # three segments, ten seconds each
    ahead, wait = await send(sdk, lane, **plain)
    assert ahead == 0
    assert wait <= 1
    first = await send(sdk, lane, **plain)
    second = await send(sdk, lane, **plain)
    assert second[0] == first[0] + 3
    assert second[0] >= 3
    assert second[1] == pytest.approx(second[0] * 10, abs=5)


async def test_an_idle_service_sends_now_and_a_busy_one_tells_of_its_pool(
    start_gateway: Start, smsc: Smsc
) -> None:
    sdk = await (await start_gateway(smsc.port, default_rate_per_second=0.1)).sdk()
    through = {"MessagingServiceSid": sdk.service_sid}
    assert (await send(sdk, "fast", **through))[0] == 0
    waits = [
        await send(sdk, "fast", **through | {"To": f"+4416329607{number:02d}"})
        for number in range(8)
    ]
    assert waits[-1][0] >= 4  # two numbers hold some seconds of work, the rest waits for both
    assert waits[-1][1] == pytest.approx(waits[-1][0] / 0.2, abs=6)


async def test_a_scheduled_message_leaves_at_its_time(sdk: Sdk) -> None:
    at = datetime.now(UTC) + timedelta(seconds=900)
    ahead, wait = await send(
        sdk,
        "fast",
        MessagingServiceSid=sdk.service_sid,
        ScheduleType="fixed",
        SendAt=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    assert ahead == 0
    assert wait == pytest.approx(900, abs=5)

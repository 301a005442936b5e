"""An app as its account sees it: its numbers and service set up, its messages and alerts read."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from testing import NUMBERS, WAIT_S, GatewayUnderTest, Sdk


async def configure_number(sdk: Sdk, address: str = NUMBERS[0], **settings: Any) -> None:
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=address)
    await sdk.call(sdk.client.incoming_phone_numbers(number.sid).update, **settings)


async def configure_service(sdk: Sdk, **settings: Any) -> None:
    await sdk.call(sdk.client.messaging.v1.services(sdk.service_sid).update, **settings)


async def inbound_behavior(sdk: Sdk, behavior: str) -> Any:
    """Our extension, which the SDK has no parameter for."""
    return await sdk.call(
        sdk.client.request,
        "POST",
        f"{sdk.base_url}/messaging/v1/Services/{sdk.service_sid}",
        data={"InboundBehavior": behavior},
    )


async def messages(sdk: Sdk, direction: str, count: int) -> list[Any]:
    """The account's messages of a direction, oldest first, once there are so many."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.messages.list)
            found = [message for message in listed if message.direction == direction]
            if len(found) >= count:
                return list(reversed(found))
            await asyncio.sleep(0.02)


async def alerts(sdk: Sdk, *codes: int) -> dict[int, Any]:
    """The account's alerts by code, once there is one of each."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
            found = {int(alert.error_code): alert for alert in listed}
            if set(codes) <= set(found):
                return found
            await asyncio.sleep(0.02)


async def nothing_owed(gateway: GatewayUnderTest) -> None:
    connection = await asyncpg.connect(gateway.database_url)
    try:
        async with asyncio.timeout(WAIT_S):
            while await connection.fetchval("SELECT count(*) FROM messages WHERE handling > 0"):
                await asyncio.sleep(0.02)
    finally:
        await connection.close()

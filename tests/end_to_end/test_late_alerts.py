"""Alerts about what an app answered, when the message that it answers is erased meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hooks import Hooks, says, write
from test_erasure import MARKER, in_tables
from testing import NUMBERS, WAIT_S, GatewayUnderTest, Sdk

from smpp.smsc import Smsc

Answer = Callable[[], web.Response]


def held(answers: Answer) -> tuple[asyncio.Event, Callable[[web.Request], Awaitable[web.Response]]]:
    """An app that answers once it is let to."""
    go = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await go.wait()
        return answers()

    return go, answer


async def listens(sdk: Sdk, hooks: Hooks, path: str) -> None:
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url(path))


def is_reply(message: Any) -> bool:
    return bool(message.direction == "outbound-reply")


async def listed(fetch: Callable[[], Awaitable[list[Any]]], count: int) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        while len(found := await fetch()) < count:
            await asyncio.sleep(0.02)
    return found


async def erase(sdk: Sdk, message: Any, how: str) -> None:
    if how == "deleted":
        await sdk.call(message.delete)
    else:
        await sdk.call(message.update, body="")


@pytest.mark.parametrize("how", ["redacted", "deleted"])
async def test_a_reply_that_comes_after_its_message_was_erased_stands_in_no_alert(
    gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc, hooks: Hooks, how: str
) -> None:
    twiml = f"<Response><Foo/><Message>{MARKER} reply</Message></Response>"
    go, hooks.answers["/in"] = held(lambda: web.Response(text=twiml, content_type="text/xml"))
    await listens(sdk, hooks, "/in")
    await write(smsc, f"{MARKER} in", NUMBERS[0])
    await hooks.has("/in")

    async def messages() -> list[Any]:
        return await sdk.call(sdk.client.messages.list)

    [inbound] = await listed(messages, 1)
    await erase(sdk, inbound, how)
    go.set()
    async with asyncio.timeout(WAIT_S):
        while not any(is_reply(message) for message in await messages()):
            await asyncio.sleep(0.02)
    [reply] = filter(is_reply, await messages())
    reply = await sdk.reaches(reply.sid, "delivered")

    async def alerts() -> list[Any]:
        return await sdk.call(sdk.client.monitor.v1.alerts.list)

    [alert] = await listed(alerts, 1)
    assert (alert.error_code, alert.resource_sid) == ("12200", inbound.sid)
    await erase(sdk, reply, how)
    assert await in_tables(gateway.database_url) == []


async def test_an_answer_that_comes_after_its_message_was_erased_is_not_kept(
    gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    """However the app spells what it quotes; nor does the Debugger hear of it."""
    quoted = MARKER.upper()
    go, hooks.answers["/in"] = held(
        lambda: web.Response(status=500, text=quoted, headers={"X-Said": quoted})
    )
    await listens(sdk, hooks, "/in")
    told: list[Any] = []
    written = gateway.pipeline.runtime.alerts.written

    def tell(alerts: Any) -> None:
        told.extend(alerts)
        written(alerts)

    gateway.pipeline.runtime.alerts.written = tell
    await write(smsc, MARKER, NUMBERS[0])
    await hooks.has("/in")
    [inbound] = await sdk.call(sdk.client.messages.list)
    await erase(sdk, inbound, "redacted")
    go.set()

    async def alerts() -> list[Any]:
        return await sdk.call(sdk.client.monitor.v1.alerts.list)

    [alert] = await listed(alerts, 1)
    shown = await sdk.call(sdk.client.monitor.v1.alerts(alert.sid).fetch)
    assert (shown.error_code, shown.request_url) == ("11200", hooks.url("/in"))
    assert (shown.request_variables, shown.response_headers, shown.response_body) == ("", "", "")
    assert quoted not in str(told)


@pytest.mark.parametrize("how", ["redacted", "deleted"])
async def test_erasing_a_reply_reaches_the_alerts_of_what_it_answers(
    gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc, hooks: Hooks, how: str
) -> None:
    hooks.answers["/in"] = says(
        f"<Response><Message>{MARKER}</Message><Redirect>/more</Redirect></Response>"
    )

    async def fails(request: web.Request) -> web.Response:
        return web.Response(status=500, text=f"after {MARKER}")

    hooks.answers["/more"] = fails
    await listens(sdk, hooks, "/in")
    await write(smsc, "hello", NUMBERS[0])
    await hooks.has("/more")

    async def replies() -> list[Any]:
        return await sdk.call(sdk.client.messages.list, from_=NUMBERS[0])

    [reply] = await listed(replies, 1)
    reply = await sdk.reaches(reply.sid, "delivered")
    async with asyncio.timeout(WAIT_S):
        while "alerts.response_body" not in await in_tables(gateway.database_url):
            await asyncio.sleep(0.02)
    await erase(sdk, reply, how)
    assert await in_tables(gateway.database_url) == []

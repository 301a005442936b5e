"""Alerts about what an app answered, when the message that it answers is erased meanwhile."""

from __future__ import annotations

import asyncio
import logging
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
    assert (shown.error_code, shown.request_url) == ("11200", hooks.url(""))
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


def responding(verbs: str) -> str:
    return f"<Response>{verbs}<Message>fine</Message></Response>"


QUOTING = {
    "element": (responding(f"<{MARKER}/>"), "text/xml", "12200"),
    "attribute": (responding(f'<Message {MARKER}="x">a</Message>'), "text/xml", "12200"),
    "method": (responding(f'<Message method="{MARKER}">a</Message>'), "text/xml", "14104"),
    "root": (f"<{MARKER}/>", "text/xml", "12102"),
    "version": (f'<?xml version="{MARKER}"?><Response/>', "text/xml", "12101"),
    "charset": ("<Response/>", f"text/xml; charset={MARKER}", "12100"),
    "type": ("hello", f"text/{MARKER}", "12300"),
    "to": (responding(f'<Message to="{MARKER}">a</Message>'), "text/xml", "14101"),
    "from": (responding(f'<Message from="{MARKER}">a</Message>'), "text/xml", "14102"),
    "action": (responding(f'<Message action="ftp:{MARKER}">a</Message>'), "text/xml", "14105"),
    "media": (responding(f"<Message>a<Media>ftp:{MARKER}</Media></Message>"), "text/xml", None),
    "redirect": (f"<Response><Redirect>/{MARKER}</Redirect></Response>", "text/xml", "11200"),
}


@pytest.mark.parametrize("quoted", QUOTING)
async def test_what_an_alert_says_in_the_words_of_an_app_goes_too(
    gateway: GatewayUnderTest,
    sdk: Sdk,
    smsc: Smsc,
    hooks: Hooks,
    caplog: pytest.LogCaptureFixture,
    quoted: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    document, kind, code = QUOTING[quoted]
    hooks.answers["/in"] = says(document, kind)

    async def fails(request: web.Request) -> web.Response:
        return web.Response(status=500)

    hooks.answers[f"/{MARKER}"] = fails
    await listens(sdk, hooks, "/in")
    await write(smsc, "hello", NUMBERS[0])

    async def alerts() -> list[Any]:
        return await sdk.call(sdk.client.monitor.v1.alerts.list)

    found = await listed(alerts, 1)
    assert code in (None, found[0].error_code)
    messages = await sdk.call(sdk.client.messages.list)
    for message in messages:
        if is_reply(message):
            await erase(sdk, await sdk.reaches(message.sid, "delivered"), "redacted")
        else:
            await erase(sdk, message, "redacted")
    async with asyncio.timeout(WAIT_S):
        while await in_tables(gateway.database_url):
            await asyncio.sleep(0.02)
    assert MARKER.lower() not in str([vars(alert) for alert in await alerts()]).lower()
    said = [record for record in caplog.records if record.name.startswith(("gateway", "storage"))]
    assert MARKER not in "".join(record.getMessage() for record in said)


async def test_where_an_app_redirected_to_goes_too(
    gateway: GatewayUnderTest,
    sdk: Sdk,
    smsc: Smsc,
    hooks: Hooks,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def redirects(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"ftp://{MARKER}/"})

    hooks.answers["/in"] = redirects
    await listens(sdk, hooks, "/in")
    await write(smsc, "hello", NUMBERS[0])

    async def alerts() -> list[Any]:
        return await sdk.call(sdk.client.monitor.v1.alerts.list)

    [alert] = await listed(alerts, 1)
    assert alert.error_code == "11216"
    [inbound] = await sdk.call(sdk.client.messages.list)
    await erase(sdk, inbound, "redacted")
    assert await in_tables(gateway.database_url) == []
    assert MARKER not in caplog.text

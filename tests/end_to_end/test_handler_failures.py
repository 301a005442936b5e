"""Apps that answer wrongly, late, or not at all: fallbacks, alerts, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hooks import Hooks, hangs, says, status, write
from inbound_apps import (
    alerts,
    configure_number,
    messages,
    nothing_owed,
)
from testing import NUMBERS, WAIT_S, GatewayUnderTest, Sdk

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def large(request: web.Request) -> web.StreamResponse:
    """As much of 100 MB as is taken."""
    response = web.StreamResponse(headers={"Content-Type": "text/xml"})
    await response.prepare(request)
    for _ in range(1600):
        await response.write(b" " * 65536)
    return response


async def circle(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect(request.path)


async def nowhere(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "gopher://example.org/"})


@pytest.mark.parametrize(
    ("answer", "code", "taken"),
    [
        (says("<Response><Message>", "text/xml"), 12100, True),
        (says("hello", "text/plain; charset=nonsense"), 12100, True),
        (says('<?xml version="3.0"?><Response/>'), 12101, True),
        (says("<html/>", "text/html"), 12102, True),
        (says('<!DOCTYPE a [<!ENTITY b "c">]><Response/>'), 12100, True),
        (says("{}", "application/json"), 12300, True),
        (large, 11750, True),
        (status(404), 11200, False),
        (status(503), 11200, False),
        (hangs, 11203, False),
        (circle, 11215, False),
        (nowhere, 11216, False),
    ],
)
async def test_a_failure_is_an_alert_and_the_fallback_is_told_which(
    start_gateway: Start, smsc: Smsc, hooks: Hooks, answer: Any, code: int, taken: bool
) -> None:
    gateway = await start_gateway(smsc.port, webhooks={"allow_private": True, "timeout_s": 2})
    sdk = await gateway.sdk()
    hooks.answers["/sms"] = answer
    hooks.answers["/fallback"] = says("sorry", "text/plain")
    await configure_number(sdk, sms_url=hooks.url("/sms"), sms_fallback_url=hooks.url("/fallback"))
    await write(smsc, "hello", NUMBERS[0])
    [fallback] = await hooks.has("/fallback")
    assert fallback.valid
    assert fallback.form["ErrorCode"] == str(code)
    assert fallback.form["ErrorUrl"] == hooks.url("/sms")
    [reply] = await messages(sdk, "outbound-reply", 1)
    assert reply.body == "sorry"
    found = await alerts(sdk, code)
    assert found[code].log_level == "error"
    await nothing_owed(gateway)
    # Without a fallback, the app that answered has the message; one that did not is told again.
    await configure_number(sdk, sms_fallback_url="")
    before = len(hooks.at("/sms"))
    await write(smsc, "again", NUMBERS[0])
    await hooks.has("/sms", before + 1)
    if taken:
        await nothing_owed(gateway)
        assert len(hooks.at("/sms")) == before + 1
    else:
        tokens = {
            one.headers["I-Twilio-Idempotency-Token"]
            for one in (await hooks.has("/sms", before + 2))[before:]
        }
        assert len(tokens) == 1
        hooks.answers["/sms"] = says("at last", "text/plain")
        replies = await messages(sdk, "outbound-reply", 2)
        assert replies[1].body == "at last"
        await nothing_owed(gateway)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1/sms", 11202),
        ("http://nobody.invalid/sms", 11210),
        ("http://a..b/sms", 11100),
    ],
)
async def test_an_app_that_cannot_be_reached_is_an_alert(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest, url: str, code: int
) -> None:
    await configure_number(sdk, sms_url=url)
    await write(smsc, "hello", NUMBERS[0])
    await alerts(sdk, code)
    if code == 11100:  # no other try can help
        await nothing_owed(gateway)


async def test_a_private_address_is_not_called(
    start_gateway: Start, smsc: Smsc, hooks: Hooks
) -> None:
    gateway = await start_gateway(smsc.port, webhooks={"allow_private": False})
    sdk = await gateway.sdk()
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "hello", NUMBERS[0])
    found = await alerts(sdk, 11205)
    assert "not+a+public+address" in found[11205].alert_text
    assert hooks.taken == []


async def test_an_app_that_hangs_delays_no_other(
    start_gateway: Start, smsc: Smsc, hooks: Hooks
) -> None:
    gateway = await start_gateway(
        smsc.port, webhooks={"allow_private": True, "connections_per_host": 2}
    )
    sdk = await gateway.sdk()
    async with Hooks() as dead:
        dead.answers["/sms"] = hangs
        await configure_number(sdk, NUMBERS[0], sms_url=dead.url("/sms"))
        await configure_number(sdk, NUMBERS[1], sms_url=hooks.url("/sms"))
        for number in range(5):
            await write(smsc, f"dead {number}", NUMBERS[0])
        await dead.has("/sms", 2)
        for number in range(5):
            await write(smsc, f"alive {number}", NUMBERS[1])
        await hooks.has("/sms", 5)
        assert len(dead.taken) == 2
        await gateway.stop()


async def test_a_webhook_is_given_up_after_the_configured_time(
    start_gateway: Start, smsc: Smsc, hooks: Hooks
) -> None:
    gateway = await start_gateway(smsc.port, webhooks={"allow_private": True, "retry_for_s": 1})
    sdk = await gateway.sdk()
    hooks.answers["/sms"] = status(500)
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    await write(smsc, "hello", NUMBERS[0])
    await hooks.has("/sms", 2)
    await nothing_owed(gateway)
    assert gateway.inner.handlers.given_up == 1
    async with asyncio.timeout(WAIT_S):
        while True:
            texts = [one.alert_text for one in await sdk.call(sdk.client.monitor.v1.alerts.list)]
            if any("given+up" in text for text in texts):
                break
            await asyncio.sleep(0.02)


async def test_of_a_receiver_that_stays_down_further_tries_are_one_alert_a_minute(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    hooks.answers["/sms"] = status(500)
    await configure_number(sdk, sms_url=hooks.url("/sms"))
    for number in range(3):
        await write(smsc, f"hello {number}", NUMBERS[0])
    await hooks.has("/sms", 9)  # three times each
    listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
    of_messages = [one for one in listed if one.error_code == "11200"]
    assert len({message.resource_sid for message in of_messages}) == 3
    assert len(of_messages) == 4  # the first try of each, and one for the host

"""Short links, from the message that has them to the click that is told
(docs/spec/messaging-services.md#further-features)."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from hooks import Hooks
from testing import AUTH_TOKEN, TO, GatewayUnderTest, Sdk, until
from twilio.request_validator import RequestValidator

from smpp.smsc import Smsc
from storage import short_links

Start = Callable[..., Awaitable[GatewayUnderTest]]
DOMAIN = "go.example"
LONG = "https://shop.example/sale?item=1;2&who=ä#now"
SAFE = "https://shop.example/sale?item=1;2&who=%C3%A4#now"
PHONE = "Mozilla/5.0 (iPhone)"


async def tied(sdk: Sdk, **more: str) -> str:
    """A domain that the service's links are shortened with; its SID."""
    status, body = await sdk.operate(
        "POST", "/tandem/v1/LinkDomains", data={"DomainName": DOMAIN, **more}
    )
    assert status == 201, body
    tie = sdk.client.messaging.v1.linkshortening_messaging_service(body["sid"], sdk.service_sid)
    await sdk.call(tie.create)
    return str(body["sid"])


async def code_of(sdk: Sdk, sid: str) -> str:
    """The code of the link in a message that is delivered."""
    body = (await sdk.reaches(sid, "delivered")).body
    found = re.search(rf"https://{DOMAIN}/([A-Za-z0-9]{{10}})(?![A-Za-z0-9])", body)
    assert found is not None, body
    return found[1]


async def follow(
    gateway: GatewayUnderTest, code: str, method: str = "GET", agent: str = PHONE
) -> tuple[int, str | None]:
    """Status and target of a request for a short link."""
    headers = {"Host": DOMAIN, "User-Agent": agent}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, f"{gateway.base_url}/{code}", headers=headers, allow_redirects=False
        ) as response,
    ):
        return response.status, response.headers.get("Location")


async def alerts(sdk: Sdk, code: str) -> list[Any]:
    found: list[Any] = []
    while not found:
        listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
        found = [one for one in listed if one.error_code == code]
    return found


async def test_a_message_leaves_with_a_short_link_that_leads_to_the_long_one(
    sdk: Sdk, gateway: GatewayUnderTest, smsc: Smsc
) -> None:
    await tied(sdk)
    body = f"Sale ({LONG})! " + "x" * 110  # two segments with the long link
    message = await sdk.send(body, shorten_urls=True)
    assert message.body == body
    code = await code_of(sdk, message.sid)
    later = await sdk.fetch(message.sid)
    assert later.body == body.replace(LONG, f"https://{DOMAIN}/{code}")
    assert later.num_segments == "1"
    assert await follow(gateway, code) == (302, SAFE)
    assert await follow(gateway, code, "HEAD") == (302, SAFE)
    assert (await follow(gateway, code, "POST"))[0] == 405
    # Two messages never share one.
    other = await sdk.send(body, shorten_urls=True)
    assert await code_of(sdk, other.sid) != code
    # Nor is a link known to another domain, or to the API's own host.
    async with aiohttp.ClientSession() as session:
        for host in ("other.example", "127.0.0.1"):
            async with session.get(
                f"{gateway.base_url}/{code}", headers={"Host": host}
            ) as response:
                assert response.status == 404


async def test_clicks_and_previews_are_told_and_signed(
    sdk: Sdk, gateway: GatewayUnderTest, hooks: Hooks
) -> None:
    taken: list[tuple[str, str, dict[str, Any]]] = []
    validator = RequestValidator(AUTH_TOKEN)

    async def take(request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        signature = request.headers["X-Twilio-Signature"]
        assert request.headers["Content-Type"] == "application/json"
        assert validator.validate(hooks.origin + request.raw_path, body, signature)
        taken.append(
            (request.method, request.headers["I-Twilio-Idempotency-Token"], json.loads(body))
        )
        # The first is to be told again.
        return web.Response(status=500 if len(taken) == 1 else 204)

    hooks.answers["/clicks"] = take
    await tied(sdk, CallbackUrl=hooks.url("/clicks?a=b"))
    sent = await sdk.send(f"See {LONG}", shorten_urls=True)
    code = await code_of(sdk, sent.sid)
    message = await sdk.fetch(sent.sid)
    await follow(gateway, code)
    await until(lambda: len(taken) == 2)
    assert taken[0] == taken[1]
    method, _, event = taken[1]
    assert method == "POST"
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", event.pop("click_time"))
    assert event == {
        "event_type": "click",
        "sms_sid": sent.sid,
        "to": TO,
        "from": message.from_,
        "link": LONG,
        "messaging_service_sid": sdk.service_sid,
        "account_sid": sdk.account_sid,
        "user_agent": PHONE,
    }
    await follow(gateway, code, "HEAD")
    await follow(gateway, code, agent="WhatsApp/2.23")
    await until(lambda: len(taken) == 4)
    assert [one[2]["event_type"] for one in taken[2:]] == ["preview", "preview"]


async def test_a_link_ends_after_ninety_days_and_nobody_is_told(
    sdk: Sdk, gateway: GatewayUnderTest, hooks: Hooks
) -> None:
    domain = await tied(sdk, CallbackUrl=hooks.url("/clicks"))
    code = await code_of(sdk, (await sdk.send(LONG, shorten_urls=True)).sid)
    age = "UPDATE short_links SET until = until - $1::interval"
    await gateway.pipeline.runtime.pool.execute(age, timedelta(days=90) - timedelta(minutes=5))
    assert (await follow(gateway, code))[0] == 302
    await hooks.has("/clicks", 1)
    await gateway.pipeline.runtime.pool.execute(age, timedelta(minutes=5))
    assert await follow(gateway, code) == (404, None)
    assert (await alerts(sdk, "30105"))[0].resource_sid == domain

    config = sdk.client.messaging.v1.domain_config(domain)
    await sdk.call(config.update, fallback_url="https://shop.example/home")
    assert await follow(gateway, code) == (302, "https://shop.example/home")
    assert await follow(gateway, "nothing/here") == (302, "https://shop.example/home")
    assert (await alerts(sdk, "30104"))[0].log_level == "warning"
    fresh = await code_of(sdk, (await sdk.send(LONG, shorten_urls=True)).sid)
    await follow(gateway, fresh)
    assert len(await hooks.has("/clicks", 2)) == 2


async def test_a_repeat_with_the_same_key_shows_the_long_link_again(sdk: Sdk) -> None:
    await tied(sdk)
    request = {
        "data": {
            "To": TO,
            "MessagingServiceSid": sdk.service_sid,
            "Body": LONG,
            "ShortenUrls": "true",
        },
        "headers": {"Idempotency-Key": "one"},
    }
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    first = await sdk.operate("POST", path, **request)
    assert (first[0], first[1]["body"]) == (201, LONG)
    await code_of(sdk, first[1]["sid"])
    assert await sdk.operate("POST", path, **request) == first


async def test_each_recipient_of_a_bulk_send_has_a_link_of_its_own(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    await tied(sdk)
    request = {
        "Messages": [{"To": "+447400900001"}, {"To": "+447400900002"}],
        "MessagingServiceSid": sdk.service_sid,
        "Body": LONG,
        "ShortenUrls": True,
    }
    _, answer = await sdk.operate("POST", "/preview/v1/Messages", json=request)
    codes = {await code_of(sdk, one["sid"]) for one in answer["message_receipts"]}
    assert len(codes) == 2
    for code in codes:
        assert await follow(gateway, code) == (302, SAFE)


async def test_a_scheduled_message_keeps_its_link_until_it_leaves(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, scheduling={"least_s": 0})
    sdk = await gateway.sdk()
    await tied(sdk)
    at = datetime.now(UTC) + timedelta(seconds=2)
    message = await sdk.send(f"Soon {LONG}", shorten_urls=True, schedule_type="fixed", send_at=at)
    assert (message.status, message.body) == ("scheduled", f"Soon {LONG}")
    code = await code_of(sdk, message.sid)
    [entry] = [json.loads(line) for line in smsc.ledger.lines()]
    assert entry["text"] == f"Soon https://{DOMAIN}/{code}"
    assert await follow(gateway, code) == (302, SAFE)
    # Its ninety days begin when it leaves.
    ends = await gateway.pipeline.runtime.pool.fetchval("SELECT until FROM short_links")
    assert abs(ends - timedelta(days=90) - at) < timedelta(seconds=1)


async def test_links_that_have_ended_are_forgotten(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    await tied(sdk)
    await sdk.send(f"{LONG} {LONG}", shorten_urls=True)
    now = datetime.now(UTC)
    async with gateway.pipeline.runtime.pool.acquire() as connection:
        assert await short_links.purge(connection, now, 10) == 0
        assert await short_links.purge(connection, now + timedelta(days=91), 1) == 1
        assert await short_links.purge(connection, now + timedelta(days=91), 10) == 1

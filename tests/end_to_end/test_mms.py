"""Messages with media: fetched, stored, served, carried as MMS or turned into links
(docs/spec/messaging-services.md#mms-and-mms-converter)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import unquote_plus

import aiohttp
import pytest
from aiohttp import web
from hooks import Answer, Hooks, says, status, write
from pools import Pool
from testing import GatewayUnderTest, basic, until
from twilio.base.exceptions import TwilioRestException

from gateway.enrichment.media_fetch import MOST_OCTETS, MOST_OCTETS_OTHER
from gateway.enrichment.media_links import CODE, LIFE_S
from smpp.smsc import Smsc

US, GB = "+12125550199", "+447400123456"
RICH, PLAIN = "+12125550155", "+447700900201"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def file(content: bytes, content_type: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content, headers={"Content-Type": content_type})

    return answer


class Gate:
    """A file that is given out when told so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.Response:
        await self.open.wait()
        return web.Response(body=PNG, headers={"Content-Type": "image/png"})


@pytest.fixture
async def gateway(start_gateway: Any, smsc: Smsc) -> GatewayUnderTest:
    return await start_gateway(smsc.port, media={"pause_s": 0})


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc, hooks: Hooks) -> Pool:
    """A number with MMS in a service."""
    hooks.answers["/a.png"] = file(PNG, "image/png")
    one = await Pool.of(gateway, smsc)
    await one.number(RICH, MmsEnabled="true")
    return one


async def get(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, str]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url) as response,
    ):
        return response.status, await response.read(), response.headers.get("Content-Type", "")


def submits(pool: Pool, to: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pool.smsc.ledger.lines(to)]


async def send(pool: Pool, hooks: Hooks, to: str = US, *paths: str, **named: Any) -> Any:
    urls = [hooks.url(path) for path in paths or ("/a.png",)]
    if "from_" not in named:
        named["messaging_service_sid"] = pool.sid
    named.setdefault("body", "look")
    return await pool.sdk.call(pool.sdk.client.messages.create, to=to, media_url=urls, **named)


async def test_media_are_stored_and_their_links_go_to_the_carrier(pool: Pool, hooks: Hooks) -> None:
    message = await send(pool, hooks, US, "/a.png", "/a.png")
    assert (message.sid[:2], message.num_media, message.status) == ("MM", "2", "accepted")
    final = await pool.sdk.reaches(message.sid, "delivered")
    assert (final.num_media, final.num_segments, final.body) == ("2", "1", "look")

    [submit] = submits(pool, US)
    assert (submit["text"], submit["total"]) == ("look", 1)
    # The ledger shows one parameter of a name: the second link.
    link = bytes.fromhex(submit["tlvs"]["0x1510"]).decode()
    assert CODE.match(link.removeprefix(pool.sdk.base_url + "/"))
    assert await get(link) == (200, PNG, "image/png")
    assert (await get(link, "HEAD"))[:2] == (200, b"")

    media = pool.sdk.client.messages(message.sid).media
    first, second = await pool.sdk.call(media.list)
    assert first.content_type == "image/png"
    assert first.parent_sid == message.sid
    assert (await pool.sdk.call(media(first.sid).fetch)).sid == first.sid
    files = f"{pool.sdk.base_url}{first.uri.removesuffix('.json')}"
    assert (await get(files))[0] == 401
    credentials = basic(pool.sdk.account_sid, pool.sdk.auth_token)
    assert await get(files, Authorization=credentials) == (200, PNG, "image/png")

    await pool.sdk.call(media(second.sid).delete)
    assert [one.sid for one in await pool.sdk.call(media.list)] == [first.sid]
    assert (await get(link))[0] == 404


async def test_a_plain_from_with_mms_carries_media(pool: Pool, hooks: Hooks) -> None:
    message = await send(pool, hooks, from_=RICH)
    assert (message.status, message.sid[:2]) == ("queued", "MM")
    await pool.sdk.reaches(message.sid, "delivered")
    assert "0x1510" in submits(pool, US)[0]["tlvs"]


async def test_a_plain_from_without_mms_or_to_a_country_without_it_is_refused(
    pool: Pool, hooks: Hooks
) -> None:
    await pool.number(PLAIN)
    for sender, to, code in ((PLAIN, GB, 21621), (RICH, GB, 21612)):
        with pytest.raises(TwilioRestException) as caught:
            await send(pool, hooks, to, from_=sender)
        assert caught.value.code == code


async def test_a_text_may_be_sent_as_mms(pool: Pool) -> None:
    text = "a long text " * 30
    message = await pool.sdk.send(text, US, messaging_service_sid=pool.sid, send_as_mms=True)
    assert message.sid[:2] == "MM"
    assert (await pool.sdk.reaches(message.sid, "delivered")).num_segments == "1"
    [submit] = submits(pool, US)
    assert submit["tlvs"]["0x1510"] == ""


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (file(b"<html>", "text/html"), 12300),
        (file(b"<html>", "image/png"), 12300),
        (file(b"", "image/png"), 12300),
        (file(PNG + bytes(MOST_OCTETS), "image/png"), 11751),
        (file(bytes(MOST_OCTETS_OTHER + 1), "audio/mpeg"), 30019),
        (status(404), 11200),
    ],
    ids=["type", "content", "empty", "size", "size of audio", "absent"],
)
async def test_a_file_that_cannot_be_sent_fails_its_message(
    pool: Pool, hooks: Hooks, answer: Answer, code: int
) -> None:
    hooks.answers["/b"] = answer
    message = await send(pool, hooks, US, "/b")
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == code
    assert len(hooks.at("/b")) == (3 if code == 11200 else 1)
    assert submits(pool, US) == []


@pytest.mark.parametrize("answer", [status(404), file(b"", "text/html")], ids=["absent", "type"])
async def test_a_password_in_a_media_url_is_in_no_alert_and_no_log(
    pool: Pool, hooks: Hooks, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    hooks.answers["/b"] = answer
    url = hooks.url("/b").replace("://", "://walrus:s3cr3t@")
    message = await pool.sdk.send("x", US, messaging_service_sid=pool.sid, media_url=[url])
    await pool.sdk.reaches(message.sid, "failed")
    told: list[str] = []
    while not told:
        alerts = await pool.sdk.call(pool.sdk.client.monitor.v1.alerts.list)
        texts = [unquote_plus(alert.alert_text) for alert in alerts]
        told = [text for text in texts if "/b" in text]
    for text in (*texts, caplog.text):
        assert "s3cr3t" not in text
        assert "walrus" not in text


async def test_files_up_to_the_limits_pass(pool: Pool, hooks: Hooks) -> None:
    hooks.answers["/big"] = file(
        PNG + bytes(MOST_OCTETS - MOST_OCTETS_OTHER - len(PNG)), "image/png"
    )
    hooks.answers["/sound"] = file(bytes(MOST_OCTETS_OTHER), "audio/mpeg")
    message = await send(pool, hooks, US, "/big", "/sound")
    await pool.sdk.reaches(message.sid, "delivered")


async def test_a_redirect_is_followed_and_a_file_that_was_away_is_tried_again(
    pool: Pool, hooks: Hooks
) -> None:
    tries = 0

    async def away(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        if tries < 3:
            return web.Response(status=503)
        return web.Response(status=302, headers={"Location": "/a.png"})

    hooks.answers["/away"] = away
    message = await send(pool, hooks, US, "/away")
    await pool.sdk.reaches(message.sid, "delivered")


async def test_media_on_a_private_address_are_not_fetched(
    start_gateway: Any, smsc: Smsc, hooks: Hooks
) -> None:
    gateway = await start_gateway(
        smsc.port, media={"pause_s": 0}, webhooks={"allow_private": False}
    )
    pool = await Pool.of(gateway, smsc)
    await pool.number(RICH, MmsEnabled="true")
    message = await send(pool, hooks)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 11200
    assert hooks.taken == []


async def test_what_waits_for_its_media_survives_a_restart(
    start_gateway: Any, smsc: Smsc, hooks: Hooks
) -> None:
    first = await start_gateway(smsc.port, media={"pause_s": 0})
    pool = await Pool.of(first, smsc)
    await pool.number(RICH, MmsEnabled="true")
    gate = hooks.answers["/slow.png"] = Gate()
    sids = [
        (await send(pool, hooks, US, "/slow.png")).sid,
        (await send(pool, hooks, "+12125550198", "/slow.png", from_=RICH)).sid,
    ]
    await hooks.has("/slow.png", 2)
    assert (await pool.sdk.fetch(sids[1])).status == "queued"
    await first.stop()
    gate.open.set()
    second = await start_gateway(smsc.port, media={"pause_s": 0})
    pool.sdk.client.api.base_url = f"{second.base_url}/api"
    for sid in sids:
        await pool.sdk.reaches(sid, "delivered")


async def test_a_text_does_not_overtake_earlier_media_to_its_recipient(
    start_gateway: Any, smsc: Smsc, hooks: Hooks
) -> None:
    """Through a service and from a number alike, and over a restart too."""
    first = await start_gateway(smsc.port, media={"pause_s": 0})
    pool = await Pool.of(first, smsc)
    await pool.number(RICH, MmsEnabled="true")
    gate = hooks.answers["/slow.png"] = Gate()
    other = "+12125550198"
    sids = [
        (await send(pool, hooks, US, "/slow.png", body="1")).sid,
        (await pool.sdk.send("2", to=US, messaging_service_sid=pool.sid)).sid,
        (await send(pool, hooks, other, "/slow.png", body="1", from_=RICH)).sid,
        (await pool.sdk.send("2", to=other, from_=RICH)).sid,
        (await pool.sdk.send("3", to=other, from_=RICH)).sid,
    ]
    await hooks.has("/slow.png", 2)
    unrelated = await pool.sdk.send("4", to="+12125550197", from_=RICH)
    await pool.sdk.reaches(unrelated.sid, "delivered")
    assert submits(pool, US) == submits(pool, other) == []

    await first.stop()
    second = await start_gateway(smsc.port, media={"pause_s": 0})
    pool.sdk.client.api.base_url = f"{second.base_url}/api"
    gate.open.set()
    for sid in sids:
        await pool.sdk.reaches(sid, "delivered")
    for recipient, texts in ((US, ["1", "2"]), (other, ["1", "2", "3"])):
        assert [submit["text"] for submit in submits(pool, recipient)] == texts


async def test_what_would_wait_beyond_the_bound_is_refused(
    pool: Pool, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.acceptance.pending_enrichment.BOUND", 2)
    gate = hooks.answers["/slow.png"] = Gate()
    sids = [
        (await send(pool, hooks, US, "/slow.png")).sid,
        (await pool.sdk.send("after it", to=US, from_=RICH)).sid,
    ]
    for refused in (send(pool, hooks, GB, "/slow.png"), pool.sdk.send("again", to=US, from_=RICH)):
        with pytest.raises(TwilioRestException) as raised:
            await refused
        assert (raised.value.status, raised.value.code) == (429, 20429)
    unrelated = await pool.sdk.send("hello", to="+12125550197", from_=RICH)
    await pool.sdk.reaches(unrelated.sid, "delivered")
    gate.open.set()
    for sid in sids:
        await pool.sdk.reaches(sid, "delivered")
    await pool.sdk.reaches((await send(pool, hooks, US)).sid, "delivered")


async def test_a_message_is_canceled_while_its_media_are_fetched(pool: Pool, hooks: Hooks) -> None:
    gate = hooks.answers["/slow.png"] = Gate()
    message = await send(pool, hooks, US, "/slow.png")
    await hooks.has("/slow.png")
    await pool.sdk.call(pool.sdk.client.messages(message.sid).update, status="canceled")
    gate.open.set()
    other = await send(pool, hooks)
    await pool.sdk.reaches(other.sid, "delivered")
    assert (await pool.sdk.fetch(message.sid)).status == "canceled"
    media = pool.sdk.client.messages(message.sid).media
    assert await pool.sdk.call(media.list) == []
    assert len(submits(pool, US)) == 1


async def test_media_in_a_reply_are_carried_where_the_number_can_and_else_its_text_goes_alone(
    pool: Pool, hooks: Hooks
) -> None:
    document = "<Response><Message><Body>look</Body><Media>/a.png</Media></Message></Response>"
    hooks.answers["/sms"] = says(document)
    numbers = pool.sdk.client.incoming_phone_numbers
    await pool.number("+12125550156")
    for number in await pool.sdk.call(numbers.list):
        await pool.sdk.call(numbers(number.sid).update, sms_url=hooks.url("/sms"))
    for written_to, handset, carried in ((RICH, US, True), ("+12125550156", "+12125550198", False)):
        await write(pool.smsc, "hi", written_to, sender=handset)
        await until(lambda handset=handset: bool(submits(pool, handset)))  # type: ignore[misc]
        [submit] = submits(pool, handset)
        assert (submit["text"], "0x1510" in submit["tlvs"]) == ("look", carried)


# The converter -----------------------------------------------------------------------------


async def test_media_to_a_country_without_mms_go_as_links_by_sms(
    gateway: GatewayUnderTest, pool: Pool, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.number(PLAIN)
    message = await send(pool, hooks, GB, "/a.png", "/a.png", body="“look”")
    final = await pool.sdk.reaches(message.sid, "delivered")
    assert (final.sid, final.num_media, final.from_) == (message.sid, "2", PLAIN)
    text, first, second = final.body.split(" ")
    assert text == '"look"'  # Smart Encoding applies to an SMS
    [submit] = submits(pool, GB)
    assert submit["text"] == final.body
    assert "0x1510" not in submit["tlvs"]
    path = f"/2010-04-01/Accounts/{pool.sdk.account_sid}/Messages/{message.sid}/Explain.json"
    explained = (await pool.sdk.operate("GET", path))[1]["media"]
    assert (explained["files"], explained["carried_as"]) == (2, "links in an SMS")
    for link in (first, second):
        assert CODE.match(link.removeprefix(pool.sdk.base_url + "/"))
        assert await get(link) == (200, PNG, "image/png")

    # 365 days later it is gone.
    monkeypatch.setattr(gateway.inner._clock, "wall", lambda: time.time() + LIFE_S + 1)
    assert (await get(first))[0] == 404


async def test_a_dry_run_says_how_media_would_go(pool: Pool) -> None:
    path = f"/2010-04-01/Accounts/{pool.sdk.account_sid}/Messages/DryRun.json"

    async def dry_run(to: str) -> Any:
        form = {"To": to, "MessagingServiceSid": pool.sid, "MediaUrl": "https://a.example/a.png"}
        status, body = await pool.sdk.operate("POST", path, data=form)
        assert status == 200, body
        return body

    for to, carried_as in ((US, "MMS"), (GB, "links in an SMS")):
        body = await dry_run(to)
        assert (body["would_be"], body["sender"]["address"]) == ("sent", RICH)
        assert body["media"] == {"files": 1, "carried_as": carried_as}
    await pool.sdk.call(pool.service.update, mms_converter=False)
    body = await dry_run(GB)
    assert (body["would_be"], body["error_code"], body["carrier"]) == ("failed", 21703, None)


async def test_media_without_a_text_go_as_a_link_alone(pool: Pool, hooks: Hooks) -> None:
    message = await send(pool, hooks, GB, body=None)
    final = await pool.sdk.reaches(message.sid, "delivered")
    assert CODE.match(final.body.removeprefix(pool.sdk.base_url + "/"))


async def test_without_converter_or_mms_in_the_pool_nothing_is_converted(
    pool: Pool, hooks: Hooks
) -> None:
    await pool.sdk.call(pool.service.update, mms_converter=False)
    message = await send(pool, hooks, GB)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21703
    poor = await pool.sdk.call(pool.sdk.client.messaging.v1.services.create, "Poor")
    number = await pool.sdk.call(pool.sdk.client.incoming_phone_numbers.create, phone_number=PLAIN)
    service = pool.sdk.client.messaging.v1.services(poor.sid)
    await pool.sdk.call(service.phone_numbers.create, number.sid)
    message = await send(pool, hooks, GB, messaging_service_sid=poor.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21703


async def test_an_sms_with_links_is_sent_after_a_restart(
    start_gateway: Any, smsc: Smsc, hooks: Hooks
) -> None:
    hooks.answers["/a.png"] = file(PNG, "image/png")
    first = await start_gateway(smsc.port, default_rate_per_second=0.001)
    pool = await Pool.of(first, smsc)
    await pool.number(RICH, MmsEnabled="true")
    await pool.number(PLAIN)
    sids = [(await send(pool, hooks, GB)).sid for _ in range(3)]
    await hooks.has("/a.png", 3)
    await until(lambda: len(submits(pool, GB)) >= 1)
    await first.stop()
    second = await start_gateway(smsc.port)
    pool.sdk.client.api.base_url = f"{second.base_url}/api"
    for sid in sids:
        assert " http://" in (await pool.sdk.reaches(sid, "delivered")).body
    assert len({row["text"] for row in submits(pool, GB)}) == 3

"""Twilio's API where it is easily taken for something near it, through the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hooks import Hooks
from pools import Pool
from testing import NUMBERS, TO, WAIT_S, GatewayUnderTest, Receiver, Sdk, sdk_client, until

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
HANDSET = "+447700900500"


async def write(smsc: Smsc, text: str, to: str = NUMBERS[0], handset: str = HANDSET) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{smsc.control_port}/mo",
            json={"from": handset, "to": to, "text": text},
        ) as response,
    ):
        assert response.status == 200, await response.text()


async def number_of(sdk: Sdk, address: str) -> Any:
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=address)
    return number


async def alerts(sdk: Sdk, code: int) -> list[Any]:
    found = await sdk.call(sdk.client.monitor.v1.alerts.list)
    return [alert for alert in found if alert.error_code == str(code)]


async def twiml(text: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/xml")

    return answer


async def test_replies_are_found_by_their_date(sdk: Sdk, smsc: Smsc, hooks: Hooks) -> None:
    began = datetime.now(UTC) - timedelta(seconds=2)
    with_hook, without = await number_of(sdk, NUMBERS[0]), NUMBERS[1]
    await sdk.call(with_hook.update, sms_url=hooks.url("/in"))
    await write(smsc, "to the app", NUMBERS[0])
    await write(smsc, "to nobody", without)
    await hooks.has("/in")
    for to in NUMBERS:
        async with asyncio.timeout(WAIT_S):
            while True:
                found = await sdk.call(
                    sdk.client.messages.list, to=to, from_=HANDSET, date_sent_after=began
                )
                if found:
                    break
                await asyncio.sleep(0.02)
        [reply] = found
        assert reply.date_sent >= reply.date_created.replace(microsecond=0)
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert not await sdk.call(sdk.client.messages.list, to=to, date_sent_after=later)


async def test_messages_keep_the_sid_of_their_service(
    start_gateway: Start, smsc: Smsc, receiver: Receiver
) -> None:
    gateway = await start_gateway(smsc.port)
    pool = await Pool.of(gateway, smsc)
    sdk = pool.sdk
    await pool.number("+447700900311")
    sent = await sdk.send(messaging_service_sid=pool.sid)
    await sdk.reaches(sent.sid, "delivered")
    await sdk.call(pool.service.delete)
    assert (await sdk.fetch(sent.sid)).messaging_service_sid == pool.sid
    gateway.pipeline.runtime.directory.former_services.clear()  # as one that was deleted long ago
    [listed] = await sdk.call(sdk.client.messages.list, to=TO)
    assert listed.messaging_service_sid == pool.sid
    gateway.pipeline.runtime.directory.former_services.clear()
    assert (await sdk.fetch(sent.sid)).messaging_service_sid == pool.sid


async def test_media_that_take_longer_than_the_validity_end_it_at_its_end(
    start_gateway: Start, smsc: Smsc, hooks: Hooks
) -> None:
    gateway = await start_gateway(smsc.port, media={"timeout_s": 60})
    pool = await Pool.of(gateway, smsc)
    await pool.number("+12025550111", MmsEnabled="true")
    released = asyncio.Event()

    async def never(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    hooks.answers["/picture"] = never
    sent = [
        await pool.sdk.send(
            to=f"+1312555010{number}",
            messaging_service_sid=pool.sid,
            media_url=[hooks.url("/picture")],
            validity_period=2,
        )
        for number in (1, 1, 2)  # one waits behind another of its recipient
    ]
    for message in sent:
        final = await pool.sdk.reaches(message.sid, "failed")
        assert final.error_code == 30036
    assert not released.is_set()
    released.set()


async def test_an_app_may_answer_with_sms(sdk: Sdk, smsc: Smsc, hooks: Hooks) -> None:
    hooks.answers["/in"] = await twiml(
        '<Response><Sms statusCallback="/status">Hi</Sms>'
        '<Sms to="+447700900501">Ho</Sms></Response>'
    )
    number = await number_of(sdk, NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    await write(smsc, "hello")

    async def replies() -> dict[str, str]:
        found = await sdk.call(sdk.client.messages.list, from_=NUMBERS[0])
        return {message.to: message.body for message in found}

    async with asyncio.timeout(WAIT_S):
        while len(await replies()) < 2:
            await asyncio.sleep(0.02)
    assert await replies() == {HANDSET: "Hi", "+447700900501": "Ho"}
    assert await alerts(sdk, 12200) == []


@pytest.mark.parametrize("path", ["/smş", "/a%20b/ü?q=ß", "/plain?x=1|2"])
async def test_a_url_is_signed_and_called_as_it_is_shown(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, path: str
) -> None:
    number = await number_of(sdk, NUMBERS[0])
    updated = await sdk.call(number.update, sms_url=hooks.url(path))
    assert updated.sms_url.isascii()
    await write(smsc, "hello")
    await until(lambda: bool(hooks.taken))
    [taken] = hooks.taken
    assert taken.valid, "the signature is of the URL that was called"
    sent = await sdk.send(status_callback=hooks.url(path))
    await sdk.reaches(sent.sid, "delivered")
    await until(lambda: len(hooks.taken) >= 2)
    assert all(request.valid for request in hooks.taken)


HIDDEN = (
    *("\u202a", "\u2068", "\u200b", "\ufeff", "\ufe0f", "\u2064"),  # formats, selectors, signs
    *("\x00", "\x07", "\x1f", "\t", "\n", "\x7f", "\x85", "\u2028", "\u2029"),  # controls, lines
    *("\u3164", "\u115f", "\u034f", "\u17b4", "\u2800", "\U000e0001"),  # fillers, blanks, tags
)


@pytest.mark.parametrize("mark", HIDDEN)
async def test_what_can_not_be_seen_in_a_number_is_named(sdk: Sdk, mark: str) -> None:
    account = f"/2010-04-01/Accounts/{sdk.account_sid}"
    chat = await sdk.call(sdk.client.conversations.v1.conversations.create)
    binding = "MessagingBinding.Address"
    participants = f"/conversations/v1/Conversations/{chat.sid}/Participants"
    pair = {binding: TO, "MessagingBinding.ProxyAddress": NUMBERS[0]}
    block = {"MessagingServiceSid": sdk.service_sid}
    for path, form, name, code in (
        (f"{account}/Messages.json", {"From": NUMBERS[0], "Body": "x"}, "To", 21211),
        (f"{account}/Messages.json", {"To": TO, "Body": "x"}, "From", 21212),
        (f"{account}/IncomingPhoneNumbers.json", {}, "PhoneNumber", 21421),
        ("/accounts/v1/SafeList/Numbers", {}, "PhoneNumber", 20001),
        (participants, pair, binding, 50407),
        (participants, pair, "MessagingBinding.ProxyAddress", 50408),
        ("/conversations/v1/Configuration/Addresses", {"Type": "sms"}, "Address", 50407),
        ("/tandem/v1/OptOuts/Recipients", block, "To", 21211),
        ("/tandem/v1/SenderRegistrations", {"IsoCountryCode": "AE"}, "AlphaSender", 21709),
    ):
        good = "Acme" if name == "AlphaSender" else NUMBERS[0]
        for text in (mark + good, good + mark, good[:3] + mark + good[3:]):
            status, body = await sdk.operate("POST", path, data={**form, name: text})
            assert (status, body["code"]) == (400, code), (path, name)
            said = "It holds characters that can't be seen: "
            assert f"{said}U+{ord(mark):04X} " in body["message"], (path, name)


async def test_what_can_be_seen_in_a_number_is_taken(sdk: Sdk) -> None:
    for space in " \u00a0\u2003\u202f\u3000":
        await sdk.send(to=f"+44 1632{space}960-675")


async def test_a_reply_to_whom_it_must_not_go_shows_whom_it_was_from(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    number = await number_of(sdk, NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    hooks.answers["/in"] = await twiml(
        '<Response><Message to="+447700900502">Hi</Message></Response>'
    )
    await write(smsc, "STOP", handset="+447700900502")
    await write(smsc, "hello")

    async def refused() -> list[Any]:
        found = await sdk.call(sdk.client.messages.list, to="+447700900502")
        return [message for message in found if message.error_code == 21610]

    async with asyncio.timeout(WAIT_S):
        while not (found := await refused()):
            await asyncio.sleep(0.02)
    assert found[0].from_ == NUMBERS[0]


async def test_a_nul_is_dropped_where_smart_encoding_is_on_and_refused_elsewhere(sdk: Sdk) -> None:
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    service = f"/messaging/v1/Services/{sdk.service_sid}"

    async def answer(**form: str) -> tuple[int, Any]:
        status, body = await sdk.operate("POST", path, data={"To": TO, "Body": "a\x00b", **form})
        return status, body["code"] if status != 201 else body["body"]

    assert await answer(From=NUMBERS[0]) == (400, 21618)
    assert await answer(From=NUMBERS[0], SmartEncoded="true") == (201, "ab")
    assert await answer(From=NUMBERS[0], SmartEncoded="true", Body="\x00") == (400, 21602)
    for on, code in (("true", (201, "ab")), ("false", (400, 21618))):
        assert (await sdk.operate("POST", service, data={"SmartEncoding": on}))[0] == 200
        assert await answer(MessagingServiceSid=sdk.service_sid) == code
    assert await answer(MessagingServiceSid=sdk.service_sid, SmartEncoded="true") == (201, "ab")


async def test_another_ids_registration_does_not_end_the_alert(
    gateway: GatewayUnderTest, smsc: Smsc
) -> None:
    """A customer drafts, the operator approves: only the ID that sent it is asked for (30018)."""
    operator = await gateway.sdk()
    customer = await operator.call(operator.client.api.accounts.create)
    client = sdk_client(gateway.base_url, customer.sid, customer.auth_token)
    service = await operator.call(client.messaging.v1.services.create, "Theirs")
    sdk = Sdk(gateway.base_url, client, service.sid)
    pool = Pool(sdk, smsc, service.sid)
    await sdk.call(pool.service.alpha_senders.create, "Acme")
    path = f"/messaging/v1/Services/{pool.sid}"
    form = {"SenderIdPreregAlert": "true", "StrictPreregistration": "true"}
    assert (await sdk.operate("POST", path, data=form))[0] == 200

    async def approved(sender: str) -> None:
        path = "/tandem/v1/SenderRegistrations"
        form = {"AlphaSender": sender, "IsoCountryCode": "AE"}
        status, draft = await sdk.operate("POST", path, data=form)
        assert (status, draft["status"]) == (201, "draft")
        path = f"{path}/{draft['sid']}"
        form = {"Status": "approved"}
        assert (await sdk.operate("POST", path, data=form))[0] == 403
        status, shown = await operator.operate("POST", path, data=form)
        assert (status, shown["status"]) == (200, "approved")

    await approved("Other")
    message = await sdk.send(to="+971501234567")
    assert (await sdk.reaches(message.sid, "failed")).error_code == 21703  # its own is asked for
    assert (await sdk.operate("POST", path, data={"StrictPreregistration": "false"}))[0] == 200
    assert await pool.sender_of("+971501234567") == "Acme"
    async with asyncio.timeout(WAIT_S):
        while not await alerts(sdk, 30018):
            await asyncio.sleep(0.02)
    await approved("Acme")
    assert (await sdk.operate("POST", path, data={"StrictPreregistration": "true"}))[0] == 200
    assert await pool.sender_of("+971501234567") == "Acme"


async def test_in_canada_a_number_of_the_area_goes_before_a_toll_free_one(
    gateway: GatewayUnderTest, smsc: Smsc
) -> None:
    pool = await Pool.of(gateway, smsc)
    for number in ("+18005550110", "+14165550111", "+16045550112"):
        await pool.number(number)
    path = f"/messaging/v1/Services/{pool.sid}"
    assert await pool.sender_of("+14165550100") == "+14165550111"  # its own area
    assert await pool.sender_of("+16475550100") == "+14165550111"  # an overlay of it
    assert await pool.sender_of("+19025550100") == "+18005550110"  # another
    form = {"AreaCodeGeomatch": "false"}
    assert (await pool.sdk.operate("POST", path, data=form))[0] == 200
    assert await pool.sender_of("+14165550102") == "+18005550110"


async def test_a_carrier_that_refuses_our_password_has_an_alert_of_its_own(
    start_gateway: Start, start_smsc: Any
) -> None:
    from smpp.smsc import CarrierScenario

    smsc = await start_smsc(CarrierScenario(password="another"))
    gateway = await start_gateway(smsc.port)
    sdk = await Sdk.provisioned(gateway.base_url)
    async with asyncio.timeout(WAIT_S):
        while not (found := await alerts(sdk, 99007)):
            await asyncio.sleep(0.02)
    assert found[0].resource_sid == "simulator"
    assert not await alerts(sdk, 20003)

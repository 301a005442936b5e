"""What the operator knows of carriers and countries, put to use while the gateway runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hooks import Hooks
from pools import Pool
from testing import WAIT_S, GatewayUnderTest, basic
from twilio.base.exceptions import TwilioRestException

from gateway.enrichment.media_links import CODE
from gateway.pipeline import refresh as pipeline_module
from smpp.smsc import Smsc

US, GB, AE = "+12125550199", "+447400123456", "+971501234567"
RICH, LONG = "+12125550155", "+447700900201"
OLD_CARRIER = "country,carrier,short_codes,mms\nGB,Old,no,yes\nUS,Old,yes,no\n"


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


async def put(pool: Pool, table: str, content: str) -> tuple[int, Any]:
    return await pool.sdk.operate(
        "PUT", f"/tandem/v1/Tables/{table}", data=content, headers={"Content-Type": "text/csv"}
    )


async def make_old(pool: Pool, *prefixes: str) -> None:
    """These prefixes belong to a carrier that takes no short codes in GB, and no MMS in the US."""
    rows = "".join(f"{prefix},Old\n" for prefix in prefixes)
    assert (await put(pool, "carriers_by_prefix", "prefix,carrier\n" + rows))[0] == 200
    assert (await put(pool, "carrier_support", OLD_CARRIER))[0] == 200


async def alerts(pool: Pool, code: int) -> list[Any]:
    found = await pool.sdk.call(pool.sdk.client.monitor.v1.alerts.list)
    return [one for one in found if one.error_code == str(code)]


# Short codes -------------------------------------------------------------------------------


async def test_row_3_a_carrier_without_short_codes_gets_a_long_code_and_else_the_alpha(
    pool: Pool,
) -> None:
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    await pool.short_code("60070", "GB")
    number = await pool.number(LONG)
    await make_old(pool, "447400")
    assert await pool.sender_of("+447500123456") == "60070"
    assert await pool.sender_of(GB) == LONG
    await pool.sdk.call(pool.service.phone_numbers(number).delete)
    assert await pool.sender_of("+447400123457") == "Acme"


async def test_the_longest_prefix_counts(pool: Pool) -> None:
    await pool.short_code("60070", "GB")
    await pool.number(LONG)
    await make_old(pool, "44", "447400")
    assert (await put(pool, "carriers_by_prefix", "prefix,carrier\n44,Old\n447400,New\n"))[0] == 200
    assert await pool.sender_of(GB) == "60070"
    assert await pool.sender_of("+447500123456") == LONG


async def test_the_carrier_is_looked_up_once_and_a_lookup_that_hangs_is_an_unknown_carrier(
    start_gateway: Any, smsc: Smsc, hooks: Hooks
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.query["to"] == GB:
            return web.json_response({"carrier": "Old"})
        await asyncio.Event().wait()
        return web.Response()

    hooks.answers["/dip"] = answer
    lookup = {"url": hooks.url("/dip") + "?to={number}", "timeout_s": 0.2}
    pool = await Pool.of(await start_gateway(smsc.port, lookup=lookup), smsc)
    await pool.short_code("60070", "GB")
    await pool.number(LONG)
    await make_old(pool)
    dry = f"/2010-04-01/Accounts/{pool.sdk.account_sid}/Messages/DryRun.json"
    form = {"To": GB, "MessagingServiceSid": pool.sid, "Body": "x"}
    for _ in range(2):  # it asks as the send does
        _, body = await pool.sdk.operate("POST", dry, data=form)
        assert (body["carrier"], body["sender"]["address"]) == ("Old", LONG)
    assert len(hooks.at("/dip")) == 1
    assert [await pool.sender_of(GB) for _ in range(2)] == [LONG, LONG]
    assert len(hooks.at("/dip")) == 1
    [last, *_] = await pool.sdk.call(pool.sdk.client.messages.list)
    explain = dry.replace("DryRun", f"{last.sid}/Explain")
    now = (await pool.sdk.operate("GET", explain))[1]["sender"]["now"]
    assert now["address"] == LONG
    reasons = {one["address"]: one["reason"] for one in now["candidates"]}
    assert "carrier" in reasons["60070"]
    assert len(hooks.at("/dip")) == 1
    assert await pool.sender_of("+447500123456") == "60070"
    assert len(hooks.at("/dip")) == 2


async def test_beyond_the_bound_a_message_goes_without_the_lookup(
    start_gateway: Any, smsc: Smsc, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The carrier is worth a short wait, and no refusal."""
    monkeypatch.setattr("gateway.acceptance.pending_enrichment.BOUND", 1)
    hanging = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await hanging.wait()
        return web.json_response({"carrier": "Old"})

    hooks.answers["/dip"] = answer
    lookup = {"url": hooks.url("/dip") + "?to={number}", "timeout_s": 60}
    pool = await Pool.of(await start_gateway(smsc.port, lookup=lookup), smsc)
    await pool.short_code("60070", "GB")
    await pool.number(LONG)
    await make_old(pool)
    first = await pool.sdk.send(to=GB, messaging_service_sid=pool.sid)
    await hooks.has("/dip")
    assert await pool.sender_of("+447500123456") == "60070"
    hanging.set()
    await pool.sdk.reaches(first.sid, "delivered")
    assert len(hooks.at("/dip")) == 1


# MMS ---------------------------------------------------------------------------------------


async def test_row_16_media_to_a_carrier_without_mms_go_as_a_link_of_seven_characters(
    pool: Pool, hooks: Hooks
) -> None:
    await pool.number(RICH, MmsEnabled="true")
    await make_old(pool, "1212555")

    async def png(request: web.Request) -> web.Response:
        return web.Response(body=b"\x89PNG\r\n\x1a\n...", headers={"Content-Type": "image/png"})

    hooks.answers["/a.png"] = png

    async def send(**named: Any) -> Any:
        create = pool.sdk.client.messages.create
        return await pool.sdk.call(create, to=US, media_url=[hooks.url("/a.png")], **named)

    message = await send(body="look", messaging_service_sid=pool.sid)
    final = await pool.sdk.reaches(message.sid, "delivered")
    text, link = final.body.split(" ")
    assert (text, final.sid[:2], final.num_media) == ("look", "MM", "1")
    assert CODE.match(link.removeprefix(pool.sdk.base_url + "/"))
    [submit] = [json.loads(line) for line in pool.smsc.ledger.lines(US)]
    assert (submit["text"], submit["source"]) == (final.body, RICH[1:])

    await pool.sdk.call(pool.service.update, mms_converter=False)
    for named in ({"messaging_service_sid": pool.sid}, {"from_": RICH}):
        message = await send(**named)
        final = await pool.sdk.reaches(message.sid, "undelivered")
        assert (final.error_code, final.date_sent) == (30011, None)


# Alphanumeric IDs --------------------------------------------------------------------------


async def test_row_19_a_country_that_wants_ids_registered_raises_an_alert_and_gets_the_message(
    pool: Pool,
) -> None:
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    assert await pool.sender_of(AE) == "Acme"
    path = f"/messaging/v1/Services/{pool.sid}"
    assert (await pool.sdk.operate("POST", path, data={"SenderIdPreregAlert": "true"}))[0] == 200
    message = await pool.sdk.send(to=AE, messaging_service_sid=pool.sid)
    final = await pool.sdk.reaches(message.sid, "delivered")
    assert (final.from_, final.error_code) == ("Acme", None)
    assert await pool.sender_of("+971501234568") == "Acme"  # counted, not told
    async with asyncio.timeout(WAIT_S):
        while not (found := await alerts(pool, 30018)):
            await asyncio.sleep(0.02)
    [alert] = found
    assert (alert.resource_sid, alert.log_level) == (message.sid, "warning")
    assert "AE" in alert.alert_text


async def test_a_registration_ends_the_alert_and_strictness_goes_without_the_unregistered(
    pool: Pool,
) -> None:
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    form = {"SenderIdPreregAlert": "true", "StrictPreregistration": "true"}
    status, service = await pool.sdk.operate(
        "POST", f"/messaging/v1/Services/{pool.sid}", data=form
    )
    assert (status, service["strict_preregistration"]) == (200, True)
    message = await pool.sdk.send(to=AE, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21703

    path = "/tandem/v1/SenderRegistrations"
    form = {"AlphaSender": "Acme", "IsoCountryCode": "AE", "Status": "in_review"}
    status, one = await pool.sdk.operate("POST", path, data=form)
    assert (status, one["status"]) == (201, "in_review")
    assert (await pool.sdk.operate("POST", path, data=form))[0] == 409
    message = await pool.sdk.send(to=AE, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21703
    status, one = await pool.sdk.operate(
        "POST", f"{path}/{one['sid']}", data={"Status": "approved"}
    )
    assert (status, one["status"]) == (200, "approved")
    assert await pool.sender_of(AE) == "Acme"
    assert await alerts(pool, 30018) == []
    assert (await pool.sdk.operate("GET", path))[1]["sender_registrations"] == [one]
    assert (await pool.sdk.operate("DELETE", f"{path}/{one['sid']}"))[0] == 204
    assert (await pool.sdk.operate("GET", f"{path}/{one['sid']}"))[0] == 404


async def test_the_table_of_countries_is_the_operators(pool: Pool) -> None:
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    header = "iso,alpha_supported,preregistration\n"
    assert (await put(pool, "alpha_sender_countries", header + "GB,no,none\n"))[0] == 200
    message = await pool.sdk.send(to=GB, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21703
    table = "/tandem/v1/Tables/alpha_sender_countries"
    assert (await pool.sdk.operate("DELETE", table))[0] == 204
    assert await pool.sender_of(GB) == "Acme"


async def test_an_id_that_says_nothing_is_refused_where_the_operator_lists_it(
    start_gateway: Any, smsc: Smsc
) -> None:
    pool = await Pool.of(await start_gateway(smsc.port, generic_sender_ids=["INFO"]), smsc)
    await pool.sdk.call(pool.service.alpha_senders.create, "Info")
    message = await pool.sdk.send(to=GB, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 30042


# Tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "content", "problem"),
    [
        ("carriers_by_prefix", "prefix,carrier\n44,One\n+44,Two\n", "row 2: prefix"),
        ("carriers_by_prefix", "prefix\n44\n", "no column carrier"),
        ("carrier_support", "country,carrier,short_codes,mms\nXX,A,no,no\n", "row 1: country"),
        ("carrier_support", "country,carrier,short_codes,mms\nGB,A,maybe,no\n", "short_codes"),
        ("alpha_sender_countries", "iso,alpha_supported,preregistration\nGB,1,none\n", "row 1"),
        ("prices", "country,direction,sender_type,content,price\n,outbound,,sms,-1\n", "price"),
        ("prices", "country,direction,sender_type,content,price\n,outbound,,fax,1\n", "content"),
        ("mms_countries", "garbage", "no column country"),
        ("mms_countries", "", "no column country"),
        ("alpha_sender_countries", "ÿþ", "no column iso"),
        ("prices", "country,direction,sender_type,content\n", "no column price"),
        ("carriers_by_prefix", "prefix,carrier\n44,One\n1,A\n44,Two\n", "row 3: prefix 44"),
        ("mms_countries", "country\nUS\nUS\n", "row 2: country US"),
        (
            "alpha_sender_countries",
            "iso,alpha_supported,preregistration\nCH,no,none\nCH,yes,none\n",
            "row 2: iso CH",
        ),
        (
            "carrier_support",
            "country,carrier,short_codes,mms\nGB,A,no,no\nGB,A,yes,no\n",
            "row 2: country GB, carrier A",
        ),
        (
            "prices",
            "country,direction,sender_type,content,price\nGB,outbound,,sms,1\nGB,outbound,,sms,2\n",
            "row 2: country GB, direction outbound, content sms",
        ),
    ],
)
async def test_a_table_with_a_mistake_is_refused_with_its_row(
    pool: Pool, gateway: GatewayUnderTest, table: str, content: str, problem: str
) -> None:
    await make_old(pool, "447400")
    status, answer = await put(pool, table, content)
    assert (status, answer["code"]) == (400, 20001)
    assert problem in answer["message"]
    facts = gateway.pipeline.runtime.directory.facts
    assert facts.carrier_of(GB) == "Old"
    assert facts.mms_countries == {"US", "CA"}


async def test_a_table_is_read_as_it_was_written_and_else_as_packaged(pool: Pool) -> None:
    async def get(table: str) -> str:
        headers = {"Authorization": basic(pool.sdk.account_sid, pool.sdk.auth_token)}
        url = f"{pool.sdk.base_url}/tandem/v1/Tables/{table}"
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
            assert response.content_type == "text/csv"
            return await response.text()

    assert "AD,Andorra" in await get("alpha_sender_countries")
    assert await get("carriers_by_prefix") == "prefix,carrier\n"
    await make_old(pool, "44")
    assert await get("carrier_support") == OLD_CARRIER
    listed = (await pool.sdk.operate("GET", "/tandem/v1/Tables"))[1]["tables"]
    assert {one["name"] for one in listed if one["updated"]} == {
        "carriers_by_prefix",
        "carrier_support",
    }
    assert (await pool.sdk.operate("GET", "/tandem/v1/Tables/nothing"))[0] == 404


# Countries that an account does not send to, and prices -----------------------------------------


async def test_a_closed_country_is_refused_to_a_plain_from_and_fails_through_a_service(
    pool: Pool,
) -> None:
    await pool.number(LONG)
    path = "/tandem/v1/GeoPermissions"
    status, answer = await pool.sdk.operate(
        "POST",
        path,
        data="IsoCountryCode=GB&IsoCountryCode=FR&Enabled=false",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (status, answer["closed_countries"]) == (200, ["FR", "GB"])
    with pytest.raises(TwilioRestException) as caught:
        await pool.sdk.send(to=GB, from_=LONG)
    assert (caught.value.code, caught.value.status) == (21408, 400)
    message = await pool.sdk.send(to=GB, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21408
    form = {"IsoCountryCode": "GB", "Enabled": "true"}
    assert (await pool.sdk.operate("POST", path, data=form))[1]["closed_countries"] == ["FR"]
    assert await pool.sender_of(GB) == LONG


async def test_a_sent_message_has_its_price_and_one_that_failed_has_none(pool: Pool) -> None:
    header = "country,direction,sender_type,content,price\n"
    rows = "GB,outbound,,sms,0.04\nGB,outbound,alpha,sms,0.05\n,outbound,,sms,0.1\n"
    assert (await put(pool, "prices", header + rows))[0] == 200
    await pool.number(LONG)
    for to, body, price in ((GB, "x" * 161, "-0.08000"), ("+33612345678", "x", "-0.10000")):
        message = await pool.sdk.send(body, to, messaging_service_sid=pool.sid)
        assert message.price is None
        final = await pool.sdk.reaches(message.sid, "delivered")
        assert (final.price, final.price_unit) == (price, "USD")
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    message = await pool.sdk.send(to="+447400123459", messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "delivered")).price == "-0.05000"
    message = await pool.sdk.send(to=US, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).price is None


async def test_what_was_read_before_a_change_does_not_come_in_force_after_it(
    pool: Pool, gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two look at a change at once: whoever began first must not end last."""
    contents = pipeline_module.fact_rows.contents
    read, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(connections: Any) -> Any:
        found = await contents(connections)
        if not read.is_set():
            read.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(pipeline_module.fact_rows, "contents", slowly)
    header = "iso,alpha_supported,preregistration\n"
    putting = asyncio.create_task(put(pool, "alpha_sender_countries", header + "GB,no,none\n"))
    await asyncio.wait_for(read.wait(), WAIT_S)
    table = "/tandem/v1/Tables/alpha_sender_countries"
    deleting = asyncio.create_task(pool.sdk.operate("DELETE", table))
    async with asyncio.timeout(WAIT_S):
        while await gateway.pipeline.runtime.pool.fetchval("SELECT count(*) FROM fact_tables"):
            await asyncio.sleep(0.02)
    go_on.set()
    assert (await putting)[0] == 200
    assert (await deleting)[0] == 204
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    assert await pool.sender_of(GB) == "Acme"

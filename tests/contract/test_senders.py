"""Short codes, alphanumeric IDs and channel senders, and the pools they stand in (SDK)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pools import Pool
from testing import TO, GatewayUnderTest, Sdk, sdk_client, until

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def test_short_codes_are_registered_listed_updated_and_removed(sdk: Sdk) -> None:
    sid = await sdk.add_short_code("60070", "GB", SmsUrl="http://a.org/in")
    await sdk.add_short_code("12345", "US")
    codes = sdk.client.short_codes
    fetched = await sdk.call(codes(sid).fetch)
    assert (fetched.short_code, fetched.friendly_name) == ("60070", "60070")
    assert (fetched.sms_url, fetched.sms_method) == ("http://a.org/in", "POST")
    changed = await sdk.call(codes(sid).update, friendly_name="Bank", sms_method="GET")
    assert (changed.friendly_name, changed.sms_method) == ("Bank", "GET")
    assert [c.sid for c in await sdk.call(codes.list, short_code="6007")] == [sid]
    assert [c.sid for c in await sdk.call(codes.list, friendly_name="Bank")] == [sid]
    assert len(await sdk.call(codes.list)) == 2

    await sdk.refused(21403, 400, codes(sid).update, sms_method="PUT")
    await sdk.refused(21402, 400, codes(sid).update, sms_url="nonsense")
    await sdk.refused(20404, 404, codes("SC" + "0" * 32).fetch)
    collection = f"/2010-04-01/Accounts/{sdk.account_sid}/SMS/ShortCodes"
    assert (await sdk.operate("DELETE", f"{collection}/{sid}.json"))[0] == 204
    await sdk.refused(20404, 404, codes(sid).fetch)


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"ShortCode": "12", "IsoCountryCode": "GB"}, 400, 20001),
        ({"ShortCode": "123456789", "IsoCountryCode": "GB"}, 400, 20001),
        ({"ShortCode": "60070"}, 400, 20001),
        ({"ShortCode": "60070", "IsoCountryCode": "XX"}, 400, 20001),
        ({"ShortCode": "999", "IsoCountryCode": "GB"}, 409, 20409),
        ({"ShortCode": "60070", "IsoCountryCode": "GB", "CarrierName": "?"}, 400, 20001),
    ],
)
async def test_a_short_code_that_cannot_be_is_not_registered(
    sdk: Sdk, form: dict[str, str], status: int, code: int
) -> None:
    await sdk.add_short_code("999", "GB")
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/SMS/ShortCodes.json"
    got, body = await sdk.operate("POST", path, data=form)
    assert (got, body["code"]) == (status, code)


async def test_a_subaccount_registers_no_short_codes_and_no_channel_senders(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create)
    for path, request in (
        (f"/2010-04-01/Accounts/{account.sid}/SMS/ShortCodes.json", {"data": {"ShortCode": "1"}}),
        ("/tandem/v1/ChannelSenders", {"json": {"sender": "rcs:agent"}}),
    ):
        status, body = await sdk.operate("POST", path, account.sid, account.auth_token, **request)
        assert (status, body["code"]) == (403, 20403)


async def test_a_short_code_joins_and_leaves_a_pool(sdk: Sdk) -> None:
    sid = await sdk.add_short_code("60070", "GB", MmsEnabled="true")
    services = sdk.client.messaging.v1.services
    pool = services(sdk.service_sid).short_codes
    member = await sdk.call(pool.create, sid)
    assert (member.short_code, member.country_code) == ("60070", "GB")
    assert member.capabilities == ["SMS", "MMS"]
    assert member.service_sid == sdk.service_sid
    assert [m.sid for m in await sdk.call(pool.list)] == [sid]
    assert len(await sdk.call(services(sdk.service_sid).phone_numbers.list)) == 2

    other = services((await sdk.call(services.create, "Other")).sid).short_codes
    await sdk.refused(21710, 409, pool.create, sid)
    await sdk.refused(21712, 409, other.create, sid)
    await sdk.refused(21711, 404, other(sid).fetch)
    await sdk.refused(21711, 404, services(sdk.service_sid).phone_numbers("PN" + sid[2:]).fetch)
    await sdk.refused(20404, 404, other.create, "SC" + "0" * 32)
    await sdk.refused(20001, 400, other.create, "")
    assert await sdk.call(pool(sid).delete) is True
    assert (await sdk.call(other.create, sid)).short_code == "60070"


async def test_a_number_that_carries_nothing_joins_no_pool(sdk: Sdk) -> None:
    sid = await sdk.add_short_code("60070", "GB", SmsEnabled="false")
    pool = sdk.client.messaging.v1.services(sdk.service_sid).short_codes
    await sdk.refused(21715, 400, pool.create, sid)
    await sdk.refused(21661, 400, sdk.client.messages.create, to=TO, from_="60070", body="x")


async def test_a_pool_holds_so_many_numbers_and_short_codes(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, pool_limit=3)
    sdk = await gateway.sdk()
    service = sdk.client.messaging.v1.services(sdk.service_sid)
    await sdk.call(service.short_codes.create, await sdk.add_short_code("60070", "GB"))
    one_more = await sdk.add_short_code("60071", "GB")
    await sdk.refused(21714, 400, service.short_codes.create, one_more)
    # Alphanumeric IDs are not counted.
    assert (await sdk.call(service.alpha_senders.create, "Acme")).alpha_sender == "Acme"
    assert len(await sdk.call(service.short_codes.list)) == 1


async def test_a_service_has_one_alphanumeric_id(sdk: Sdk) -> None:
    services = sdk.client.messaging.v1.services
    alphas = services(sdk.service_sid).alpha_senders
    made = await sdk.call(alphas.create, "Acme Ltd")
    assert made.sid.startswith("AI")
    assert (made.alpha_sender, made.capabilities) == ("Acme Ltd", ["SMS"])
    assert made.service_sid == sdk.service_sid
    assert [a.sid for a in await sdk.call(alphas.list)] == [made.sid]
    assert (await sdk.call(alphas(made.sid).fetch)).url.endswith(f"/AlphaSenders/{made.sid}")

    await sdk.refused(21708, 400, alphas.create, "")
    for bad in ("123456", "TwelveLetters", " Acme", "Acme!", "Açme"):
        await sdk.refused(21709, 400, alphas.create, bad)
    await sdk.refused(21710, 409, alphas.create, "Acme Ltd")
    await sdk.refused(21714, 400, alphas.create, "Other")

    # The same ID may stand in another service.
    other = services((await sdk.call(services.create, "Other")).sid)
    again = await sdk.call(other.alpha_senders.create, "Acme Ltd")
    assert again.sid != made.sid
    await sdk.refused(21711, 404, other.alpha_senders(made.sid).delete)
    assert await sdk.call(alphas(made.sid).delete) is True
    await sdk.refused(21711, 404, alphas(made.sid).fetch)
    # A service takes its ID with it.
    assert await sdk.call(services(again.service_sid).delete) is True
    await sdk.refused(21659, 400, sdk.client.messages.create, to=TO, from_="Acme Ltd", body="x")


async def test_a_service_has_one_alphanumeric_id_per_country(sdk: Sdk) -> None:
    service = sdk.client.messaging.v1.services(sdk.service_sid)
    alphas = service.destination_alpha_senders
    german = await sdk.call(alphas.create, "Acme DE", iso_country_code="de")
    default = await sdk.call(alphas.create, "Acme")
    assert (german.iso_country_code, default.iso_country_code) == ("DE", "")
    assert german.capabilities == ["SMS"]
    assert {a.sid for a in await sdk.call(alphas.list)} == {german.sid, default.sid}
    found = await sdk.call(alphas.list, iso_country_code="DE")
    assert [a.sid for a in found] == [german.sid]
    assert [a.sid for a in await sdk.call(service.alpha_senders.list)] == [default.sid]
    await sdk.refused(21711, 404, service.alpha_senders(german.sid).fetch)

    await sdk.refused(21714, 400, alphas.create, "Other", iso_country_code="DE")
    await sdk.refused(21710, 409, alphas.create, "Acme DE", iso_country_code="DE")
    await sdk.refused(21710, 409, service.alpha_senders.create, "Acme")
    await sdk.refused(20001, 400, alphas.create, "Acme", iso_country_code="XX")
    await sdk.refused(21709, 400, alphas.create, "Acme", iso_country_code="US")
    assert await sdk.call(alphas(german.sid).delete) is True


async def test_channel_senders_are_registered_and_pooled(sdk: Sdk) -> None:
    status, made = await sdk.operate(
        "POST", "/tandem/v1/ChannelSenders", json={"sender": "whatsapp:+447700900999"}
    )
    assert status == 201
    assert made["sid"].startswith("XE")
    assert (made["sender_type"], made["country_code"]) == ("WhatsApp", "GB")
    _, agent = await sdk.operate(
        "POST", "/tandem/v1/ChannelSenders", json={"sender": "rcs:acme_agent"}
    )
    services = sdk.client.messaging.v1.services
    pool = services(sdk.service_sid).channel_senders
    member = await sdk.call(pool.create, made["sid"])
    assert (member.sender, member.sender_type) == ("whatsapp:+447700900999", "WhatsApp")
    assert (member.messaging_service_sid, member.country_code) == (sdk.service_sid, "GB")
    await sdk.call(pool.create, agent["sid"])
    assert {m.sender for m in await sdk.call(pool.list)} == {member.sender, "rcs:acme_agent"}
    assert (await sdk.call(pool(made["sid"]).fetch)).sid == made["sid"]
    await sdk.refused(21710, 409, pool.create, made["sid"])
    other = services((await sdk.call(services.create, "Other")).sid).channel_senders
    await sdk.refused(21712, 409, other.create, made["sid"])
    await sdk.refused(20404, 404, other.create, "XE" + "0" * 32)

    # Nothing carries the channel yet: it is said at once, and a plain number goes by SMS.
    await sdk.refused(
        21703,
        400,
        sdk.client.messages.create,
        to=f"whatsapp:{TO}",
        body="x",
        messaging_service_sid=sdk.service_sid,
    )
    assert (await sdk.reaches((await sdk.send()).sid, "delivered")).from_ in sdk.numbers

    assert await sdk.call(pool(made["sid"]).delete) is True
    assert (await sdk.operate("DELETE", f"/tandem/v1/ChannelSenders/{made['sid']}"))[0] == 204
    _, listed = await sdk.operate("GET", "/tandem/v1/ChannelSenders")
    assert [one["sid"] for one in listed["senders"]] == [agent["sid"]]
    for wrong in ("sms:+447700900999", "whatsapp:12", "rcs:", "rcs:a b", ""):
        status, body = await sdk.operate(
            "POST", "/tandem/v1/ChannelSenders", json={"sender": wrong}
        )
        assert (status, body["code"]) == (400, 20001)
    status, body = await sdk.operate(
        "POST", "/tandem/v1/ChannelSenders", json={"sender": "rcs:acme_agent"}
    )
    assert (status, body["code"]) == (409, 20409)


async def test_an_explicit_alphanumeric_id_belongs_to_a_service_of_the_account(sdk: Sdk) -> None:
    create = sdk.client.messages.create
    await sdk.refused(21659, 400, create, to=TO, from_="Acme", body="x")
    alphas = sdk.client.messaging.v1.services(sdk.service_sid).alpha_senders
    await sdk.call(alphas.create, "Acme")
    message = await sdk.call(create, to=TO, from_="Acme", body="x")
    assert (message.status, message.from_) == ("queued", "Acme")
    assert (await sdk.reaches(message.sid, "delivered")).messaging_service_sid is None
    await sdk.refused(21659, 400, create, to=TO, from_="acme", body="x")
    await sdk.refused(21657, 400, create, to="+12125550123", from_="Acme", body="x")
    await sdk.refused(21212, 400, create, to=TO, from_="Acme!", body="x")

    # Another account has not got it.
    account = await sdk.call(sdk.client.api.accounts.create)
    own = sdk_client(sdk.base_url, account.sid, account.auth_token)
    await sdk.refused(21659, 400, own.messages.create, to=TO, from_="Acme", body="x")


@pytest.mark.parametrize(("legacy", "code"), [(False, 21659), (True, 21606)])
async def test_an_explicit_short_code_reaches_its_own_country_only(
    start_gateway: Start, smsc: Smsc, legacy: bool, code: int
) -> None:
    sdk = await (await start_gateway(smsc.port, legacy_21606=legacy)).sdk()
    await sdk.add_short_code("60070", "GB")
    create = sdk.client.messages.create
    await sdk.refused(code, 400, create, to="+12125550123", from_="60070", body="x")
    assert (await sdk.call(create, to=TO, from_="60070", body="x")).from_ == "60070"


async def test_a_second_toll_free_number_in_a_pool_is_taken_with_an_alert(
    gateway: GatewayUnderTest, smsc: Smsc
) -> None:
    """docs/spec/messaging-services.md#pool-resources."""
    pool = await Pool.of(gateway, smsc)

    async def alerts() -> list[Any]:
        await until(lambda: gateway.pipeline.runtime.alerts._queue.empty())
        found = await pool.sdk.call(pool.sdk.client.monitor.v1.alerts.list)
        return [one for one in found if one.error_code == "99005"]

    await pool.number("+12125550155")
    await pool.number("+18885550123")
    assert await alerts() == []
    await pool.number("+18335550123")
    while not (found := await alerts()):
        pass
    assert (found[0].resource_sid, found[0].log_level) == (pool.sid, "warning")

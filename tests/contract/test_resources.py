"""Accounts, numbers, services and message lists, through the unmodified SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from testing import AUTH_TOKEN, NUMBERS, TO, Sdk, basic, sdk_client
from twilio.base.exceptions import TwilioRestException


async def refused(
    sdk: Sdk, code: int, status: int, function: Any, *args: Any, **named: Any
) -> None:
    with pytest.raises(TwilioRestException) as caught:
        await sdk.call(function, *args, **named)
    assert (caught.value.code, caught.value.status) == (code, status)


async def test_a_subaccount_acts_for_itself_and_its_parent_acts_for_it(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create, friendly_name="Shop")
    assert account.status == "active"
    assert account.owner_account_sid == sdk.account_sid
    assert isinstance(account.date_created, datetime)

    own = sdk_client(sdk.base_url, account.sid, account.auth_token)
    assert await sdk.call(own.messages.list) == []
    assert [a.sid for a in await sdk.call(own.api.accounts.list)] == [account.sid]
    by_parent = sdk.client.api.accounts(account.sid)
    number = await sdk.call(by_parent.incoming_phone_numbers.create, phone_number="+15005550006")
    assert number.account_sid == account.sid

    # The other way round it knows nothing of its parent.
    await refused(sdk, 20003, 401, own.api.accounts(sdk.account_sid).fetch)
    await refused(sdk, 20403, 403, own.api.accounts.create)


async def test_a_suspended_account_can_do_nothing_until_it_is_active_again(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create)
    own = sdk_client(sdk.base_url, account.sid, account.auth_token)
    await sdk.call(sdk.client.api.accounts(account.sid).update, status="suspended")
    await refused(sdk, 20005, 403, own.messages.create, to=TO, body="x", from_=NUMBERS[0])
    await sdk.call(sdk.client.api.accounts(account.sid).update, status="active")
    assert await sdk.call(own.messages.list) == []
    context = sdk.client.api.accounts(account.sid)
    await refused(sdk, 21475, 400, lambda: context.update(status="odd"))


async def test_numbers_are_created_listed_updated_and_deleted(sdk: Sdk) -> None:
    numbers = sdk.client.incoming_phone_numbers
    number = await sdk.call(
        numbers.create, phone_number="+12125550123", friendly_name="NY", sms_url="http://a.org/in"
    )
    assert number.phone_number == "+12125550123"
    assert number.capabilities == {"voice": False, "sms": True, "mms": False, "fax": False}
    assert (number.sms_url, number.sms_method) == ("http://a.org/in", "POST")
    assert await sdk.call(lambda: numbers(number.sid).fetch().friendly_name) == "NY"
    changed = await sdk.call(numbers(number.sid).update, friendly_name="New", sms_url="")
    assert (changed.friendly_name, changed.sms_url) == ("New", None)
    listed = await sdk.call(numbers.list, phone_number="+1212")
    assert [n.sid for n in listed] == [number.sid]
    assert len(await sdk.call(numbers.list)) == len(NUMBERS) + 1

    await refused(sdk, 21422, 400, numbers.create, phone_number="+12125550123")
    await refused(sdk, 21421, 400, numbers.create, phone_number="+1")
    await refused(sdk, 21402, 400, numbers.create, phone_number="+12125550124", sms_url="x")
    await refused(sdk, 20404, 404, numbers("PN" + "0" * 32).fetch)

    assert await sdk.call(numbers(number.sid).delete) is True
    await refused(sdk, 20404, 404, numbers(number.sid).fetch)


async def test_services_have_every_field_and_keep_what_is_set(sdk: Sdk) -> None:
    services = sdk.client.messaging.v1.services
    service = await sdk.call(services.create, "Alerts")
    assert service.sticky_sender is True
    assert service.smart_encoding is True
    assert service.validity_period == 36000
    assert service.usecase == "undeclared"
    assert service.inbound_method == "POST"
    assert service.use_inbound_webhook_on_number is True
    assert service.us_app_to_person_registered is False
    assert service.url == f"{sdk.base_url}/messaging/v1/Services/{service.sid}"
    assert set(service.links) >= {"phone_numbers", "short_codes", "alpha_senders", "messages"}
    assert isinstance(service.date_created, datetime)

    changed = await sdk.call(
        services(service.sid).update,
        friendly_name="Alerts 2",
        sticky_sender=False,
        validity_period=60,
        status_callback="http://a.org/status",
        usecase="marketing",
    )
    assert changed.friendly_name == "Alerts 2"
    assert (changed.sticky_sender, changed.validity_period) == (False, 60)
    assert (changed.status_callback, changed.usecase) == ("http://a.org/status", "marketing")
    assert changed.smart_encoding is True

    await refused(sdk, 20001, 400, services.create, "")
    await refused(sdk, 20001, 400, services.create, "x" * 65)
    await refused(sdk, 90007, 400, services.create, "x", validity_period=36001)
    await refused(sdk, 21713, 400, services.create, "x", usecase="gossip")
    await refused(sdk, 30122, 400, services.create, "x", fallback_url="nonsense")
    await refused(sdk, 21403, 400, services.create, "x", inbound_method="PUT")
    await refused(sdk, 20404, 404, services("MG" + "0" * 32).fetch)
    assert await sdk.call(services(service.sid).delete) is True
    await refused(sdk, 20404, 404, services(service.sid).fetch)


async def test_the_pool_of_a_service(sdk: Sdk) -> None:
    pool = sdk.client.messaging.v1.services(sdk.service_sid).phone_numbers
    members = await sdk.call(pool.list)
    assert sorted(m.phone_number for m in members) == list(NUMBERS)
    assert members[0].country_code == "GB"
    assert members[0].capabilities == ["SMS"]
    assert (await sdk.call(pool(members[0].sid).fetch)).service_sid == sdk.service_sid

    other = await sdk.call(sdk.client.messaging.v1.services.create, "Other")
    others = sdk.client.messaging.v1.services(other.sid).phone_numbers
    await refused(sdk, 21710, 409, pool.create, members[0].sid)
    await refused(sdk, 21712, 409, others.create, members[0].sid)
    await refused(sdk, 20404, 404, others.create, "PN" + "0" * 32)
    await refused(sdk, 21711, 404, others(members[0].sid).delete)

    assert await sdk.call(pool(members[0].sid).delete) is True
    assert (await sdk.call(others.create, members[0].sid)).service_sid == other.sid
    assert len(await sdk.call(pool.list)) == 1


async def test_lists_page_through_every_row_once(sdk: Sdk) -> None:
    services = sdk.client.messaging.v1.services
    made = {(await sdk.call(services.create, f"S{n}")).sid for n in range(5)}
    listed = [s.sid for s in await sdk.call(services.list, page_size=2)]
    assert len(listed) == len(set(listed)) == 6
    assert made < set(listed)

    sids = [(await sdk.send(f"{n}")).sid for n in range(7)]
    paged = [m.sid for m in await sdk.call(sdk.client.messages.list, page_size=3)]
    assert paged == list(reversed(sids))
    assert len(await sdk.call(sdk.client.messages.list, limit=4)) == 4
    assert len(await sdk.call(sdk.client.messages.list, limit=5000)) == 7


async def test_message_lists_filter_by_address_and_date(sdk: Sdk) -> None:
    first = await sdk.send("a", from_=NUMBERS[0])
    second = await sdk.send("b", to="+441632960676", from_=NUMBERS[1])
    for message in (first, second):
        await sdk.reaches(message.sid, "delivered")
    listing = sdk.client.messages.list

    async def found(**filters: Any) -> set[str]:
        return {m.sid for m in await sdk.call(listing, **filters)}

    both = {first.sid, second.sid}
    assert await found(to=TO) == {first.sid}
    assert await found(from_=NUMBERS[1]) == {second.sid}
    now = datetime.now(UTC)
    assert await found(date_sent=now.date()) == both
    assert await found(date_sent_after=now - timedelta(minutes=5)) == both
    assert await found(date_sent_after=now + timedelta(minutes=5)) == set()
    assert await found(date_sent_before=now - timedelta(days=1)) == set()
    for end in ("9999-12-27", "9999-12-28", "9999-12-29", "9999-12-30", "9999-12-31"):
        assert await found(date_sent_before=end) == both
        assert await found(date_sent_after=end) == await found(date_sent=end) == set()
    assert await found(date_sent_after="0001-01-01") == both
    assert await found(date_sent_before="0001-01-01") == set()
    assert await found(date_sent="0001-01-01") == set()
    form = {"Since": "0001-01-01", "Until": "9999-12-31"}
    status, _ = await sdk.operate(
        "POST", f"/2010-04-01/Accounts/{sdk.account_sid}/Webhooks/Replay.json", data=form
    )
    assert status == 202


async def test_unknown_paths_and_methods_are_told_in_the_same_shape(sdk: Sdk) -> None:
    headers = {"Authorization": basic(sdk.account_sid, AUTH_TOKEN)}
    account = f"/2010-04-01/Accounts/{sdk.account_sid}"
    async with aiohttp.ClientSession(headers=headers) as session:
        for method, path, status, code in (
            ("GET", "/nowhere", 404, 20404),
            ("GET", f"{account}/Calls.json", 404, 20404),
            ("GET", f"{account}/Messages/SM{'0' * 32}.json", 404, 20404),
            ("GET", f"{account}/Messages/nonsense.json", 404, 20404),
            ("DELETE", f"{account}/Messages.json", 405, 20004),
            ("GET", "/lookups/v1/PhoneNumbers/+1", 404, 20404),
            ("GET", f"{account}/Messages.json?PageSize=x", 400, 20001),
            ("GET", f"{account}/Messages.json?DateSent=x", 400, 20001),
        ):
            async with session.request(method, sdk.base_url + path) as response:
                body = await response.json()
                assert (response.status, body["code"]) == (status, code), path
                assert set(body) == {"code", "message", "more_info", "status"}
                assert response.headers["Twilio-Request-Id"].startswith("RQ")


async def test_products_are_found_by_prefix_host_and_path(sdk: Sdk) -> None:
    headers = {"Authorization": basic(sdk.account_sid, AUTH_TOKEN)}
    async with aiohttp.ClientSession(headers=headers) as session:
        for path, host, origin in (
            ("/messaging/v1/Services", None, f"{sdk.base_url}/messaging"),
            ("/v1/Services", None, sdk.base_url),
            ("/v1/Services", "messaging.twilio.com", "http://messaging.twilio.com"),
            (
                "/v1/Services",
                "messaging.sydney.au1.twilio.com",
                "http://messaging.sydney.au1.twilio.com",
            ),
        ):
            given = {"Host": host} if host else {}
            async with session.get(sdk.base_url + path, headers=given) as response:
                body = await response.json()
                assert response.status == 200
                assert body["meta"]["url"] == f"{origin}/v1/Services?PageSize=50&Page=0"
                assert body["services"][0]["url"].startswith(f"{origin}/v1/Services/MG")
        async with session.get(
            sdk.base_url + "/v1/Services", headers={"Host": "conversations.twilio.com"}
        ) as response:
            body = await response.json()
            assert all(service["sid"].startswith("IS") for service in body["services"])
        async with session.get(
            sdk.base_url + "/v1/Services", headers={"Host": "verify.twilio.com"}
        ) as response:
            assert response.status == 404

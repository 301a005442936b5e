"""Numbers to be had, and numbers had (SDK)."""

from __future__ import annotations

from typing import Any

import pytest
from testing import Sdk, sdk_client

OFFER: list[dict[str, Any]] = [
    {"phone_number": "+12125550150", "locality": "New York", "region": "NY", "mms": True},
    {"phone_number": "+12125550151", "locality": "New York", "region": "NY"},
    {"phone_number": "+14155550150", "locality": "San Francisco", "region": "CA"},
    {"phone_number": "+18005550150"},
    {"phone_number": "+447400123456"},
]


@pytest.fixture
async def stocked(sdk: Sdk) -> Sdk:
    status, body = await sdk.operate("POST", "/tandem/v1/Inventory", json={"numbers": OFFER})
    assert (status, body) == (201, {"added": len(OFFER)})
    return sdk


async def found(sdk: Sdk, listing: Any, **filters: Any) -> list[str]:
    return [number.phone_number for number in await sdk.call(listing, **filters)]


async def test_available_numbers_are_searched_by_country_type_and_place(stocked: Sdk) -> None:
    available = stocked.client.available_phone_numbers
    us = available("US")
    assert await found(stocked, us.local.list) == [
        "+12125550150",
        "+12125550151",
        "+14155550150",
    ]
    assert await found(stocked, us.local.list, area_code=415) == ["+14155550150"]
    assert await found(stocked, us.local.list, contains="1255501*1") == ["+12125550151"]
    assert await found(stocked, us.local.list, in_region="NY", mms_enabled=True) == ["+12125550150"]
    assert await found(stocked, us.local.list, in_locality="san francisco") == ["+14155550150"]
    assert await found(stocked, us.local.list, voice_enabled=True) == []
    assert await found(stocked, us.toll_free.list) == ["+18005550150"]
    assert await found(stocked, available("GB").mobile.list) == ["+447400123456"]
    assert await found(stocked, available("GB").local.list) == []
    assert len(await found(stocked, us.local.list, page_size=1)) == 3
    one = (await stocked.call(us.local.list, limit=1))[0]
    assert one.friendly_name == "(212) 555-0150"
    assert (one.iso_country, one.region, one.locality) == ("US", "NY", "New York")
    assert one.capabilities == {"voice": False, "SMS": True, "MMS": True}

    assert {c.country_code for c in await stocked.call(available.list)} == {"US", "GB"}
    assert set((await stocked.call(us.fetch)).subresource_uris) == {"local", "toll_free"}
    await stocked.refused(20404, 404, available("FR").fetch)
    await stocked.refused(20001, 400, us.local.list, contains="x")
    await stocked.refused(20001, 400, us.local.list, sms_enabled="perhaps")


async def test_a_number_is_taken_from_the_inventory_and_given_back(stocked: Sdk) -> None:
    account = await stocked.call(stocked.client.api.accounts.create)
    own = sdk_client(stocked.base_url, account.sid, account.auth_token)
    numbers = own.incoming_phone_numbers
    taken = await stocked.call(numbers.create, phone_number="+12125550150")
    assert taken.friendly_name == "(212) 555-0150"
    assert taken.capabilities == {"voice": False, "sms": True, "mms": True, "fax": False}
    second = await stocked.call(numbers.create, area_code="212")
    assert second.phone_number == "+12125550151"
    await stocked.refused(21452, 400, numbers.create, area_code="212")
    await stocked.refused(21452, 400, numbers.create, area_code="21")
    await stocked.refused(21422, 400, numbers.create, phone_number="+12125550150")
    await stocked.refused(21422, 400, numbers.create, phone_number="+12125550199")
    await stocked.refused(20001, 400, numbers.create)
    local = stocked.client.available_phone_numbers("US").local
    assert await found(stocked, local.list, area_code=212) == []
    assert await stocked.call(numbers(taken.sid).delete) is True
    assert await found(stocked, local.list, area_code=212) == ["+12125550150"]
    # A customer sets no rate and chooses no carrier.
    path = f"/2010-04-01/Accounts/{account.sid}/IncomingPhoneNumbers/{second.sid}.json"
    status, body = await stocked.operate(
        "POST", path, account.sid, account.auth_token, data={"SmsMps": "1000"}
    )
    assert (status, body["code"]) == (403, 20403)


async def test_the_inventory_is_the_operators(stocked: Sdk) -> None:
    inventory = "/tandem/v1/Inventory"
    _, listed = await stocked.operate("GET", inventory)
    assert [one["phone_number"] for one in listed["numbers"]] == sorted(
        one["phone_number"] for one in OFFER
    )
    assert listed["numbers"][0]["carrier_name"] == "simulator"
    assert (await stocked.operate("DELETE", f"{inventory}/+18005550150"))[0] == 204
    assert (await stocked.operate("DELETE", f"{inventory}/+18005550150"))[0] == 404
    account = await stocked.call(stocked.client.api.accounts.create)
    status, body = await stocked.operate("GET", inventory, account.sid, account.auth_token)
    assert (status, body["code"]) == (403, 20403)
    for wrong, code in (
        ({"numbers": []}, 20001),
        ({"numbers": [{"phone_number": "12"}]}, 21421),
        ({"numbers": [{"phone_number": "+12125550150", "colour": "red"}]}, 20001),
        ({"numbers": [{"phone_number": "+12125550150"}], "carrier_name": "?"}, 20001),
        ({"numbers": [{"phone_number": "+12125550150"}] * 1001}, 20001),
    ):
        status, body = await stocked.operate("POST", inventory, json=wrong)
        assert (status, body["code"]) == (400, code)


async def test_numbers_are_listed_by_type_and_filtered(sdk: Sdk) -> None:
    numbers = sdk.client.incoming_phone_numbers
    for text in ("+447400123456", "+12125550150", "+18005550150"):
        await sdk.call(numbers.create, phone_number=text)
    assert await found(sdk, numbers.mobile.list) == ["+447400123456"]
    assert await found(sdk, numbers.toll_free.list) == ["+18005550150"]
    assert "+12125550150" in await found(sdk, numbers.local.list)
    assert await found(sdk, numbers.list, phone_number="125550*50") == ["+12125550150"]
    assert await found(sdk, numbers.list, friendly_name="(212) 555-0150") == ["+12125550150"]
    assert await found(sdk, numbers.list, beta=True) == []
    assert len(await found(sdk, numbers.list, beta=False, origin="hosted")) == 5
    assert await found(sdk, numbers.list, origin="twilio") == []


async def test_a_number_names_an_application_of_its_account(sdk: Sdk) -> None:
    application = await sdk.call(sdk.client.applications.create, friendly_name="Bot")
    numbers = sdk.client.incoming_phone_numbers
    number = await sdk.call(
        numbers.create, phone_number="+12125550150", sms_application_sid=application.sid
    )
    assert number.sms_application_sid == application.sid
    context = numbers(number.sid)
    await sdk.refused(21420, 400, lambda: context.update(sms_application_sid="AP" + "0" * 32))
    await sdk.refused(21406, 400, lambda: context.update(sms_fallback_url="http://a.org/f"))
    await sdk.refused(21403, 400, lambda: context.update(status_callback_method="PUT"))
    changed = await sdk.call(
        lambda: context.update(
            sms_application_sid="",
            sms_url="http://a.org/in",
            sms_fallback_url="http://a.org/f",
            sms_fallback_method="GET",
            status_callback="http://a.org/s",
        )
    )
    assert changed.sms_application_sid is None
    assert (changed.sms_fallback_url, changed.sms_fallback_method) == ("http://a.org/f", "GET")
    assert changed.status_callback == "http://a.org/s"

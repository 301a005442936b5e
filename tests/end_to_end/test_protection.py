"""Pumping protection with its safe list, and a day's limit, through the SDK."""

from __future__ import annotations

import pytest
from testing import GatewayUnderTest, Sdk

from gateway.routing.pumping import SEQUENCE


async def account(sdk: Sdk, **parameters: str) -> None:
    path = f"/2010-04-01/Accounts/{sdk.account_sid}.json"
    status, body = await sdk.operate("POST", path, data=parameters)
    assert status == 200, body


async def code_of(sdk: Sdk, to: str, **named: object) -> int | None:
    """What a message to this number fails with, None when it arrives."""
    sid = (await sdk.send(to=to, **named)).sid
    while (message := await sdk.fetch(sid)).status not in ("delivered", "failed"):
        pass
    return message.error_code


async def test_recipients_that_follow_one_another_are_blocked_unless_vouched_for(sdk: Sdk) -> None:
    await account(sdk, PumpingProtection="true")
    sids = [(await sdk.send(to=f"+4474001234{n:02}")).sid for n in range(SEQUENCE)]
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    follower = f"+4474001234{SEQUENCE:02}"
    assert await code_of(sdk, follower) == 30450
    assert await code_of(sdk, f"+4474001234{SEQUENCE + 1:02}", risk_check="disable") is None

    safe_list = sdk.client.accounts.v1.safelist
    one = await sdk.call(safe_list.create, phone_number="+4474001234")
    assert one.sid.startswith("GN")
    assert (await sdk.call(safe_list.fetch, phone_number="+4474001234")).sid == one.sid
    await sdk.refused(20409, 409, safe_list.create, phone_number="+4474001234")
    assert await code_of(sdk, f"+4474001234{SEQUENCE + 2:02}") is None
    assert await sdk.call(safe_list.delete, phone_number="+4474001234")
    await sdk.refused(20404, 404, safe_list.fetch, phone_number="+4474001234")
    for bad in ("+44", "4474001234", "+" + "1" * 16):
        await sdk.refused(20001, 400, safe_list.create, phone_number=bad)


@pytest.mark.parametrize(
    "block", ["+4407400123", "+440074001234", f"+44074001234{SEQUENCE + 2:02}"]
)
async def test_a_safe_number_has_the_spelling_of_a_recipient(sdk: Sdk, block: str) -> None:
    await account(sdk, PumpingProtection="true")
    sids = [(await sdk.send(to=f"+4474001234{n:02}")).sid for n in range(SEQUENCE)]
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    safe_list = sdk.client.accounts.v1.safelist
    assert await code_of(sdk, f"+4474001234{SEQUENCE:02}") == 30450
    one = await sdk.call(safe_list.create, phone_number=block)
    assert one.phone_number == "+44" + block.removeprefix("+44").lstrip("0")
    await sdk.refused(20409, 409, safe_list.create, phone_number=one.phone_number)
    assert (await sdk.call(safe_list.fetch, phone_number=block)).sid == one.sid
    assert await code_of(sdk, f"+4474001234{SEQUENCE + 2:02}") is None
    assert await sdk.call(safe_list.delete, phone_number=block)


async def test_a_day_has_so_many_messages(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    assert await code_of(sdk, "+447400123401") is None
    await account(sdk, DailyMessages="3")  # the one before counts
    assert await code_of(sdk, "+447400123402") is None
    assert await code_of(sdk, "+447400123403") is None
    assert await code_of(sdk, "+447400123404") == 30454
    await account(sdk, DailyMessages="")
    assert await code_of(sdk, "+447400123405") is None

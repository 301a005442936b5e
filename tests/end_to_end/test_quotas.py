"""Rates and queue limits that senders share: of accounts, of campaigns, of all MMS
(docs/spec/messaging-services.md#token-bucket, docs/spec/messaging-services.md#queue-limits)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pools import Pool
from testing import CAMPAIGN, GatewayUnderTest, Sdk, sdk_client

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]

US, GB = "+12125550199", "+447400123456"
FIRST, SECOND, TOLL_FREE = "+12125550155", "+12125550156", "+18885550123"
SLOW = "0.0005"  # one at once; 18 segments in ten hours


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


async def set_account(pool: Pool, sid: str = "", **parameters: str) -> dict[str, Any]:
    path = f"/2010-04-01/Accounts/{sid or pool.sdk.account_sid}.json"
    status, body = await pool.sdk.operate("POST", path, data=parameters)
    assert status == 200, body
    return dict(body)


async def waits(sdk: Sdk, sid: str) -> bool:
    return (await sdk.fetch(sid)).status in ("queued", "accepted")


async def test_the_mms_of_all_long_codes_share_a_rate_and_toll_free_ones_another(
    pool: Pool,
) -> None:
    for number in (FIRST, SECOND, TOLL_FREE):
        await pool.number(number, MmsEnabled="true")
    shown = await set_account(pool, MmsPerSecond=SLOW)
    assert (shown["mms_per_second"], shown["toll_free_mms_per_second"]) == (0.0005, 25.0)

    async def send(sender: str, last: int, **named: Any) -> str:
        return str((await pool.sdk.send("x", f"{US[:-1]}{last}", from_=sender, **named)).sid)

    await pool.sdk.reaches(await send(FIRST, 1, send_as_mms=True), "delivered")
    waiting = await send(SECOND, 2, send_as_mms=True)
    await pool.sdk.reaches(await send(TOLL_FREE, 3, send_as_mms=True), "delivered")
    await pool.sdk.reaches(await send(SECOND, 4), "delivered")  # an SMS
    assert await waits(pool.sdk, waiting)
    assert (await set_account(pool, MmsPerSecond=""))["mms_per_second"] == 50.0
    await pool.sdk.reaches(waiting, "delivered")


async def test_an_account_and_its_subaccounts_share_a_rate(pool: Pool) -> None:
    await pool.number("+447700900301")
    child = await pool.sdk.call(pool.sdk.client.api.accounts.create)
    client = sdk_client(pool.sdk.base_url, child.sid, child.auth_token)
    number = pool.sdk.client.api.v2010.accounts(child.sid).incoming_phone_numbers
    await pool.sdk.call(number.create, phone_number="+447700900302")
    theirs = Sdk(pool.sdk.base_url, client, "", ("+447700900302",))

    assert (await set_account(pool, MessagesPerSecond="0.01"))["messages_per_second"] == 0.01
    assert await pool.sender_of(f"{GB[:-1]}0") == "+447700900301"
    ours = (await pool.sdk.send("x", GB, messaging_service_sid=pool.sid)).sid
    its = (await theirs.send("x", GB, from_="+447700900302")).sid
    assert await waits(pool.sdk, ours)
    assert await waits(theirs, its)
    await set_account(pool, MessagesPerSecond="")
    await pool.sdk.reaches(ours, "delivered")
    await theirs.reaches(its, "delivered")
    # Its own rate holds for it alone.
    await set_account(pool, child.sid, MessagesPerSecond="0.01")
    await theirs.reaches((await theirs.send("x", f"{GB[:-1]}7", from_="+447700900302")).sid, "sent")
    its = (await theirs.send("x", f"{GB[:-1]}8", from_="+447700900302")).sid
    assert await pool.sender_of(f"{GB[:-1]}9") == "+447700900301"
    assert await waits(theirs, its)


async def test_an_account_has_ten_hours_waiting_at_most(pool: Pool) -> None:
    await pool.number("+447700900301")
    await set_account(pool, MessagesPerSecond=SLOW)
    for n in range(10):  # one goes at once
        await pool.sdk.send(f"{n}", f"+4474009{n:05d}", from_="+447700900301")
    for n in range(10, 19):
        await pool.sdk.send(f"{n}", f"+4474009{n:05d}", messaging_service_sid=pool.sid)
    send = pool.sdk.client.messages.create
    for sender in ("+447700900301", pool.sdk.numbers[0]):
        await pool.sdk.refused(21611, 400, send, to=GB, from_=sender, body="x")
    message = await pool.sdk.send("x", GB, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 30001
    await set_account(pool, MessagesPerSecond="0.0006")  # 22: there is room for four
    for n in range(4):
        await pool.sdk.send("x", f"{GB[:-1]}{n}", from_=pool.sdk.numbers[0])
    await pool.sdk.refused(21611, 400, send, to=GB, from_=pool.sdk.numbers[0], body="x")


async def test_the_numbers_of_a_campaign_share_its_rate_towards_the_us(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    for number in (FIRST, SECOND):
        await pool.number(number)
    campaigns = pool.service.us_app_to_person
    made = await pool.sdk.call(campaigns.create, **CAMPAIGN)
    path = f"/messaging/v1/Services/{pool.sid}/Compliance/Usa2p/{made.sid}"

    async def rate(value: str) -> Any:
        status, body = await pool.sdk.operate("POST", path, data={"CampaignMps": value})
        assert status == 200, body
        return body["mps"]

    async def send(sender: str, to: str) -> str:
        return str((await pool.sdk.send("x", to, from_=sender)).sid)

    assert await rate(SLOW) == 0.0005
    await pool.sdk.reaches(await send(FIRST, f"{US[:-1]}0"), "delivered")
    waiting = [await send((FIRST, SECOND)[n % 2], f"{US[:-2]}{n}") for n in range(10, 28)]
    await pool.sdk.reaches(await send(SECOND, GB), "delivered")  # elsewhere it has no say
    assert await waits(pool.sdk, waiting[0])
    create = pool.sdk.client.messages.create
    await pool.sdk.refused(21611, 400, create, to=US, from_=FIRST, body="x")
    message = await pool.sdk.send("x", US, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 30001
    # A number runs at its campaign's rate, and not at the 1 of one without.
    assert await rate("75") == 75.0
    for sid in waiting:
        await pool.sdk.reaches(sid, "delivered")
    assert await rate("") is None


@pytest.mark.parametrize("value", ["0", "-1", "many", "100001", "nan"])
async def test_a_rate_that_is_none_is_refused(pool: Pool, value: str) -> None:
    path = f"/2010-04-01/Accounts/{pool.sdk.account_sid}.json"
    for name in ("MessagesPerSecond", "MmsPerSecond", "TollFreeMmsPerSecond"):
        status, body = await pool.sdk.operate("POST", path, data={name: value})
        assert (status, body["code"]) == (400, 20001)


async def test_a_subaccount_sets_no_rates(pool: Pool) -> None:
    child = await pool.sdk.call(pool.sdk.client.api.accounts.create)
    client = sdk_client(pool.sdk.base_url, child.sid, child.auth_token)
    its = Sdk(pool.sdk.base_url, client, "", ())
    path = f"/2010-04-01/Accounts/{child.sid}.json"
    status, body = await its.operate("POST", path, data={"MessagesPerSecond": "5"})
    assert (status, body["code"]) == (403, 20403)
    status, body = await pool.sdk.operate("POST", path, data={"MmsPerSecond": "5"})
    assert (status, body["code"]) == (400, 20001)

"""Accounts, tokens, keys, applications and limits, through the unmodified SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from testing import TO, GatewayUnderTest, Sdk, basic, sdk_client, until
from twilio.rest import Client

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


def with_key(sdk: Sdk, key: Any, account_sid: str = "") -> Client:
    client = sdk_client(sdk.base_url, key.sid, key.secret)
    client.account_sid = account_sid or sdk.account_sid
    return client


async def test_a_secondary_token_works_beside_the_primary_until_it_takes_its_place(
    sdk: Sdk,
) -> None:
    accounts = sdk.client.accounts.v1
    made = await sdk.call(accounts.secondary_auth_token().create)
    assert made.account_sid == sdk.account_sid
    assert len(made.secondary_auth_token) == 32
    second = sdk_client(sdk.base_url, sdk.account_sid, made.secondary_auth_token)
    assert await sdk.call(second.messages.list) == []
    assert await sdk.call(sdk.client.messages.list) == []
    await sdk.refused(20409, 409, accounts.secondary_auth_token().create)

    promoted = await sdk.call(accounts.auth_token_promotion().update)
    assert promoted.auth_token == made.secondary_auth_token
    await sdk.refused(20003, 401, sdk.client.messages.list)
    account = await sdk.call(second.api.accounts(sdk.account_sid).fetch)
    assert account.auth_token == made.secondary_auth_token
    await sdk.refused(20404, 404, second.accounts.v1.auth_token_promotion().update)
    await sdk.refused(20404, 404, second.accounts.v1.secondary_auth_token().delete)


async def test_a_deleted_secondary_token_works_no_more(sdk: Sdk) -> None:
    secondary = sdk.client.accounts.v1.secondary_auth_token()
    made = await sdk.call(secondary.create)
    assert await sdk.call(secondary.delete) is True
    second = sdk_client(sdk.base_url, sdk.account_sid, made.secondary_auth_token)
    await sdk.refused(20003, 401, second.messages.list)
    assert await sdk.call(sdk.client.messages.list) == []


async def test_an_api_key_sends_and_manages_nothing(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    key = await sdk.call(sdk.client.new_keys.create, friendly_name="Shop")
    assert key.sid.startswith("SK")
    assert len(key.secret) == 32
    client = with_key(sdk, key)
    message = await sdk.call(
        client.messages.create, to=TO, body="x", messaging_service_sid=sdk.service_sid
    )
    assert message.account_sid == sdk.account_sid
    assert len(await sdk.call(client.messaging.v1.services.list)) == 1

    for forbidden in (
        client.keys.list,
        client.new_keys.create,
        client.keys(key.sid).delete,
        client.api.accounts.list,
        client.api.accounts.create,
        client.api.accounts(sdk.account_sid).fetch,
        client.accounts.v1.secondary_auth_token().create,
        client.accounts.v1.auth_token_promotion().update,
    ):
        await sdk.refused(20403, 403, forbidden)
    status, body = await sdk.operate("GET", "/tandem/v1/Carriers", key.sid, key.secret)
    assert (status, body["code"]) == (403, 20403)

    connection = await asyncpg.connect(gateway.database_url)
    row = await connection.fetchrow("SELECT * FROM api_keys")
    await connection.close()
    assert key.secret.encode() not in b"".join(str(value).encode() for value in row.values())


async def test_a_main_key_manages_keys(sdk: Sdk) -> None:
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Keys.json"
    _, main = await sdk.operate("POST", path, data={"KeyType": "main"})
    client = sdk_client(sdk.base_url, main["sid"], main["secret"])
    client.account_sid = sdk.account_sid
    assert [key.sid for key in await sdk.call(client.keys.list)] == [main["sid"]]
    assert (await sdk.call(client.api.accounts(sdk.account_sid).fetch)).sid == sdk.account_sid
    status, body = await sdk.operate("POST", path, data={"KeyType": "odd"})
    assert (status, body["code"]) == (400, 20001)


async def test_keys_are_listed_renamed_and_deleted(sdk: Sdk) -> None:
    made = await sdk.call(sdk.client.new_keys.create, friendly_name="Old")
    keys = sdk.client.keys
    assert [(key.sid, key.friendly_name) for key in await sdk.call(keys.list)] == [
        (made.sid, "Old")
    ]
    assert (await sdk.call(keys(made.sid).update, friendly_name="New")).friendly_name == "New"
    assert (await sdk.call(keys(made.sid).fetch)).friendly_name == "New"
    client = with_key(sdk, made)
    await sdk.call(client.messages.list)
    assert await sdk.call(keys(made.sid).delete) is True
    await sdk.refused(20404, 404, keys(made.sid).fetch)
    await sdk.refused(20003, 401, client.messages.list)


async def test_a_key_is_refused_with_a_wrong_secret_or_for_another_account(sdk: Sdk) -> None:
    key = await sdk.call(sdk.client.new_keys.create)
    account = await sdk.call(sdk.client.api.accounts.create)
    await sdk.refused(20003, 401, with_key(sdk, key, account.sid).messages.list)
    key.secret = "x" * 32
    await sdk.refused(20003, 401, with_key(sdk, key).messages.list)
    key.sid = "SK" + "0" * 32
    await sdk.refused(20003, 401, with_key(sdk, key).messages.list)


async def test_the_status_of_accounts_follows_its_rules(sdk: Sdk) -> None:
    accounts = sdk.client.api.accounts
    account = await sdk.call(accounts.create)
    own = sdk_client(sdk.base_url, account.sid, account.auth_token)
    key = await sdk.call(own.new_keys.create)
    await sdk.refused(21475, 400, lambda: accounts(account.sid).update(status="odd"))
    await sdk.refused(21477, 400, lambda: accounts(sdk.account_sid).update(status="closed"))
    await sdk.refused(20403, 403, lambda: own.api.accounts(account.sid).update(status="closed"))

    for status in ("suspended", "closed"):
        changed = await sdk.call(lambda s=status: accounts(account.sid).update(status=s))
        assert changed.status == status
        for client in (own, with_key(sdk, key, account.sid)):
            await sdk.refused(20005, 403, client.messages.list)
            await sdk.refused(20005, 403, client.messages.create, to=TO, body="x", from_="Acme")
            await sdk.refused(20005, 403, client.messaging.v1.services.list)
    assert [a.sid for a in await sdk.call(accounts.list, status="closed")] == [account.sid]
    await sdk.refused(21479, 400, lambda: accounts(account.sid).update(status="active"))


async def test_an_account_has_so_many_subaccounts(start_gateway: Start, smsc: Smsc) -> None:
    sdk = await (await start_gateway(smsc.port, subaccount_limit=1)).sdk()
    accounts = sdk.client.api.accounts
    first = await sdk.call(accounts.create)
    await sdk.refused(21480, 400, accounts.create)
    await sdk.call(lambda: accounts(first.sid).update(status="closed"))
    assert (await sdk.call(accounts.create)).status == "active"


async def test_subaccounts_that_are_asked_for_at_once_are_no_more_than_allowed(
    start_gateway: Start, smsc: Smsc
) -> None:
    sdk = await (await start_gateway(smsc.port, subaccount_limit=3)).sdk()
    accounts, path = sdk.client.api.accounts, "/2010-04-01/Accounts.json"
    first, _ = [await sdk.call(accounts.create) for _ in range(2)]
    for _ in range(2):
        answers = await asyncio.gather(
            *(sdk.operate("POST", path, data={"FriendlyName": "x"}) for _ in range(8))
        )
        assert [status for status, _ in answers].count(201) == 1
        assert {body["code"] for status, body in answers if status != 201} == {21480}
        _, listed = await sdk.operate("GET", f"{path}?Status=active")
        assert len(listed["accounts"]) == 1 + 3
        await sdk.call(lambda: accounts(first.sid).update(status="closed"))  # makes room


async def test_of_closing_and_opening_at_once_the_closing_stays(sdk: Sdk) -> None:
    accounts = [await sdk.call(sdk.client.api.accounts.create) for _ in range(4)]
    both = [(account, status) for account in accounts for status in ("closed", "active")]
    answers = await asyncio.gather(
        *(
            sdk.operate("POST", f"/2010-04-01/Accounts/{account.sid}.json", data={"Status": status})
            for account, status in both
        )
    )
    for (_, wanted), (status, body) in zip(both, answers, strict=True):
        if status != 200:
            assert (wanted, status, body["code"]) == ("active", 400, 21479)
    _, listed = await sdk.operate("GET", "/2010-04-01/Accounts.json?Status=closed")
    assert {account["sid"] for account in listed["accounts"]} == {
        account.sid for account in accounts
    }


async def test_the_balance_is_what_the_operator_says(sdk: Sdk) -> None:
    fetched = await sdk.call(sdk.client.balance.fetch)
    assert (fetched.balance, fetched.currency) == ("0.00", "USD")
    path = f"/2010-04-01/Accounts/{sdk.account_sid}.json"
    assert (await sdk.operate("POST", path, data={"Balance": "12.5", "Currency": "EUR"}))[0] == 200
    fetched = await sdk.call(sdk.client.balance.fetch)
    assert (fetched.account_sid, fetched.balance) == (sdk.account_sid, "12.50")
    account = await sdk.call(sdk.client.api.accounts.create)
    shown = await sdk.call(sdk.client.api.accounts(account.sid).balance.fetch)
    assert (shown.account_sid, shown.balance, shown.currency) == (account.sid, "12.50", "EUR")
    for wrong in ({"Balance": "much"}, {"Currency": "euro"}):
        status, body = await sdk.operate("POST", path, data=wrong)
        assert (status, body["code"]) == (400, 20001)
    own = f"/2010-04-01/Accounts/{account.sid}.json"
    status, body = await sdk.operate(
        "POST", own, account.sid, account.auth_token, data={"Balance": "9"}
    )
    assert (status, body["code"]) == (403, 20403)


async def test_applications_keep_their_urls(sdk: Sdk) -> None:
    applications = sdk.client.applications
    made = await sdk.call(
        applications.create,
        friendly_name="Bot",
        sms_url="http://a.org/in",
        sms_method="GET",
        message_status_callback="http://a.org/status",
    )
    assert made.sid.startswith("AP")
    assert (made.sms_url, made.sms_method, made.sms_fallback_method) == (
        "http://a.org/in",
        "GET",
        "POST",
    )
    assert made.message_status_callback == "http://a.org/status"
    assert made.voice_url is None
    changed = await sdk.call(
        lambda: applications(made.sid).update(friendly_name="Bot 2", message_status_callback="")
    )
    assert (changed.friendly_name, changed.message_status_callback) == ("Bot 2", None)
    assert [a.sid for a in await sdk.call(applications.list, friendly_name="Bot 2")] == [made.sid]
    assert await sdk.call(applications.list, friendly_name="Other") == []
    await sdk.refused(21402, 400, applications.create, sms_url="nonsense")
    await sdk.refused(21403, 400, applications.create, sms_method="PUT")
    await sdk.refused(21406, 400, applications.create, sms_fallback_url="http://a.org/f")
    await sdk.refused(20404, 404, applications("AP" + "0" * 32).fetch)
    assert await sdk.call(applications(made.sid).delete) is True
    await sdk.refused(20404, 404, applications(made.sid).fetch)


# Limits ------------------------------------------------------------------------------------


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def send(http: aiohttp.ClientSession, sdk: Sdk, lane: str) -> tuple[int, Any, Any]:
    """One send; in the slow lane its body is chunked."""

    async def chunked() -> AsyncIterator[bytes]:
        yield body

    body = f"To=%2B{TO[1:]}&Body=x&MessagingServiceSid={sdk.service_sid}".encode()
    async with http.post(
        f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
        data=body if lane == "fast" else chunked(),
        headers={
            "Authorization": basic(sdk.account_sid, sdk.auth_token),
            "Content-Type": "application/x-www-form-urlencoded",
        },
    ) as response:
        return response.status, await response.json(), response.headers.copy()


@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_every_answer_says_how_many_requests_are_under_way(
    http: aiohttp.ClientSession, sdk: Sdk, lane: str
) -> None:
    for _ in range(2):
        status, _, headers = await send(http, sdk, lane)
        assert (status, headers["Twilio-Concurrent-Requests"]) == (201, "1")
        assert float(headers["Twilio-Request-Duration"]) >= 0


@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_an_account_has_so_many_requests_under_way(
    start_gateway: Start, smsc: Smsc, http: aiohttp.ClientSession, lane: str
) -> None:
    gateway = await start_gateway(smsc.port, limits={"concurrent": 2})
    sdk = await gateway.sdk()
    connection = await asyncpg.connect(gateway.database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE messages IN EXCLUSIVE MODE")  # commits wait
        held = [asyncio.create_task(send(http, sdk, lane)) for _ in range(2)]
        gate = gateway.inner.gate
        await until(lambda: gate.under_way(1) == 2)
        status, body, headers = await send(http, sdk, lane)
        assert (status, body["code"], headers["Retry-After"]) == (429, 20429, "1")
        await transaction.rollback()
        assert sorted(
            (status, headers["Twilio-Concurrent-Requests"])
            for status, _, headers in await asyncio.gather(*held)
        ) == [(201, "1"), (201, "2")]
        assert (await send(http, sdk, lane))[0] == 201
    finally:
        await connection.close()


@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_an_account_begins_so_many_requests_per_second(
    start_gateway: Start, smsc: Smsc, http: aiohttp.ClientSession, lane: str
) -> None:
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    limited = await start_gateway(smsc.port, limits={"requests_per_second": 0.001})
    there = Sdk(limited.base_url, sdk.client, sdk.service_sid)
    assert (await send(http, there, lane))[0] == 201
    status, body, headers = await send(http, there, lane)
    assert (status, body["code"], headers["Retry-After"]) == (429, 20429, "60")
    assert (await send(http, sdk, lane))[0] == 201

"""Test credentials: magic numbers, and nothing behind them (SDK;
docs/spec/twilio-api.md#test-credentials)."""

from __future__ import annotations

import asyncpg
import pytest
from testing import NUMBERS, TO, GatewayUnderTest, Sdk, sdk_client
from twilio.rest import Client

from smpp.smsc import Smsc

MAGIC = "+1500555"


@pytest.fixture
async def tester(sdk: Sdk) -> Client:
    status, made = await sdk.operate("POST", "/tandem/v1/TestCredentials")
    assert status == 201
    assert made["owner_account_sid"] == sdk.account_sid
    return sdk_client(sdk.base_url, made["account_sid"], made["auth_token"])


async def test_a_message_is_answered_and_neither_stored_nor_sent(
    sdk: Sdk, tester: Client, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    message = await sdk.call(tester.messages.create, to=TO, from_=f"{MAGIC}0006", body="x" * 200)
    assert (message.status, message.num_segments, message.to) == ("queued", "2", TO)
    assert message.account_sid == tester.username
    assert smsc.ledger.counters.submits == 0
    connection = await asyncpg.connect(gateway.database_url)
    assert await connection.fetchval("SELECT count(*) FROM messages") == 0
    await connection.close()


@pytest.mark.parametrize(
    ("sender", "to", "code"),
    [
        ("0001", TO, 21212),
        ("0007", TO, 21606),
        ("0005", TO, 21606),
        ("0008", TO, 21611),
        ("0006", f"{MAGIC}0001", 21211),
        ("0006", f"{MAGIC}0002", 21612),
        ("0006", f"{MAGIC}0003", 21408),
        ("0006", f"{MAGIC}0004", 21610),
        ("0006", f"{MAGIC}0009", 21614),
        ("0006", "nonsense", 21211),
    ],
)
async def test_magic_numbers_have_their_codes(
    sdk: Sdk, tester: Client, sender: str, to: str, code: int
) -> None:
    create = tester.messages.create
    await sdk.refused(code, 400, create, to=to, from_=f"{MAGIC}{sender}", body="x")


async def test_the_checks_of_a_real_message_are_made(sdk: Sdk, tester: Client) -> None:
    create, good = tester.messages.create, f"{MAGIC}0006"
    await sdk.refused(21603, 400, create, to=TO, body="x")
    await sdk.refused(21606, 400, create, to=TO, body="x", messaging_service_sid=sdk.service_sid)
    await sdk.refused(21606, 400, create, to=TO, body="x", from_=NUMBERS[0])
    await sdk.refused(21617, 400, create, to=TO, from_=good, body="x" * 1601)
    await sdk.refused(21619, 400, create, to=TO, from_=good)
    await sdk.refused(35111, 400, create, to=TO, from_=good, body="x", schedule_type="fixed")


async def test_numbers_answer_by_magic_too(sdk: Sdk, tester: Client) -> None:
    create = tester.incoming_phone_numbers.create
    made = await sdk.call(create, phone_number=f"{MAGIC}0006", friendly_name="Mine")
    assert (made.phone_number, made.friendly_name) == (f"{MAGIC}0006", "Mine")
    assert (await sdk.call(create, area_code="500")).phone_number == f"{MAGIC}0006"
    await sdk.refused(21422, 400, create, phone_number=f"{MAGIC}0000")
    await sdk.refused(21421, 400, create, phone_number=f"{MAGIC}0001")
    await sdk.refused(21452, 400, create, area_code="533")
    assert len(await sdk.call(sdk.client.incoming_phone_numbers.list)) == len(NUMBERS)


async def test_everything_else_is_forbidden(sdk: Sdk, tester: Client) -> None:
    for forbidden in (
        tester.messages.list,
        tester.incoming_phone_numbers.list,
        tester.messaging.v1.services.list,
        tester.keys.list,
        tester.api.accounts.list,
    ):
        await sdk.refused(20008, 403, forbidden)
    # They act for nobody else, and nobody else for them.
    stranger = Client(tester.username, tester.password, sdk.account_sid)
    stranger.api.base_url = f"{sdk.base_url}/api"
    await sdk.refused(20003, 401, stranger.messages.create, to=TO, body="x", from_=NUMBERS[0])
    wrong = sdk_client(sdk.base_url, tester.username, sdk.auth_token)
    await sdk.refused(20003, 401, wrong.messages.create, to=TO, body="x", from_=NUMBERS[0])


async def test_new_credentials_take_the_place_of_the_old(sdk: Sdk, tester: Client) -> None:
    status, made = await sdk.operate("GET", "/tandem/v1/TestCredentials")
    assert (status, made["account_sid"]) == (200, tester.username)
    await sdk.operate("POST", "/tandem/v1/TestCredentials")
    create = tester.messages.create
    await sdk.refused(20003, 401, create, to=TO, body="x", from_=f"{MAGIC}0006")


async def test_use_cases_are_listed(sdk: Sdk) -> None:
    services = sdk.client.messaging.v1
    listed = await sdk.call(services.usecases.fetch)
    assert {usecase["usecase"] for usecase in listed.usecases} >= {"marketing", "undeclared"}

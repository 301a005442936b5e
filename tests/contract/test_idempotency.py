"""`Idempotency-Key`: the same request twice is one message
(docs/spec/twilio-api.md#rate-limiting-and-response-headers)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from testing import NUMBERS, TO, GatewayProcess, GatewayUnderTest, Sdk, basic, free_port, until

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
KEY = "Idempotency-Key"


async def send(
    sdk: Sdk, key: str, header: str = KEY, base_url: str = "", **changes: str
) -> tuple[int, dict[str, Any], Any]:
    form = {"To": TO, "Body": "hello", "MessagingServiceSid": sdk.service_sid, **changes}
    credentials = {"Authorization": basic(sdk.account_sid, sdk.auth_token)}
    async with (
        aiohttp.ClientSession(headers=credentials) as session,
        session.post(
            f"{base_url or sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
            data=form,
            headers={header: key},
        ) as response,
    ):
        return response.status, await response.json(), response.headers.copy()


@pytest.mark.parametrize("header", [KEY, "I-Twilio-Idempotency-Token"])
async def test_a_repeat_gets_the_first_answer_and_sends_nothing(
    sdk: Sdk, smsc: Smsc, header: str
) -> None:
    status, first, headers = await send(sdk, "a", header)
    assert status == 201
    assert "Idempotent-Replayed" not in headers
    await sdk.reaches(first["sid"], "delivered")
    for _ in range(2):
        status, again, headers = await send(sdk, "a", header)
        assert (status, again) == (201, first)
        assert headers["Idempotent-Replayed"] == "true"
    assert smsc.ledger.counters.submits == 1
    assert (await send(sdk, "b", header))[1]["sid"] != first["sid"]


async def test_a_plain_from_and_a_scheduled_message_are_answered_alike(sdk: Sdk) -> None:
    plain = {"From": NUMBERS[0], "MessagingServiceSid": "", "Body": "x" * 200}
    assert (await send(sdk, "a", **plain))[1] == (await send(sdk, "a", **plain))[1]
    later = {"ScheduleType": "fixed", "SendAt": "2000-01-01T00:00:00Z"}
    status, body, _ = await send(sdk, "b", **later)
    assert (status, body["code"]) == (400, 35114)
    # What was refused left no key behind.
    assert (await send(sdk, "b"))[0] == 201


async def test_another_request_with_the_same_key_is_refused(sdk: Sdk, smsc: Smsc) -> None:
    _, first, _ = await send(sdk, "a")
    status, body, _ = await send(sdk, "a", Body="something else")
    assert (status, body["code"]) == (409, 20409)
    await sdk.reaches(first["sid"], "delivered")
    assert await sdk.call(sdk.client.messages(first["sid"]).delete) is True
    status, body, _ = await send(sdk, "a")
    assert (status, body["code"]) == (409, 20409)
    assert smsc.ledger.counters.submits == 1


async def test_keys_belong_to_accounts_and_have_a_length(sdk: Sdk) -> None:
    assert (await send(sdk, "k" * 255))[0] == 201
    for wrong in ("k" * 256, "a b", "é"):
        status, body, _ = await send(sdk, wrong)
        assert (status, body["code"]) == (400, 20001)


async def test_many_at_once_are_one_message(
    start_gateway: Start, gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc
) -> None:
    """In one process and in two: one is stored, and all get its answer."""
    other = await start_gateway(smsc.port)
    answers = await asyncio.gather(
        *(
            send(sdk, f"key {number % 5}".replace(" ", "-"), base_url=one.base_url)
            for number in range(30)
            for one in (gateway, other)
        ),
        *(send(sdk, f"other-{number}") for number in range(10)),
    )
    assert {status for status, _, _ in answers} == {201}
    assert len({body["sid"] for _, body, _ in answers}) == 15
    await until(lambda: smsc.ledger.counters.submits == 15)


async def test_a_key_is_forgotten_after_a_day(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    connection = await asyncpg.connect(gateway.database_url)
    _, first, _ = await send(sdk, "a")

    async def age(hours: float) -> None:
        await connection.execute(
            "UPDATE idempotency SET at = now() - $1 * interval '1 hour'", hours
        )

    await age(23.9)
    assert (await send(sdk, "a"))[1]["sid"] == first["sid"]
    await age(24.1)
    second = (await send(sdk, "a"))[1]["sid"]
    assert second != first["sid"]
    assert (await send(sdk, "a"))[1]["sid"] == second
    await connection.close()


async def test_a_repeat_after_a_kill_sends_nothing(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    _, first, _ = await send(sdk, "a")
    await until(lambda: smsc.ledger.counters.submits == 1)
    await sdk.reaches(first["sid"], "delivered")
    await process.kill()
    await process.start()
    status, again, headers = await send(sdk, "a")
    assert (status, again["sid"], headers["Idempotent-Replayed"]) == (201, first["sid"], "true")
    await sdk.reaches((await send(sdk, "b"))[1]["sid"], "delivered")
    assert smsc.ledger.counters.submits == 2
    assert await process.stop() == 0

"""Deactivated numbers: imported by the operator, fetched as a file (SDK)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import aiohttp
from testing import Sdk

IMPORT = "/tandem/v1/Deactivations"


async def read(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_days_numbers_are_a_file_behind_a_link(sdk: Sdk) -> None:
    today = datetime.now(UTC).date()
    for numbers in (["+12125550151"], ["+12125550150", "+12125550151"]):
        status, _ = await sdk.operate(
            "POST", IMPORT, json={"date": today.isoformat(), "numbers": numbers}
        )
        assert status == 201
    fetched = await sdk.call(sdk.client.messaging.v1.deactivations().fetch, today)
    status, text = await read(fetched.redirect_to)
    assert (status, text) == (200, "+12125550150\n+12125550151\n")

    # A link that was tampered with opens nothing.
    for wrong in (
        fetched.redirect_to.replace("Signature=", "Signature=0"),
        fetched.redirect_to.replace(today.isoformat(), "2020-01-01"),
        fetched.redirect_to.replace("Expires=", "Expires=9"),
        fetched.redirect_to.partition("?")[0],
    ):
        assert (await read(wrong))[0] == 404


async def test_days_that_are_not_there_have_their_codes(sdk: Sdk) -> None:
    today = datetime.now(UTC).date()
    fetch = sdk.client.messaging.v1.deactivations().fetch
    await sdk.refused(30113, 400, fetch, today - timedelta(days=31))
    await sdk.refused(30114, 400, fetch, today - timedelta(days=30))
    await sdk.refused(30114, 400, fetch, today + timedelta(days=1))
    await sdk.refused(30115, 400, fetch)
    await sdk.refused(30115, 400, fetch, "yesterday")


async def test_only_the_operator_imports(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create)
    good = {"date": "2026-11-24", "numbers": ["+12125550150"]}
    status, body = await sdk.operate("POST", IMPORT, account.sid, account.auth_token, json=good)
    assert (status, body["code"]) == (403, 20403)
    for changes, code in (
        ({"numbers": ["12"]}, 21421),
        ({"numbers": "all"}, 20001),
        ({"date": "today"}, 30115),
        ({"colour": "red"}, 20001),
    ):
        status, body = await sdk.operate("POST", IMPORT, json=good | changes)
        assert (status, body["code"]) == (400, code)

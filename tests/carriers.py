"""Carriers for tests: what a simulated one took, and sends with parameters of ours."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from testing import ACCOUNT_SID, AUTH_TOKEN, TO, GatewayUnderTest, Sdk, basic, sdk_client

from smpp.smsc import Smsc

StartSmsc = Callable[..., Awaitable[Smsc]]


def taken(smsc: Smsc, carrier_name: str = "") -> list[dict[str, Any]]:
    """What the carrier took, refused submits left out, in the order of arrival."""
    rows = (json.loads(line) for line in smsc.ledger.lines())
    return [
        row
        for row in rows
        if not row["outcome"].startswith("ESME_") and carrier_name in ("", row["carrier"])
    ]


async def post(sdk: Sdk, **form: str) -> tuple[int, dict[str, Any]]:
    """A send call with parameters that the SDK does not know."""
    url = f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    fields = {"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": "hello", **form}
    auth = {"Authorization": basic(sdk.account_sid, sdk.auth_token)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=fields, headers=auth) as response,
    ):
        return response.status, await response.json()


async def add_number(sdk: Sdk, number: str, carrier_name: str) -> str:
    """Buy a number that belongs to a carrier; its SID."""
    url = f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/IncomingPhoneNumbers.json"
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url,
            data={"PhoneNumber": number, "CarrierName": carrier_name},
            headers={"Authorization": basic(sdk.account_sid, sdk.auth_token)},
        ) as response,
    ):
        assert response.status == 201
        return str((await response.json())["sid"])


def sdk_of(gateway: GatewayUnderTest) -> Sdk:
    """The main account at a gateway where everything is provisioned already."""
    return Sdk(gateway.base_url, sdk_client(gateway.base_url, ACCOUNT_SID, AUTH_TOKEN), "")

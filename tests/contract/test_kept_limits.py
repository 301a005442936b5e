"""How much is kept for an account: each kind is there up to its limit, and refused above it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from conftest import Smsc, StartGateway
from testing import Sdk

TEMPLATE = {"language": "en", "types": {"twilio/text": {"body": "Hi"}}}
MOST = 3
COUNTRIES = ("GB", "FR", "DE", "IT", "ES", "AT")
ASKED = MOST + 3


def _name(number: int) -> dict[str, Any]:
    return {"FriendlyName": f"name {number}"}


def _registration(number: int) -> dict[str, Any]:
    return {"AlphaSender": f"Acme{'ABCDEFG'[number]}", "IsoCountryCode": "GB"}


# By setting: the path, and the form of one of them.
KINDS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "applications": ("/2010-04-01/Accounts/{account}/Applications.json", _name),
    "keys": ("/2010-04-01/Accounts/{account}/Keys.json", _name),
    "templates": ("/v1/Content", lambda n: {**TEMPLATE, "friendly_name": str(n)}),
    "opt_out_configurations": ("/v3/OptOuts", _name),
    "link_domains": ("/tandem/v1/LinkDomains", lambda n: {"DomainName": f"go{n}.example.com"}),
    "safe_numbers": ("/v1/SafeList/Numbers", lambda n: {"PhoneNumber": f"+44163296000{n}"}),
    "alphanumeric_senders": (
        "/v1/Services/{service}/DestinationAlphaSenders",
        lambda n: {"AlphaSender": "Acme", "IsoCountryCode": COUNTRIES[n]},
    ),
    "conversation_services": ("/v1/Services", _name),
    "sender_registrations": ("/tandem/v1/SenderRegistrations", _registration),
    "inventory_numbers": (
        "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json",
        lambda n: {"PhoneNumber": f"+1202555010{n}"},
    ),
}
ELSEWHERE = {  # products that the path alone does not tell
    "/v1/Content": "/content",
    "/v1/Services": "/conversations",
    "/v1/SafeList/Numbers": "/accounts",
    "/v1/Services/{service}/DestinationAlphaSenders": "/messaging",
    "/v3/OptOuts": "/messaging",
}


async def _add(sdk: Sdk, setting: str, number: int) -> tuple[int, Any]:
    path, form = KINDS[setting]
    where = ELSEWHERE.get(path, "") + path.format(account=sdk.account_sid, service=sdk.service_sid)
    content = form(number)
    if "types" in content:
        return await sdk.operate("POST", where, json=content)
    return await sdk.operate("POST", where, data=content)


async def _stock(sdk: Sdk) -> None:
    numbers = [{"phone_number": f"+1202555010{number}"} for number in range(ASKED)]
    status, body = await sdk.operate("POST", "/tandem/v1/Inventory", json={"numbers": numbers})
    assert status == 201, body


async def test_exactly_as_many_are_kept_as_each_setting_says(
    start_gateway: StartGateway, smsc: Smsc
) -> None:
    """Also of those that are asked for at once."""
    limits = dict.fromkeys(KINDS, MOST)
    sdk = await (await start_gateway(smsc.port, limits=limits)).sdk()
    await _stock(sdk)
    for setting in KINDS:
        answers = await asyncio.gather(*(_add(sdk, setting, n) for n in range(ASKED)))
        assert [status for status, _ in answers].count(201) == MOST, (setting, answers)
        for status, body in answers:
            if status != 201:
                assert (status, body["code"]) == (403, 20403), (setting, body)
                assert f"[limits] {setting} = {MOST}" in body["message"]


async def test_what_is_deleted_makes_room(start_gateway: StartGateway, smsc: Smsc) -> None:
    sdk = await (await start_gateway(smsc.port, limits={"services": 2})).sdk()
    services = sdk.client.messaging.v1.services
    second = await sdk.call(services.create, "the first is the fixture's")
    await sdk.refused(20403, 403, services.create, "one too many")
    assert await sdk.call(services(second.sid).delete)
    assert (await sdk.call(services.create, "another")).sid


async def test_another_account_has_room_of_its_own(start_gateway: StartGateway, smsc: Smsc) -> None:
    sdk = await (await start_gateway(smsc.port, limits={"applications": 1})).sdk()
    await sdk.call(sdk.client.applications.create, friendly_name="first")
    await sdk.refused(20403, 403, sdk.client.applications.create, friendly_name="second")
    other = await sdk.call(sdk.client.api.accounts.create)
    applications = sdk.client.api.accounts(other.sid).applications
    assert (await sdk.call(applications.create, friendly_name="its first")).sid


async def test_templates_have_so_many_octets_together(
    start_gateway: StartGateway, smsc: Smsc
) -> None:
    sdk = await (await start_gateway(smsc.port, limits={"template_octets": 10_000})).sdk()

    async def add(size: int) -> int:
        content = {"language": "en", "types": {"twilio/text": {"body": "x" * size}}}
        status, body = await sdk.operate("POST", "/content/v1/Content", json=content)
        if status != 201:
            assert (status, body["code"]) == (403, 20403)
            assert "template_octets" in body["message"]
        return status

    assert [await add(size) for size in (1_500,) * 6] == [201] * 6
    assert await add(1_500) == 403
    assert await add(10) == 201


async def test_configurations_of_deleted_services_count(
    start_gateway: StartGateway, smsc: Smsc
) -> None:
    """Or there would be one more with every service that comes and goes."""
    limits = {"opt_out_configurations": 2}
    sdk = await (await start_gateway(smsc.port, limits=limits)).sdk()
    services = sdk.client.messaging.v1.services

    async def come_and_go() -> int:
        service = await sdk.call(services.create, "short-lived")
        form = {"FriendlyName": "x", "MessagingServiceSid": service.sid}
        status, _ = await sdk.operate("POST", "/messaging/v3/OptOuts", data=form)
        await sdk.call(services(service.sid).delete)
        return status

    assert [await come_and_go() for _ in range(4)] == [201, 201, 403, 403]


async def test_a_configuration_has_so_many_octets(start_gateway: StartGateway, smsc: Smsc) -> None:
    """Of keywords and replies together, as they are kept."""
    names = {"keyword_type": "STOP.SPANISH", "message_type": "MX"}
    keywords = [names | {"keywords": ["ALTO"]}]
    messages = [names | {"message": "é" * 100}]
    kept = sum(len(json.dumps(rows, ensure_ascii=False).encode()) for rows in (keywords, messages))
    gateway = await start_gateway(smsc.port, limits={"opt_out_octets": kept})
    sdk = await gateway.sdk()
    _, made = await sdk.operate("POST", "/messaging/v3/OptOuts", data={"FriendlyName": "x"})
    path = f"/messaging/v3/OptOuts/{made['opt_out_sid']}"

    async def put(kind: str, content: Any) -> int:
        status, body = await sdk.operate("PUT", f"{path}/{kind}", json=content)
        if status != 200:
            assert (status, body["code"]) == (403, 20403)
            assert f"[limits] opt_out_octets = {kept}" in body["message"]
        return status

    assert await put("Keywords", {"keywords": keywords}) == 200
    assert await put("Messages", {"messages": messages}) == 200  # exactly as many
    assert await put("Messages", {"messages": [names | {"message": "é" * 100 + "x"}]}) == 403
    assert await put("Keywords", {"keywords": [names | {"keywords": ["ALTOS"]}]}) == 403
    form = {"MessageType": "CA", "Languages": "FRENCH"}
    status, _ = await sdk.operate("POST", f"{path}/MessageTypes", data=form)
    assert status == 403
    assert (await sdk.operate("GET", f"{path}/Messages"))[1]["messages"] == messages
    # What was there when the limit was lowered stays, and may be made less.
    await gateway.stop()
    kept = 20
    sdk.base_url = (await start_gateway(smsc.port, limits={"opt_out_octets": kept})).base_url
    assert await put("Messages", {"messages": messages}) == 200
    assert await put("Messages", {"messages": [names | {"message": "é" * 99}]}) == 200
    assert await put("Messages", {"messages": messages}) == 403

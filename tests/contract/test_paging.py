"""Lists through the SDK, page by page and back; and that every link that is given out answers."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from aiohttp import web
from hooks import Hooks
from starlette.routing import compile_path
from testing import CAMPAIGN, NUMBERS, TO, WAIT_S, GatewayUnderTest, Sdk, basic
from yarl import URL

from gateway.api.routes import RESOURCES

SIZE = 3
US = "+13125550199"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def walked(sdk: Sdk, resource: Any, **filters: Any) -> tuple[list[list[str]], Any]:
    """The SIDs on each page of a list, and the last page."""
    page = await sdk.call(resource.page, page_size=SIZE, **filters)
    pages = []
    while True:
        pages.append([item.sid for item in page])
        if not page.next_page_url:
            return pages, page
        page = await sdk.call(page.next_page)


async def test_a_list_is_walked_onwards_and_back(sdk: Sdk) -> None:
    client = sdk.client
    conversations = client.conversations.v1.conversations
    for number in range(8):
        await sdk.send(f"message {number}", to=f"+44163296067{number}")
        await sdk.call(client.messaging.v1.services.create, f"Service {number}")
        await sdk.call(client.new_keys.create, friendly_name=f"Key {number}")
        await sdk.call(conversations.create, friendly_name=f"Conversation {number}")
    for resource in (
        client.messages,
        client.messaging.v1.services,
        client.keys,
        conversations,
    ):
        pages, page = await walked(sdk, resource)
        assert len(pages) >= 3
        sids = [sid for found in pages for sid in found]
        assert len(sids) == len(set(sids)) >= 8
        back = [pages[-1]]
        while page.previous_page_url:
            page = await sdk.call(page.previous_page)
            back.append([item.sid for item in page])
        assert back[::-1] == pages


async def test_a_page_by_its_number_alone_is_refused(sdk: Sdk) -> None:
    """A loop over page numbers would see the first page for ever."""
    for resource in (sdk.client.messages, sdk.client.messaging.v1.services):
        await sdk.refused(20001, 400, resource.page, page_number=1, page_size=3)
        await sdk.call(resource.page, page_number=0, page_size=3)


LINKS = ("uri", "url")


def links_of(body: Any) -> list[str]:
    """Every address in a resource: `uri`, `url`, `…_uri`, `…_url`, and what `links` hold."""
    found: list[str] = []
    if isinstance(body, list):
        for item in body:
            found += links_of(item)
    elif isinstance(body, dict):
        for name, value in body.items():
            if isinstance(value, dict | list):
                inside = name in ("links", "subresource_uris") and isinstance(value, dict)
                found += [link for link in value.values() if link] if inside else links_of(value)
            elif isinstance(value, str) and (name in LINKS or name.endswith(("_uri", "_url"))):
                found.append(value)
    return found


async def populated(
    gateway: GatewayUnderTest, sdk: Sdk, hooks: Hooks
) -> tuple[dict[str, str], list[str]]:
    """One of everything: values for the places in paths, queries of those that need one, and the
    addresses of what no link leads to.
    """
    client, v1 = sdk.client, sdk.client.messaging.v1

    async def made(path: str, status: int = 201, /, **request: Any) -> Any:
        found, body = await sdk.operate("POST", path, **request)
        assert found == status, body
        return body

    account = f"/2010-04-01/Accounts/{sdk.account_sid}"

    async def picture(request: web.Request) -> web.Response:
        return web.Response(body=PNG, content_type="image/png")

    hooks.answers["/a.png"] = picture
    rich = {"PhoneNumber": "+12025550111", "MmsEnabled": "true"}
    await made(f"{account}/IncomingPhoneNumbers.json", data=rich)
    sent = await sdk.send("look", to=US, from_=rich["PhoneNumber"], media_url=[hooks.url("/a.png")])
    for number in range(3):
        await sdk.send(f"message {number}", to=f"+44163296067{number}", provide_feedback=True)
    key = await sdk.call(client.new_keys.create)
    await sdk.call(client.applications.create, friendly_name="App")
    service = v1.services(sdk.service_sid)
    short_code = await sdk.add_short_code("60070", "GB")
    await sdk.call(service.short_codes.create, short_code)
    await sdk.call(service.alpha_senders.create, "Acme")
    path = f"/messaging/v1/Services/{sdk.service_sid}"
    form = {"AlphaSender": "Acme", "IsoCountryCode": "FR"}
    await made(f"{path}/DestinationAlphaSenders", data=form)
    registration = await made("/tandem/v1/SenderRegistrations", data=form)
    channel = await made("/tandem/v1/ChannelSenders", json={"sender": "whatsapp:+447700900999"})
    await made(f"{path}/ChannelSenders", data={"Sid": channel["sid"]})
    await sdk.call(service.us_app_to_person.create, **CAMPAIGN)
    domain = (await made("/tandem/v1/LinkDomains", data={"DomainName": "go.example"}))["sid"]
    await sdk.call(v1.linkshortening_messaging_service(domain, sdk.service_sid).create)
    form = {"FriendlyName": "Ours", "MessagingServiceSid": sdk.service_sid}
    await made("/messaging/v3/OptOuts", data=form)
    await made("/tandem/v1/TestCredentials")
    numbers = [{"phone_number": number} for number in ("+12025550112", "+18005550112")]
    numbers.append({"phone_number": "+447400123456"})
    await made("/tandem/v1/Inventory", json={"numbers": numbers})
    today = datetime.now(UTC).date().isoformat()
    given = {"date": today, "numbers": ["+12025550112"]}
    await made("/tandem/v1/Deactivations", json=given)
    await made("/accounts/v1/SafeList/Numbers", data={"PhoneNumber": TO})
    template = {"language": "en", "types": {"twilio/text": {"body": "Hi"}}}
    await made("/content/v1/Content", json=template)
    bulk = {"from": {"address": NUMBERS[0]}, "to": [{"address": TO}], "content": {"text": "x"}}
    operation = await made("/comms/v1/Messages", 202, json=bulk)
    chats = client.conversations.v1
    chat = chats.conversations((await sdk.call(chats.conversations.create)).sid)
    await sdk.call(
        chat.participants.create,
        messaging_binding_address=TO,
        messaging_binding_proxy_address=NUMBERS[0],
    )
    await sdk.call(chat.messages.create, body="hello")
    webhook = {"target": "webhook", "configuration_url": hooks.url("/in")}
    await sdk.call(chat.webhooks.create, **webhook, configuration_filters=["onMessageAdded"])
    await sdk.call(chats.address_configurations.create, type="sms", address=NUMBERS[1])
    form = {"To": TO, "MessagingServiceSid": sdk.service_sid}
    await made("/tandem/v1/OptOuts/Recipients", data=form)
    await sdk.reaches(sent.sid, "delivered")
    gateway.pipeline.runtime.alerts.alert(12100, "of the account", account_id=1)
    listed: dict[str, Any] = {}
    async with asyncio.timeout(WAIT_S):
        for path, name in (("/comms/v1/Messages", "messages"), ("/monitor/v1/Alerts", "alerts")):
            while not listed.get(name):
                _, listed[name] = await sdk.operate("GET", path)
                listed[name] = listed[name][name]
    message = f"/comms/v1/Messages/{listed['messages'][0]['id']}"
    values = {
        "target": sdk.account_sid,
        "account": sdk.account_sid,
        "service": sdk.service_sid,
        "domain": domain,
        "carrier": "simulator",
        "table": "prices",
        "country": "US",
        "operation": operation["operationId"],
        "recipient": quote(TO),
        "/messaging/v1/Deactivations": f"?Date={today}",
        "/accounts/v1/SafeList/Numbers": f"?PhoneNumber={quote(TO)}",
        "/conversations/v1/ParticipantConversations": f"?Address={quote(TO)}",
    }
    return values, [
        f"/api{account}/Messages/{sent.sid}/Explain.json",
        f"/api{account}/Keys/{key.sid}.json",
        f"/tandem/v1/SenderRegistrations/{registration['sid']}",
        message,
        f"{message}/Receipts",
    ]


async def test_every_link_that_is_given_out_answers(
    gateway: GatewayUnderTest, sdk: Sdk, hooks: Hooks
) -> None:
    """From every resource that can be named, to all that they lead to: no resource is left."""
    values, waiting = await populated(gateway, sdk, hooks)
    routes = {resource.path for resource in RESOURCES if resource.get is not None}
    for route in routes:
        path = re.sub(r"{(\w+)}", lambda place: values.get(place[1], place[0]), route)
        if "{" not in path:
            waiting.append(path + values.get(route, ""))
    seen: set[str] = set()
    dead: list[tuple[str, str, int]] = []
    came_from: dict[str, str] = {}
    credentials = {"Authorization": basic(sdk.account_sid, sdk.auth_token)}
    async with aiohttp.ClientSession(sdk.base_url, headers=credentials) as http:
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            async with http.get(URL(path, encoded=True), allow_redirects=False) as response:
                status, body = response.status, None
                if response.content_type == "application/json":
                    body = await response.json()
            if status not in (200, 307):
                dead.append((path, came_from.get(path, "the start"), status))
                continue
            for link in links_of(body):
                parts = urlsplit(link)
                if parts.netloc and not link.startswith(sdk.base_url):
                    continue  # an app's own URL
                target = link.removeprefix(sdk.base_url)
                if not parts.netloc:  # of the 2010 API: relative to its host
                    target = "/api" + target
                if target not in seen:
                    came_from[target] = path
                    waiting.append(target)
    assert not dead, "\n".join(map(str, dead))
    paths = [path.partition("?")[0] for path in seen]
    left = [route for route in routes if not any(map(compile_path(route)[0].fullmatch, paths))]
    assert not left


@pytest.mark.parametrize(
    "path", ["/messaging/v1/a2p/BrandRegistrations", "/messaging/v1/Tollfree/Verifications"]
)
async def test_registrations_that_are_not_kept_here_are_empty_lists(sdk: Sdk, path: str) -> None:
    status, body = await sdk.operate("GET", path)
    assert status == 200
    assert body[body["meta"]["key"]] == []

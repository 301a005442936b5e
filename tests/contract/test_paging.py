"""Lists through the SDK, page by page and back; and that every link that is given out answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from testing import NUMBERS, TO, Sdk

SIZE = 3


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
                found += [str(link) for link in value.values()] if inside else links_of(value)
            elif isinstance(value, str) and (name in LINKS or name.endswith(("_uri", "_url"))):
                found.append(value)
    return found


async def test_every_link_that_is_given_out_answers(sdk: Sdk) -> None:
    client = sdk.client
    for number in range(3):
        await sdk.send(f"message {number}", to=f"+44163296067{number}")
    await sdk.call(client.messaging.v1.services.create, "Another")
    conversation = await sdk.call(client.conversations.v1.conversations.create)
    participant = client.conversations.v1.conversations(conversation.sid).participants.create
    await sdk.call(
        participant,
        messaging_binding_address=TO,
        messaging_binding_proxy_address=NUMBERS[0],
    )
    account = f"/2010-04-01/Accounts/{sdk.account_sid}"
    waiting = [
        f"/api{account}.json",
        f"/api{account}/Messages.json?PageSize=1",
        f"/api{account}/IncomingPhoneNumbers.json?PageSize=1",
        f"/api{account}/AvailablePhoneNumbers.json",
        "/api/2010-04-01/Accounts.json",
        "/messaging/v1/Services?PageSize=1",
        "/conversations/v1/Conversations?PageSize=1",
        "/conversations/v1/Services",
        "/monitor/v1/Alerts?PageSize=1",
        "/content/v1/Content",
        "/messaging/v1/a2p/BrandRegistrations",
        "/messaging/v1/Tollfree/Verifications",
    ]
    seen: set[str] = set()
    dead: list[tuple[str, str, int]] = []
    came_from: dict[str, str] = {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        status, body = await sdk.operate("GET", path)
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
    assert len(seen) > 40


@pytest.mark.parametrize(
    "path", ["/messaging/v1/a2p/BrandRegistrations", "/messaging/v1/Tollfree/Verifications"]
)
async def test_registrations_that_are_not_kept_here_are_empty_lists(sdk: Sdk, path: str) -> None:
    status, body = await sdk.operate("GET", path)
    assert status == 200
    assert body[body["meta"]["key"]] == []

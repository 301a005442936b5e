"""A text that is erased in whatever order its message, its conversation and their parts go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hooks import HANDSET, Hooks, write
from test_erasure import MARKER, in_tables
from testing import NUMBERS, WAIT_S, GatewayUnderTest, Sdk, until

from smpp.smsc import Smsc


class Held:
    """An app that answers 404 to what it is told, once it is let to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.Response:
        await self.go.wait()
        return web.Response(status=404, text="no")


class Chat:
    """A conversation of the account's second number with the handset."""

    def __init__(self, sdk: Sdk, sid: str) -> None:
        self.sdk = sdk
        self._conversation = sdk.client.conversations.v1.conversations(sid)

    @classmethod
    async def made(cls, sdk: Sdk, **settings: Any) -> Chat:
        conversations = sdk.client.conversations.v1
        await sdk.call(conversations.configuration.webhooks().update, method="POST", **settings)
        made = await sdk.call(conversations.conversations.create)
        chat = cls(sdk, made.sid)
        await sdk.call(
            chat._conversation.participants.create,
            messaging_binding_address=HANDSET,
            messaging_binding_proxy_address=NUMBERS[1],
        )
        return chat

    async def messages(self) -> list[Any]:
        return await self.sdk.call(self._conversation.messages.list)

    async def message_is_deleted(self) -> None:
        [message] = await self.messages()
        await self.sdk.call(message.delete, x_twilio_webhook_enabled="true")

    async def message_is_changed_and_deleted(self) -> None:
        [message] = await self.messages()
        await self.sdk.call(message.update, attributes="{}", x_twilio_webhook_enabled="true")
        await self.message_is_deleted()

    async def conversation_is_deleted(self) -> None:
        await self.sdk.call(self._conversation.delete)

    async def participant_is_deleted(self) -> None:
        for participant in await self.sdk.call(self._conversation.participants.list):
            await self.sdk.call(participant.delete)


async def sent_or_received(sdk: Sdk) -> Any:
    async with asyncio.timeout(WAIT_S):
        while not (found := await sdk.call(sdk.client.messages.list)):
            await asyncio.sleep(0.02)
    return found[0]


FILTERS = ["onMessageAdded", "onMessageUpdated", "onMessageRemoved", "onConversationRemoved"]


ORDERS = [
    (before, erase)
    for before in (
        Chat.message_is_deleted,
        Chat.message_is_changed_and_deleted,
        Chat.conversation_is_deleted,
        Chat.participant_is_deleted,
    )
    for erase in ("redacted", "deleted", "left")
    if (before, erase) != (Chat.participant_is_deleted, "left")  # by that nothing is erased
]


@pytest.mark.parametrize(
    ("before", "erase"), ORDERS, ids=[f"{before.__name__}-{erase}" for before, erase in ORDERS]
)
async def test_what_is_told_of_an_erased_message_has_no_text(
    gateway: GatewayUnderTest,
    sdk: Sdk,
    smsc: Smsc,
    hooks: Hooks,
    before: Callable[[Chat], Awaitable[None]],
    erase: str,
) -> None:
    held = hooks.answers["/event"] = Held()
    chat = await Chat.made(sdk, post_webhook_url=hooks.url("/event"), filters=FILTERS)
    await write(smsc, MARKER, NUMBERS[1])
    await hooks.has("/event")
    await before(chat)
    message = await sent_or_received(sdk)
    if erase == "redacted":
        await sdk.call(message.update, body="")
    elif erase == "deleted":
        await sdk.call(message.delete)
    if erase != "left":
        assert await in_tables(gateway.database_url) == []
    held.go.set()
    [first, second] = (await hooks.has("/event", 2))[:2]
    assert (first.form["EventType"], first.form["Body"]) == ("onMessageAdded", MARKER)
    assert (second.form["EventType"], second.form["Body"]) == ("onMessageAdded", "")
    if erase != "left":
        assert await in_tables(gateway.database_url) == []


async def test_a_chat_service_that_is_deleted_takes_the_texts_of_its_conversations_along(
    gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    held = hooks.answers["/event"] = Held()
    conversations = sdk.client.conversations.v1
    await sdk.call(
        conversations.configuration.webhooks().update,
        method="POST",
        post_webhook_url=hooks.url("/event"),
        filters=FILTERS,
    )
    service = await sdk.call(conversations.services.create, friendly_name="Other")
    await sdk.call(
        conversations.address_configurations.create,
        type="sms",
        address=NUMBERS[1],
        auto_creation_enabled=True,
        auto_creation_type="default",
        auto_creation_conversation_service_sid=service.sid,
    )
    await write(smsc, MARKER, NUMBERS[1])
    await hooks.has("/event")
    await sdk.call(service.delete)
    message = await sent_or_received(sdk)
    await sdk.call(message.update, body="")
    assert await in_tables(gateway.database_url) == []
    held.go.set()
    assert (await hooks.has("/event", 2))[1].form["Body"] == ""


async def test_a_message_that_is_erased_while_an_app_is_asked_comes_into_no_conversation(
    gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    held = Held()

    async def answer(request: web.Request) -> web.Response:
        await held.go.wait()
        return web.Response()

    hooks.answers["/asked"] = answer
    chat = await Chat.made(
        sdk,
        pre_webhook_url=hooks.url("/asked"),
        post_webhook_url=hooks.url("/event"),
        filters=[*FILTERS, "onMessageAdd"],
    )
    await write(smsc, MARKER, NUMBERS[1])
    await hooks.has("/asked")
    await sdk.call((await sent_or_received(sdk)).update, body="")
    held.go.set()
    handlers = gateway.inner.handlers
    assert handlers is not None
    await until(lambda: handlers.handled == 1)
    assert await chat.messages() == []
    assert await in_tables(gateway.database_url) == []
    assert (len(hooks.at("/asked")), len(hooks.at("/event"))) == (1, 0)

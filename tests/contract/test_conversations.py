"""Conversations v1 by the unmodified SDK: every resource of
docs/spec/twilio-api.md#conversations-v1."""

from __future__ import annotations

from typing import Any

import pytest
from hooks import HANDSET
from testing import NUMBERS, Sdk

OTHER = "+447700900501"


@pytest.fixture
def v1(sdk: Sdk) -> Any:
    return sdk.client.conversations.v1


async def made(sdk: Sdk, v1: Any, **fields: Any) -> Any:
    """A conversation, as a context of the SDK."""
    one = await sdk.call(v1.conversations.create, **fields)
    return v1.conversations(one.sid)


async def joined(sdk: Sdk, chat: Any, address: str = HANDSET, proxy: str = NUMBERS[0]) -> Any:
    return await sdk.call(
        chat.participants.create,
        messaging_binding_address=address,
        messaging_binding_proxy_address=proxy,
    )


async def test_an_account_has_defaults(sdk: Sdk, v1: Any) -> None:
    first = await sdk.call(v1.configuration().fetch)
    assert first.account_sid == sdk.account_sid
    assert first.default_chat_service_sid.startswith("IS")
    assert first.default_inactive_timer is None
    service = await sdk.call(v1.services.create, friendly_name="Second")
    changed = await sdk.call(
        v1.configuration().update,
        default_chat_service_sid=service.sid,
        default_messaging_service_sid=sdk.service_sid,
        default_inactive_timer="PT1M",
        default_closed_timer="PT10M",
    )
    assert changed.default_chat_service_sid == service.sid
    one = await sdk.call(v1.conversations.create)
    assert (one.chat_service_sid, one.messaging_service_sid) == (service.sid, sdk.service_sid)
    assert set(one.timers) == {"date_inactive", "date_closed"}
    update = v1.configuration().update
    await sdk.refused(50375, 400, update, default_inactive_timer="PT59S")
    await sdk.refused(50376, 400, update, default_closed_timer="PT9M59S")
    await sdk.refused(50376, 400, update, default_closed_timer="soon")
    await sdk.refused(20404, 404, update, default_chat_service_sid="IS" + "0" * 32)
    await sdk.refused(50373, 404, update, default_messaging_service_sid="MG" + "0" * 32)


async def test_global_webhooks_have_filters(sdk: Sdk, v1: Any) -> None:
    first = await sdk.call(v1.configuration.webhooks().fetch)
    assert (first.method, first.filters, first.post_webhook_url) == ("POST", [], None)
    changed = await sdk.call(
        v1.configuration.webhooks().update,
        method="get",
        filters=["onMessageAdded", "onConversationAdd"],
        pre_webhook_url="https://app.example/pre",
        post_webhook_url="https://app.example/post",
    )
    assert (changed.method, changed.target) == ("GET", "webhook")
    assert changed.filters == ["onMessageAdded", "onConversationAdd"]
    update = v1.configuration.webhooks().update
    await sdk.refused(20001, 400, update, filters=["onNothing"])
    await sdk.refused(20001, 400, update, target="flex")
    await sdk.refused(21402, 400, update, post_webhook_url="nowhere")


async def test_chat_services_have_their_life(sdk: Sdk, v1: Any) -> None:
    one = await sdk.call(v1.services.create, friendly_name="Ours")
    assert (await sdk.call(v1.services(one.sid).fetch)).friendly_name == "Ours"
    default = (await sdk.call(v1.configuration().fetch)).default_chat_service_sid
    assert [s.sid for s in await sdk.call(v1.services.list)] == [default, one.sid]
    assert await sdk.call(v1.services(one.sid).delete)
    await sdk.refused(20404, 404, v1.services(one.sid).fetch)
    await sdk.refused(20409, 409, v1.services(default).delete)
    await sdk.refused(20001, 400, v1.services.create, friendly_name="")


async def test_addresses_have_their_life(sdk: Sdk, v1: Any) -> None:
    create = v1.address_configurations.create
    one = await sdk.call(
        create,
        type="sms",
        address=NUMBERS[0],
        friendly_name="Front door",
        auto_creation_enabled=True,
        auto_creation_type="webhook",
        auto_creation_webhook_url="https://app.example/chat",
        auto_creation_webhook_method="POST",
        auto_creation_webhook_filters=["onMessageAdded"],
    )
    assert one.sid.startswith("IG")
    assert (one.type, one.address, one.address_country) == ("sms", NUMBERS[0], "GB")
    assert one.auto_creation["webhook_filters"] == ["onMessageAdded"]
    assert one.auto_creation["enabled"] is True
    changed = await sdk.call(
        v1.address_configurations(one.sid).update,
        friendly_name="Back door",
        auto_creation_enabled=False,
    )
    assert (changed.friendly_name, changed.auto_creation["enabled"]) == ("Back door", False)
    assert [a.sid for a in await sdk.call(v1.address_configurations.list, type="sms")] == [one.sid]
    assert await sdk.call(v1.address_configurations.list, type="whatsapp") == []
    await sdk.refused(20409, 409, create, type="sms", address=NUMBERS[0])
    await sdk.refused(50413, 400, create, type="sms", address=HANDSET)
    await sdk.refused(50407, 400, create, type="sms", address="nonsense")
    await sdk.refused(20001, 400, create, type="whatsapp", address=NUMBERS[1])
    await sdk.refused(
        20001, 400, create, type="sms", address=NUMBERS[1], auto_creation_type="webhook"
    )
    await sdk.refused(
        20001, 400, create, type="sms", address=NUMBERS[1], auto_creation_type="studio"
    )
    assert await sdk.call(v1.address_configurations(one.sid).delete)
    await sdk.refused(20404, 404, v1.address_configurations(one.sid).fetch)


async def test_a_conversation_has_its_life(sdk: Sdk, v1: Any) -> None:
    one = await sdk.call(
        v1.conversations.create,
        friendly_name="Order 7",
        unique_name="order-7",
        attributes='{"order": 7}',
        messaging_service_sid=sdk.service_sid,
        timers_inactive="PT1M",
        timers_closed="PT10M",
    )
    assert one.sid.startswith("CH")
    assert (one.state, one.attributes) == ("active", '{"order": 7}')
    assert one.timers["date_closed"] > one.timers["date_inactive"]
    assert (await sdk.call(v1.conversations("order-7").fetch)).sid == one.sid
    changed = await sdk.call(
        v1.conversations(one.sid).update, friendly_name="Order 8", state="inactive"
    )
    assert (changed.friendly_name, changed.state) == ("Order 8", "inactive")
    assert set(changed.timers) == {"date_closed"}
    update = v1.conversations(one.sid).update
    await sdk.refused(50378, 400, update, state="initializing")
    await sdk.refused(50375, 400, update, timers_inactive="PT1S")
    await sdk.refused(20001, 400, update, attributes="{")
    await sdk.refused(50353, 409, v1.conversations.create, unique_name="order-7")
    await sdk.refused(20001, 400, v1.conversations.create, friendly_name="x" * 257)
    await made(sdk, v1, friendly_name="x" * 256)
    closed = await sdk.call(update, state="closed")
    assert (closed.state, closed.timers) == ("closed", {})
    await sdk.refused(50377, 400, update, state="active")
    assert await sdk.call(v1.conversations(one.sid).delete)
    await sdk.refused(50350, 404, v1.conversations(one.sid).fetch)


async def test_conversations_are_listed_newest_first_with_filters(sdk: Sdk, v1: Any) -> None:
    sids = [(await sdk.call(v1.conversations.create)).sid for _ in range(5)]
    await sdk.call(v1.conversations(sids[0]).update, state="closed")

    async def listed(**filters: Any) -> list[str]:
        return [one.sid for one in await sdk.call(v1.conversations.list, **filters)]

    assert await listed(page_size=2) == sids[::-1]
    assert await listed(state="closed") == sids[:1]
    assert await listed(start_date="2020-01-01") == sids[::-1]
    assert await listed(end_date="2020-01-01T00:00:00Z") == []
    await sdk.refused(20001, 400, v1.conversations.list, start_date="soon")


async def test_participants_have_addresses_or_identities(sdk: Sdk, v1: Any) -> None:
    chat = await made(sdk, v1)
    phone = await joined(sdk, chat)
    assert phone.messaging_binding == {
        "type": "sms",
        "address": HANDSET,
        "proxy_address": NUMBERS[0],
    }
    agent = await sdk.call(chat.participants.create, identity="agent", attributes='{"a":1}')
    assert (agent.identity, agent.messaging_binding) == ("agent", None)
    listed = await sdk.call(chat.participants.list, page_size=1)
    assert [one.sid for one in listed] == [phone.sid, agent.sid]
    assert (await sdk.call(chat.participants("agent").fetch)).sid == agent.sid
    changed = await sdk.call(
        chat.participants(agent.sid).update,
        attributes='{"a":2}',
        last_read_message_index=3,
        last_read_timestamp="2026-11-24T10:00:00Z",
    )
    assert (changed.attributes, changed.last_read_message_index) == ('{"a":2}', 3)
    assert await sdk.call(chat.participants(agent.sid).delete)
    await sdk.refused(50432, 404, chat.participants(agent.sid).fetch)
    places = await sdk.call(v1.participant_conversations.list, address=HANDSET)
    assert [(place.participant_sid, place.conversation_state) for place in places] == [
        (phone.sid, "active")
    ]
    await sdk.refused(20001, 400, v1.participant_conversations.list)


async def test_a_pair_is_in_one_open_conversation(sdk: Sdk, v1: Any) -> None:
    first, second = await made(sdk, v1), await made(sdk, v1)
    phone = await joined(sdk, first)
    named = {
        "messaging_binding_address": HANDSET,
        "messaging_binding_proxy_address": NUMBERS[0],
    }
    await sdk.refused(50416, 409, second.participants.create, **named)
    await sdk.refused(50433, 409, first.participants.create, **named)
    await joined(sdk, second, proxy=NUMBERS[1])  # another pair
    await sdk.call(first.participants(phone.sid).delete)
    await joined(sdk, second)  # free again
    await sdk.call(second.update, state="closed")
    await joined(sdk, first)
    await sdk.call(first.delete)
    await joined(sdk, await made(sdk, v1))


async def test_wrong_participants_have_their_codes(sdk: Sdk, v1: Any) -> None:
    chat = await made(sdk, v1)
    create = chat.participants.create
    for code, address, proxy in (
        (50407, "nonsense", NUMBERS[0]),
        (50408, HANDSET, "nonsense"),
        (50408, HANDSET, None),
        (50409, NUMBERS[0], NUMBERS[0]),
        (50413, HANDSET, OTHER),
    ):
        named = {"messaging_binding_address": address}
        if proxy is not None:
            named["messaging_binding_proxy_address"] = proxy
        await sdk.refused(code, 400, create, **named)
    await sdk.refused(20001, 400, create)
    await sdk.call(create, identity="agent")
    await sdk.refused(50433, 409, create, identity="agent")
    await sdk.call(chat.update, state="closed")
    await sdk.refused(50377, 400, create, identity="late")


async def test_fifty_participants_may_have_an_address(sdk: Sdk, v1: Any) -> None:
    chat = await made(sdk, v1)
    for number in range(50):
        await joined(sdk, chat, f"+4474009{number:05d}")
    await sdk.refused(
        20001,
        400,
        chat.participants.create,
        messaging_binding_address=OTHER,
        messaging_binding_proxy_address=NUMBERS[0],
    )
    await sdk.call(chat.participants.create, identity="agent")


async def test_messages_have_their_life(sdk: Sdk, v1: Any) -> None:
    chat = await made(sdk, v1)
    bodies = ["one", "two", "three"]
    sent = [await sdk.call(chat.messages.create, body=body) for body in bodies]
    assert [(one.index, one.author, one.delivery) for one in sent] == [
        (0, "system", None),
        (1, "system", None),
        (2, "system", None),
    ]
    listed = await sdk.call(chat.messages.list, page_size=2)
    assert [one.body for one in listed] == bodies
    listed = await sdk.call(chat.messages.list, order="desc", page_size=2)
    assert [one.body for one in listed] == bodies[::-1]
    one = chat.messages(sent[0].sid)
    changed = await sdk.call(one.update, body="ONE", author="me", attributes='{"x":1}')
    assert (changed.body, changed.author, changed.attributes) == ("ONE", "me", '{"x":1}')
    assert (await sdk.call(one.fetch)).body == "ONE"
    assert await sdk.call(one.delivery_receipts.list) == []
    assert await sdk.call(one.delete)
    await sdk.refused(20404, 404, one.fetch)
    assert (await sdk.call(chat.messages.create, body="four")).index == 3
    await sdk.call(chat.messages.create, body="x" * 1600)
    await sdk.refused(21617, 400, chat.messages.create, body="x" * 1601)
    await sdk.refused(20001, 400, chat.messages.create, body=" ")
    await sdk.refused(20001, 400, chat.messages.create, media_sid="ME" + "0" * 32)
    await sdk.call(chat.update, state="closed")
    await sdk.refused(50377, 400, chat.messages.create, body="late")


async def test_scoped_webhooks_have_their_life(sdk: Sdk, v1: Any) -> None:
    chat = await made(sdk, v1)
    url = "https://app.example/chat"
    hook = await sdk.call(
        chat.webhooks.create,
        target="webhook",
        configuration_url=url,
        configuration_method="GET",
        configuration_filters=["onMessageAdded"],
    )
    assert hook.configuration == {"url": url, "method": "GET", "filters": ["onMessageAdded"]}
    trigger = await sdk.call(
        chat.webhooks.create,
        target="trigger",
        configuration_url=url,
        configuration_triggers=["help", "agent"],
        configuration_replay_after=0,
    )
    assert trigger.configuration["triggers"] == ["help", "agent"]
    changed = await sdk.call(
        chat.webhooks(hook.sid).update, configuration_filters=["onParticipantAdded"]
    )
    assert changed.configuration["filters"] == ["onParticipantAdded"]
    listed = await sdk.call(chat.webhooks.list)
    assert [one.sid for one in listed] == [hook.sid, trigger.sid]
    create = chat.webhooks.create
    await sdk.refused(20001, 400, create, target="studio", configuration_url=url)
    await sdk.refused(20001, 400, create, target="webhook")
    await sdk.refused(
        20001, 400, create, target="webhook", configuration_url=url, configuration_filters=["x"]
    )
    for _ in range(3):
        await sdk.call(create, target="webhook", configuration_url=url)
    await sdk.refused(20001, 400, create, target="webhook", configuration_url=url)
    assert await sdk.call(chat.webhooks(hook.sid).delete)
    await sdk.refused(20404, 404, chat.webhooks(hook.sid).fetch)


async def test_other_accounts_see_nothing_of_it(sdk: Sdk, v1: Any) -> None:
    one = await sdk.call(v1.conversations.create, unique_name="ours")
    account = await sdk.call(sdk.client.api.accounts.create)
    user = (account.sid, account.auth_token)
    for name in (one.sid, "ours"):
        path = f"/conversations/v1/Conversations/{name}"
        for method in ("GET", "DELETE"):
            status, body = await sdk.operate(method, path, *user)
            assert (status, body["code"]) == (404, 50350)
    _, body = await sdk.operate("GET", "/conversations/v1/Conversations", *user)
    assert body["conversations"] == []

"""Conversations end to end: a handset writes, an app listens, its replies reach the handset."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from hooks import HANDSET, Hooks, hangs, says, status, write
from testing import NUMBERS, WAIT_S, GatewayUnderTest, Sdk, free_port, until

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
OTHER = "+447700900501"
EVERYTHING = [
    "onConversationAdd",
    "onConversationAdded",
    "onConversationStateUpdated",
    "onParticipantAdd",
    "onParticipantAdded",
    "onMessageAdd",
    "onMessageAdded",
    "onDeliveryUpdated",
]


@pytest.fixture
async def v1(sdk: Sdk, hooks: Hooks) -> Any:
    """The product, of an account that listens to everything; its service makes conversations."""
    await sdk.call(
        sdk.client.request,
        "POST",
        f"{sdk.base_url}/messaging/v1/Services/{sdk.service_sid}",
        data={"InboundBehavior": "autocreate_conversation"},
    )
    v1 = sdk.client.conversations.v1
    await sdk.call(
        v1.configuration.webhooks().update,
        filters=EVERYTHING,
        pre_webhook_url=hooks.url("/pre"),
        post_webhook_url=hooks.url("/post"),
    )
    return v1


async def eventually(sdk: Sdk, function: Callable[..., Any], count: int, **named: Any) -> list[Any]:
    """What a list of the SDK has, once it has so many."""
    async with asyncio.timeout(WAIT_S):
        while len(found := await sdk.call(function, **named)) < count:
            await asyncio.sleep(0.02)
    return list(found)


def events(hooks: Hooks, path: str = "/post") -> list[str]:
    return [one.form["EventType"] for one in hooks.at(path)]


def got(smsc: Smsc, handset: str = HANDSET) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in smsc.ledger.lines(handset)]
    return [("+" + row["source"].lstrip("+"), row["text"]) for row in rows]


async def execute(gateway: GatewayUnderTest, statement: str, *values: Any) -> Any:
    connection = await asyncpg.connect(gateway.database_url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def test_a_first_message_makes_a_conversation_and_a_reply_reaches_the_handset(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, v1: Any
) -> None:
    """The issue's last line: made, answered, joined, and not reused once closed."""
    await write(smsc, "hello?", NUMBERS[0])
    [one] = await eventually(sdk, v1.conversations.list, 1)
    chat = v1.conversations(one.sid)
    [member] = await sdk.call(chat.participants.list)
    assert member.messaging_binding["address"] == HANDSET
    assert member.messaging_binding["proxy_address"] == NUMBERS[0]
    [first] = await eventually(sdk, chat.messages.list, 1)
    assert (first.body, first.author, first.index) == ("hello?", HANDSET, 0)
    assert (first.participant_sid, first.delivery) == (member.sid, None)
    assert one.messaging_service_sid == sdk.service_sid
    await hooks.has("/post", 3)
    assert events(hooks) == ["onConversationAdded", "onParticipantAdded", "onMessageAdded"]
    assert events(hooks, "/pre") == ["onConversationAdd"]
    assert all(taken.valid for taken in hooks.taken)
    added, joined, said = (taken.form for taken in hooks.at("/post"))
    assert {form["Source"] for form in (added, joined, said)} == {"SMS"}
    assert {form["ConversationSid"] for form in (added, joined, said)} == {one.sid}
    assert (added["State"], added["MessagingBinding.Address"]) == ("active", HANDSET)
    assert (joined["ParticipantSid"], joined["MessagingBinding.Type"]) == (member.sid, "sms")
    assert (said["MessageSid"], said["Index"], said["Body"]) == (first.sid, "0", "hello?")
    asked = hooks.at("/pre")[0].form
    assert (asked["MessageBody"], asked["MessagingBinding.ProxyAddress"]) == ("hello?", NUMBERS[0])
    listed = await sdk.call(sdk.client.messages.list)
    assert [message.direction for message in listed] == ["inbound"]

    reply = await sdk.call(chat.messages.create, body="hi!", author="agent")
    await until(lambda: got(smsc) == [(NUMBERS[0], "hi!")])
    await hooks.has("/post", 5)
    assert events(hooks)[3:] == ["onDeliveryUpdated", "onDeliveryUpdated"]
    told = [taken.form for taken in hooks.at("/post")[3:]]
    assert [form["Status"] for form in told] == ["sent", "delivered"]
    [receipt] = await sdk.call(chat.messages(reply.sid).delivery_receipts.list)
    assert (receipt.status, receipt.error_code) == ("delivered", 0)
    assert {form["DeliveryReceiptSid"] for form in told} == {receipt.sid}
    assert receipt.participant_sid == member.sid
    assert (await sdk.fetch(receipt.channel_message_sid)).from_ == NUMBERS[0]
    fetched = await sdk.call(chat.messages(reply.sid).delivery_receipts(receipt.sid).fetch)
    assert fetched.message_sid == reply.sid
    assert (await sdk.call(chat.messages(reply.sid).fetch)).delivery == {
        "total": 1,
        "sent": "all",
        "delivered": "all",
        "read": "none",
        "failed": "none",
        "undelivered": "none",
    }

    await write(smsc, "second", NUMBERS[0])
    said = (await eventually(sdk, chat.messages.list, 3))[2]
    assert (said.body, said.index) == ("second", 2)
    assert len(await sdk.call(v1.conversations.list)) == 1

    await sdk.call(chat.update, state="closed")
    await write(smsc, "third", NUMBERS[0])
    newer = (await eventually(sdk, v1.conversations.list, 2))[0]
    await eventually(sdk, v1.conversations(newer.sid).messages.list, 1)
    assert len(await sdk.call(chat.messages.list)) == 3


async def test_two_first_messages_at_once_make_one_conversation(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest, v1: Any
) -> None:
    await asyncio.gather(*(write(smsc, f"number {n}", NUMBERS[0]) for n in range(10)))
    [one] = await eventually(sdk, v1.conversations.list, 1)
    said = await eventually(sdk, v1.conversations(one.sid).messages.list, 10)
    assert [message.index for message in said] == list(range(10))
    assert {message.body for message in said} == {f"number {n}" for n in range(10)}
    assert len(await sdk.call(v1.conversations.list)) == 1


async def test_a_message_that_is_handed_over_again_is_in_its_conversation_once(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest, v1: Any
) -> None:
    await write(smsc, "once", NUMBERS[0])
    [one] = await eventually(sdk, v1.conversations.list, 1)
    chat = v1.conversations(one.sid)
    await eventually(sdk, chat.messages.list, 1)
    # As a crash between the conversation's commit and the mark leaves it; closed in the meantime.
    await sdk.call(chat.update, state="closed")
    await gateway.stop()
    await execute(gateway, "UPDATE messages SET handling = 1")
    async with GatewayUnderTest(
        gateway.database_url, smsc.port, gateway.inner.settings.data_dir, {}
    ) as again:
        await until_nothing_is_owed(again)
        counted = await execute(again, "SELECT count(*) FROM conversation_messages")
        assert counted == 1
        assert await execute(again, "SELECT count(*) FROM conversations") == 1


async def until_nothing_is_owed(gateway: GatewayUnderTest) -> None:
    async with asyncio.timeout(WAIT_S):
        while await execute(gateway, "SELECT count(*) FROM messages WHERE handling > 0"):
            await asyncio.sleep(0.02)


async def test_an_app_may_refuse_a_conversation_or_name_it(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest, v1: Any
) -> None:
    hooks.answers["/pre"] = status(403)
    await write(smsc, "unwanted", NUMBERS[0])
    await hooks.has("/pre", 1)
    await until_nothing_is_owed(gateway)
    assert await sdk.call(v1.conversations.list) == []
    assert len(await sdk.call(sdk.client.messages.list)) == 1

    hooks.answers["/pre"] = says('{"friendly_name": "Welcome"}', "application/json")
    await write(smsc, "wanted", NUMBERS[0])
    [one] = await eventually(sdk, v1.conversations.list, 1)
    assert one.friendly_name == "Welcome"
    await eventually(sdk, v1.conversations(one.sid).messages.list, 1)

    # Later messages are asked for one by one, and may be changed.
    hooks.answers["/pre"] = says('{"body": "censored"}', "application/json")
    await write(smsc, "rude", NUMBERS[0])
    said = await eventually(sdk, v1.conversations(one.sid).messages.list, 2)
    assert said[1].body == "censored"
    assert events(hooks, "/pre") == ["onConversationAdd", "onConversationAdd", "onMessageAdd"]


async def test_an_app_that_hangs_holds_nothing_up(start_gateway: Start, smsc: Smsc) -> None:
    async with Hooks() as hooks:
        gateway = await start_gateway(smsc.port, webhooks={"allow_private": True, "timeout_s": 1.0})
        sdk = await gateway.sdk()
        v1 = sdk.client.conversations.v1
        hooks.answers["/pre"] = hangs
        await sdk.call(
            v1.configuration.webhooks().update,
            filters=["onConversationAdd"],
            pre_webhook_url=hooks.url("/pre"),
        )
        await sdk.call(
            v1.address_configurations.create,
            type="sms",
            address=NUMBERS[0],
            auto_creation_enabled=True,
        )
        await write(smsc, "hello", NUMBERS[0])
        await eventually(sdk, v1.conversations.list, 1)


async def test_an_address_makes_conversations_with_a_webhook_of_its_own(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    v1 = sdk.client.conversations.v1
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(sdk.client.incoming_phone_numbers(number.sid).update, sms_url=hooks.url("/sms"))
    await sdk.call(
        v1.address_configurations.create,
        type="sms",
        address=NUMBERS[0],
        auto_creation_enabled=True,
        auto_creation_type="webhook",
        auto_creation_webhook_url=hooks.url("/chat"),
        auto_creation_webhook_method="GET",
        auto_creation_webhook_filters=["onMessageAdded"],
    )
    await write(smsc, "hello", NUMBERS[0])
    [taken] = await hooks.has("/chat")
    assert (taken.method, taken.valid) == ("GET", True)
    assert (taken.form["EventType"], taken.form["Body"]) == ("onMessageAdded", "hello")
    await write(smsc, "to the other", NUMBERS[1])
    assert hooks.at("/sms") == []
    assert len(await sdk.call(v1.conversations.list)) == 1


async def test_a_pair_that_the_api_bound_gets_its_messages_and_no_webhook(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    v1 = sdk.client.conversations.v1
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(sdk.client.incoming_phone_numbers(number.sid).update, sms_url=hooks.url("/sms"))
    one = await sdk.call(v1.conversations.create)
    chat = v1.conversations(one.sid)
    for handset in (HANDSET, OTHER):
        await sdk.call(
            chat.participants.create,
            messaging_binding_address=handset,
            messaging_binding_proxy_address=NUMBERS[0],
        )
    await sdk.call(chat.update, state="inactive")
    await write(smsc, "to all", NUMBERS[0])
    await until(lambda: got(smsc, OTHER) == [(NUMBERS[0], "to all")])
    assert got(smsc) == []
    assert (await sdk.call(chat.fetch)).state == "active"
    # What is said by API goes to both but its author.
    await sdk.call(chat.messages.create, body="news", author="desk")
    await until(lambda: got(smsc) == [(NUMBERS[0], "news")])
    await until(lambda: got(smsc, OTHER)[1:] == [(NUMBERS[0], "news")])
    await write(smsc, "nobody knows me", NUMBERS[0], sender="+447700900777")
    await hooks.has("/sms")
    assert [taken.form["Body"] for taken in hooks.at("/sms")] == ["nobody knows me"]


async def test_what_the_api_does_is_told_only_when_it_asks_for_it(
    sdk: Sdk, hooks: Hooks, v1: Any
) -> None:
    told = {"x_twilio_webhook_enabled": "true"}
    await sdk.call(v1.conversations.create, friendly_name="quiet")
    one = await sdk.call(v1.conversations.create, friendly_name="loud", **told)
    chat = v1.conversations(one.sid)
    await sdk.call(
        chat.webhooks.create,
        target="trigger",
        configuration_url=hooks.url("/trigger"),
        configuration_triggers=["help"],
    )
    await sdk.call(chat.participants.create, identity="quiet")
    await sdk.call(chat.participants.create, identity="loud", **told)
    await sdk.call(chat.messages.create, body="quiet help")
    await sdk.call(chat.messages.create, body="no trigger", **told)
    await sdk.call(chat.messages.create, body="HELP me", **told)
    await sdk.call(chat.update, state="closed", **told)
    await hooks.has("/post", 5)
    assert events(hooks) == [
        "onConversationAdded",
        "onParticipantAdded",
        "onMessageAdded",
        "onMessageAdded",
        "onConversationStateUpdated",
    ]
    forms = [taken.form for taken in hooks.at("/post")]
    assert {form["Source"] for form in forms} == {"API"}
    assert (forms[0]["FriendlyName"], forms[1]["Identity"]) == ("loud", "loud")
    assert (forms[4]["StateFrom"], forms[4]["StateTo"], forms[4]["Reason"]) == (
        "active",
        "closed",
        "API",
    )
    [triggered] = await hooks.has("/trigger")
    assert triggered.form["Body"] == "HELP me"
    hooks.answers["/pre"] = says("{}", "application/json")
    other = v1.conversations((await sdk.call(v1.conversations.create, state="inactive")).sid)
    await sdk.call(other.messages.create, body="wake up", **told)
    await hooks.has("/post", 7)
    assert events(hooks)[5:] == ["onConversationStateUpdated", "onMessageAdded"]
    assert hooks.at("/post")[5].form["Reason"] == "EVENT"
    assert (await sdk.call(other.fetch)).state == "active"

    hooks.answers["/pre"] = status(500)
    await sdk.refused(20403, 403, v1.conversations.create, **told)
    await sdk.refused(20403, 403, other.messages.create, body="no", **told)
    await sdk.call(v1.conversations.create)
    nobody = f"http://127.0.0.1:{free_port()}/pre"  # not reached: as if it had said nothing
    await sdk.call(v1.configuration.webhooks().update, pre_webhook_url=nobody)
    await sdk.call(v1.conversations.create, **told)


async def test_events_wait_for_an_app_that_is_down_and_keep_their_order(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, v1: Any
) -> None:
    left = [2]

    async def down_at_first(request: web.Request) -> web.Response:
        left[0] -= 1
        return web.Response(status=503 if left[0] >= 0 else 200)

    hooks.answers["/post"] = down_at_first
    await write(smsc, "hello", NUMBERS[0])
    await hooks.has("/post", 5)
    assert events(hooks) == [
        "onConversationAdded",
        "onConversationAdded",
        "onConversationAdded",
        "onParticipantAdded",
        "onMessageAdded",
    ]
    tokens = [taken.headers["I-Twilio-Idempotency-Token"] for taken in hooks.at("/post")]
    assert len(set(tokens)) == 3
    [alert] = await eventually(sdk, sdk.client.monitor.v1.alerts.list, 1)
    assert alert.error_code == "11200"


async def test_what_became_of_a_message_while_nobody_looked_is_told_after_a_restart(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest, v1: Any
) -> None:
    await write(smsc, "hello", NUMBERS[0])
    [one] = await eventually(sdk, v1.conversations.list, 1)
    await hooks.has("/post", 3)
    reply = await sdk.call(v1.conversations(one.sid).messages.create, body="hi")
    await hooks.has("/post", 5)
    await gateway.stop()
    hooks.taken.clear()
    # As if it had ended before it looked.
    await execute(gateway, "UPDATE conversation_receipts SET status = NULL, open = true")
    async with GatewayUnderTest(
        gateway.database_url,
        smsc.port,
        gateway.inner.settings.data_dir,
        {},
    ):
        await hooks.has("/post", 2)
    told = [taken.form for taken in hooks.at("/post")]
    assert [form["Status"] for form in told] == ["sent", "delivered"]
    assert {form["MessageSid"] for form in told} == {reply.sid}


async def test_a_blocked_handset_gets_nothing_and_the_receipt_says_so(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, v1: Any
) -> None:
    await write(smsc, "STOP", NUMBERS[0])
    [one] = await eventually(sdk, v1.conversations.list, 1)
    chat = v1.conversations(one.sid)
    await eventually(sdk, chat.messages.list, 1)
    reply = await sdk.call(chat.messages.create, body="still there?")
    [receipt] = await eventually(sdk, chat.messages(reply.sid).delivery_receipts.list, 1)
    assert (receipt.status, receipt.error_code) == ("failed", 21610)
    assert "still there?" not in [text for _, text in got(smsc)]


async def test_timers_make_it_inactive_and_close_it(
    sdk: Sdk, smsc: Smsc, hooks: Hooks, gateway: GatewayUnderTest, v1: Any
) -> None:
    await sdk.call(
        v1.configuration().update, default_inactive_timer="PT1M", default_closed_timer="PT10M"
    )
    await write(smsc, "hello", NUMBERS[0])
    [one] = await eventually(sdk, v1.conversations.list, 1)
    assert set(one.timers) == {"date_inactive", "date_closed"}
    await hooks.has("/post", 3)
    for column, state in (("date_inactive", "inactive"), ("date_closed", "closed")):
        await execute(gateway, f"UPDATE conversations SET {column} = now()")
        async with asyncio.timeout(WAIT_S):
            while (await sdk.call(v1.conversations(one.sid).fetch)).state != state:
                await asyncio.sleep(0.02)
    taken = (await hooks.has("/post", 5))[3:]
    assert [(t.form["StateFrom"], t.form["StateTo"], t.form["Reason"]) for t in taken] == [
        ("active", "inactive", "TIMER"),
        ("inactive", "closed", "TIMER"),
    ]
    await write(smsc, "anybody?", NUMBERS[0])
    await eventually(sdk, v1.conversations.list, 2)

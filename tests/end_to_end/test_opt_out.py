"""STOP, START and HELP by default: every row of
docs/spec/messaging-services.md#effects-of-keywords, through the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from hooks import Hooks
from testing import NUMBERS, GatewayUnderTest, Receiver, Sdk, until
from twilio.base.exceptions import TwilioRestException

from gateway.opt_out.keywords import default_entries
from smpp.smsc import CarrierScenario, Scenario, Smsc

HANDSET = "+447700900500"
ALONE = "+447700900901"  # a number in no service
REPLIES = {entry.keyword.name: entry.reply for entry in default_entries()}

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def text(smsc: Smsc, words: str, to: str = NUMBERS[0], handset: str = HANDSET) -> None:
    """The handset writes; returns when the gateway has answered for it."""
    before = len(smsc.ledger.inbound)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{smsc.control_port}/mo",
            json={"from": handset, "to": to, "text": words},
        ) as response,
    ):
        assert response.status == 200, await response.text()
    await until(lambda: smsc.ledger.inbound[before].answered is not None)


def got(smsc: Smsc, handset: str = HANDSET) -> list[tuple[str, str]]:
    """What the handset got: (from, text), in order."""
    rows = [json.loads(line) for line in smsc.ledger.lines(handset)]
    return [("+" + row["source"].lstrip("+"), row["text"]) for row in rows]


async def logged(gateway: GatewayUnderTest) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(gateway.database_url)
    rows = await connection.fetch(
        "SELECT recipient, scope, blocked, source, actor, note FROM opt_out_log ORDER BY id"
    )
    await connection.close()
    return [tuple(row) for row in rows]


async def test_stop_blocks_the_whole_service_and_start_lifts_it(
    sdk: Sdk, smsc: Smsc, receiver: Receiver, gateway: GatewayUnderTest
) -> None:
    await text(smsc, "Stop")
    await until(lambda: got(smsc) == [(NUMBERS[0], REPLIES["STOP"])])

    blocked = await sdk.send("hello", HANDSET, status_callback=receiver.url)
    assert blocked.status == "accepted"
    failed = await sdk.reaches(blocked.sid, "failed")
    assert failed.error_code == 21610
    await receiver.has([blocked.sid], "failed")
    assert receiver.forms[-1]["ErrorCode"] == "21610"
    other = await sdk.send(
        "hello", HANDSET, from_=NUMBERS[1], messaging_service_sid=sdk.service_sid
    )
    failed = await sdk.reaches(other.sid, "failed")
    assert (failed.error_code, failed.from_) == (21610, NUMBERS[1])

    await text(smsc, "START")
    await until(lambda: got(smsc)[1:] == [(NUMBERS[0], REPLIES["START"])])
    sent = await sdk.send("hello again", HANDSET)
    await sdk.reaches(sent.sid, "delivered")

    [block, lift] = await logged(gateway)
    assert (block[0], block[2], block[3], block[5]) == (HANDSET, True, "keyword", "stop")
    assert (lift[0], lift[2], lift[5]) == (HANDSET, False, "start")
    listed = await sdk.call(sdk.client.messages.list)
    inbound = {one.sid for one in listed if one.direction == "inbound"}
    assert {block[4], lift[4]} == inbound
    confirmations = [one for one in listed if one.direction == "outbound-reply"]
    assert {confirmation.body for confirmation in confirmations} == {
        REPLIES["STOP"],
        REPLIES["START"],
    }
    assert all(
        confirmation.messaging_service_sid == sdk.service_sid for confirmation in confirmations
    )


async def test_a_plain_from_is_refused_at_once_and_nothing_is_stored(sdk: Sdk, smsc: Smsc) -> None:
    await text(smsc, "unsubscribe")
    with pytest.raises(TwilioRestException) as refused:
        await sdk.send("hello", HANDSET, from_=NUMBERS[1])
    assert (refused.value.code, refused.value.status) == (21610, 400)
    listed = await sdk.call(sdk.client.messages.list, to=HANDSET)
    assert [one.direction for one in listed] == ["outbound-reply"]


async def test_a_number_in_no_service_blocks_only_the_pair(sdk: Sdk, smsc: Smsc) -> None:
    await sdk.call(sdk.client.incoming_phone_numbers.create, phone_number=ALONE)
    await text(smsc, "QUIT", ALONE)
    await until(lambda: got(smsc) == [(ALONE, REPLIES["STOP"])])
    await sdk.refused(21610, 400, sdk.client.messages.create, to=HANDSET, from_=ALONE, body="x")
    sent = await sdk.send("from the service", HANDSET)
    await sdk.reaches(sent.sid, "delivered")


async def test_a_second_stop_gets_no_reply_and_help_from_the_blocked_neither(
    sdk: Sdk, smsc: Smsc
) -> None:
    await text(smsc, "STOP")
    await text(smsc, "stop all")
    await text(smsc, "HELP")
    await text(smsc, "marker", handset="+447700900501")
    sent = await sdk.send("marker", "+447700900502")
    await sdk.reaches(sent.sid, "delivered")
    assert got(smsc) == [(NUMBERS[0], REPLIES["STOP"])]


async def test_help_is_answered_and_changes_nothing(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    await text(smsc, " 'info!' ")
    await until(lambda: got(smsc) == [(NUMBERS[0], REPLIES["HELP"])])
    assert await logged(gateway) == []


@pytest.mark.parametrize("words", ["START", "YES", "unstop", "stop please", "STOPPED", "no"])
async def test_words_without_effect_are_ordinary(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest, words: str
) -> None:
    await text(smsc, words)
    sent = await sdk.send("hello", HANDSET)
    await sdk.reaches(sent.sid, "delivered")
    assert [words for _, words in got(smsc)] == ["hello"]
    assert await logged(gateway) == []


async def test_yes_lifts_a_block(sdk: Sdk, smsc: Smsc) -> None:
    await text(smsc, "END")
    await text(smsc, "Yes")
    await until(lambda: [one[1] for one in got(smsc)] == [REPLIES["STOP"], REPLIES["START"]])


async def test_what_waits_in_a_queue_when_stop_comes_does_not_leave(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=1.0)
    sdk = await gateway.sdk()
    sids = [(await sdk.send(f"{n}", HANDSET, from_=NUMBERS[0])).sid for n in range(4)]
    await text(smsc, "STOP")
    left = len(got(smsc))
    for sid in sids[left:]:
        assert (await sdk.reaches(sid, "failed")).error_code == 21610
    texts = [one[1] for one in got(smsc)]
    assert texts.count(REPLIES["STOP"]) == 1
    assert len(texts) == left + 1


async def test_keywords_work_where_inbound_is_dropped(sdk: Sdk, smsc: Smsc) -> None:
    """docs/spec/messaging-services.md#observable-checks row 20: nothing is logged, and STOP is
    honoured all the same."""
    service = sdk.client.messaging.v1.services(sdk.service_sid)
    await sdk.call(service.update, use_inbound_webhook_on_number=False)
    await text(smsc, "what is this?")
    await text(smsc, "STOP")
    await until(lambda: got(smsc) == [(NUMBERS[0], REPLIES["STOP"])])
    listed = await sdk.call(sdk.client.messages.list)
    assert [one.direction for one in listed] == ["outbound-reply"]
    blocked = await sdk.send("hello", HANDSET)
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610


async def test_a_toll_free_network_answers_stop_itself(start_gateway: Start) -> None:
    toll_free, handset = "+18885550100", "+12125550111"
    smsc = Smsc(Scenario(carriers=(CarrierScenario(network_stop=("1888",)),)), seed=1)
    await smsc.start()
    try:
        gateway = await start_gateway(smsc.port)
        await gateway.bound()
        sdk = await Sdk.provisioned(gateway.base_url, (toll_free,))
        await text(smsc, "STOP", toll_free, handset)
        await text(smsc, "YES", toll_free, handset)
        blocked = await sdk.send("hello", handset)
        assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610
        assert got(smsc, handset) == []

        await text(smsc, "UNSTOP", toll_free, handset)
        await until(lambda: got(smsc, handset) == [(toll_free, REPLIES["START"])])
        sent = await sdk.send("hello", handset)
        await sdk.reaches(sent.sid, "delivered")
    finally:
        await asyncio.shield(smsc.stop())


async def test_a_networks_block_on_top_of_another_cannot_be_lifted_by_api(
    start_gateway: Start,
) -> None:
    toll_free, handset = "+18885550100", "+12125550111"
    smsc = Smsc(Scenario(carriers=(CarrierScenario(network_stop=("1888",)),)), seed=1)
    await smsc.start()
    try:
        gateway = await start_gateway(smsc.port)
        await gateway.bound()
        sdk = await Sdk.provisioned(gateway.base_url, (toll_free, NUMBERS[0]))
        await text(smsc, "STOP", NUMBERS[0], handset)
        await text(smsc, "STOP", toll_free, handset)
        path = f"/tandem/v1/OptOuts/Recipients/{handset}"
        _, found = await sdk.operate("GET", path)
        assert [block["source"] for block in found["blocks"]] == ["network"]
        assert (await sdk.operate("DELETE", path))[0] == 403
    finally:
        await asyncio.shield(smsc.stop())


async def test_a_short_code_outside_advanced_opt_out_is_the_apps_duty(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    await sdk.add_short_code("60777", "GB")
    await text(smsc, "STOP", "60777")
    sent = await sdk.send("still here", HANDSET, from_="60777")
    await sdk.reaches(sent.sid, "delivered")
    assert await logged(gateway) == []


async def test_start_lifts_a_block_from_before_the_number_joined_its_service(
    sdk: Sdk, smsc: Smsc
) -> None:
    number = await sdk.call(sdk.client.incoming_phone_numbers.create, phone_number=ALONE)
    await text(smsc, "STOP", ALONE)
    service = sdk.client.messaging.v1.services.create
    alone = await sdk.call(service, "Alone")
    members = sdk.client.messaging.v1.services(alone.sid).phone_numbers
    await sdk.call(members.create, number.sid)
    await text(smsc, "HELP", ALONE)  # from somebody who is blocked: no reply
    blocked = await sdk.send("x", HANDSET, messaging_service_sid=alone.sid)
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610

    await text(smsc, "STOP", ALONE)  # now it is about the whole service
    await text(smsc, "START", ALONE)
    replies = [REPLIES["STOP"], REPLIES["STOP"], REPLIES["START"]]
    await until(lambda: [words for _, words in got(smsc)] == replies)
    sent = await sdk.send("x", HANDSET, messaging_service_sid=alone.sid)
    await sdk.reaches(sent.sid, "delivered")


async def test_every_keyword_reaches_the_webhook_as_an_ordinary_message(
    sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    """The last column of docs/spec/messaging-services.md#effects-of-keywords: always, and without
    OptOutType where Advanced Opt-Out is off."""
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    rows = ["STOP", "STOP", "HELP", "START", "START", "HELP", "YES"]
    for count, words in enumerate(rows, start=1):
        await text(smsc, words)
        await hooks.has("/in", count)
    taken = hooks.at("/in")
    assert [one.form["Body"] for one in taken] == rows
    assert all(one.valid and "OptOutType" not in one.form for one in taken)
    replies = [REPLIES["STOP"], REPLIES["START"], REPLIES["HELP"]]
    await until(lambda: [words for _, words in got(smsc)] == replies)

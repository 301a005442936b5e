"""Repeated means unanswered: people say the same thing twice, and a carrier that had our answer
does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hooks import Hooks
from odd_carrier import FAST, HANDSET, OddCarrier
from testing import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    NUMBERS,
    WAIT_S,
    GatewayProcess,
    GatewayUnderTest,
    Sdk,
    carrier,
    free_port,
    sdk_client,
    until,
)

from smpp import vocabulary as v
from smpp.concat import udh8
from smpp.pdu import DeliverSm, SmeAddress
from storage import messages as message_rows

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def texts(sdk: Sdk, count: int) -> list[str]:
    """The account's inbound texts, oldest first, once there are so many."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.messages.list)
            found = [one.body for one in reversed(listed) if one.direction == "inbound"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def start(start_gateway: Start, odd: OddCarrier) -> GatewayUnderTest:
    return await start_gateway(odd.port, carriers=(carrier(odd.port, refusal_waits=FAST),))


def gateway_of(odd: OddCarrier, database_url: str, folder: Path) -> GatewayProcess:
    """A process of its own, to be ended."""
    hosts = [f"127.0.0.1:{odd.port}"]
    carriers = [carrier(odd.port, hosts=hosts, refusal_waits=FAST)]
    return GatewayProcess(database_url, odd.port, folder, free_port(), carriers=carriers)


async def settled(gateway: GatewayUnderTest) -> None:
    """Return when no answer may still be under way."""
    query = "SELECT count(*) FROM inbound_parts WHERE NOT settled"
    async with asyncio.timeout(WAIT_S):
        while await gateway.pipeline.runtime.pool.fetchval(query):
            await asyncio.sleep(0.01)


async def alerts(gateway: GatewayUnderTest, code: int) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        while True:
            query = "SELECT * FROM alerts WHERE code = $1 ORDER BY id"
            if rows := await gateway.pipeline.runtime.pool.fetch(query, code):
                return list(rows)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("parts", [1, 2])
async def test_the_same_words_after_a_reconnect_are_another_message(
    start_gateway: Start, odd: OddCarrier, parts: int
) -> None:
    """The carrier answered what we asked after our answer, so it had our answer."""
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()

    async def yes() -> None:
        if parts == 1:
            await odd.delivered(b"YES")
        else:  # one reference for all, as some senders have
            await odd.delivered(udh8(7, 2, 1) + b"Y", esm_class=0x40)
            await odd.delivered(udh8(7, 2, 2) + b"ES", esm_class=0x40)

    for count in (1, 2, 3):
        await yes()
        assert await texts(sdk, count) == ["YES"] * count
        await settled(gateway)
        await odd.drop()


async def test_a_stop_after_start_and_a_reconnect_blocks(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    for word in (b"STOP", b"START"):
        await odd.delivered(word)
    await settled(gateway)
    await odd.drop()
    await odd.delivered(b"STOP")
    assert await texts(sdk, 3) == ["STOP", "START", "STOP"]
    blocked = await sdk.send("hello", HANDSET)
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610


async def test_an_orderly_unbind_by_the_carrier_settles_what_was_answered(
    start_gateway: Start, odd: OddCarrier
) -> None:
    odd.silent = {v.ENQUIRE_LINK}
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    await odd.delivered(b"YES")
    await odd.unbind()
    await odd.delivered(b"YES")
    assert await texts(sdk, 2) == ["YES", "YES"]


async def test_the_answer_to_a_submit_settles_what_was_answered_before_it(
    start_gateway: Start, odd: OddCarrier
) -> None:
    odd.silent = {v.ENQUIRE_LINK}
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    await odd.delivered(b"YES")
    await sdk.send("thank you", HANDSET)
    await settled(gateway)
    await odd.drop()
    await odd.delivered(b"YES")
    assert await texts(sdk, 2) == ["YES", "YES"]


async def test_what_comes_again_unanswered_is_one_message_and_its_drop_is_told(
    start_gateway: Start, odd: OddCarrier
) -> None:
    odd.silent = {v.ENQUIRE_LINK}
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    await odd.delivered(b"YES")
    await odd.drop()
    assert await odd.delivered(b"YES") == v.ESME_ROK
    [alert] = await alerts(gateway, 99012)
    [message] = await sdk.call(sdk.client.messages.list)
    assert alert["resource"] == message.sid


async def test_each_delivery_is_the_repetition_of_one(
    start_gateway: Start, odd: OddCarrier
) -> None:
    """Of two that were written only the first was stored before the connection broke."""
    odd.silent = {v.ENQUIRE_LINK}
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    await odd.delivered(b"YES")
    await odd.drop()
    await odd.delivered(b"YES")
    await odd.delivered(b"YES")
    assert await texts(sdk, 2) == ["YES", "YES"]


async def test_a_repetition_that_was_answered_settles_its_first(
    start_gateway: Start, odd: OddCarrier
) -> None:
    odd.silent = {v.ENQUIRE_LINK}
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    await odd.delivered(b"YES")
    await odd.drop()
    odd.silent = set()
    await odd.delivered(b"YES")
    await settled(gateway)
    await odd.drop()
    await odd.delivered(b"YES")
    assert await texts(sdk, 2) == ["YES", "YES"]


async def test_a_carrier_that_leaves_our_question_unanswered_is_not_dropped_for_it(
    start_gateway: Start, odd: OddCarrier
) -> None:
    odd.silent = {v.ENQUIRE_LINK}
    gateway = await start(start_gateway, odd)
    await gateway.bound()
    await odd.delivered(b"YES")
    await until(lambda: odd.asked[v.ENQUIRE_LINK] > 0)
    await odd.delivered(b"NO")
    assert odd.asked[v.BIND_TRANSCEIVER] == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_the_same_word_after_a_restart_is_another_message(
    database_url: str, tmp_path: Path, odd: OddCarrier, end: str
) -> None:
    """After a clean end nothing is open; after a crash what was settled before it stays so."""
    if end == "stop":
        odd.silent = {v.ENQUIRE_LINK}  # its unbind is all that proves it
    process = gateway_of(odd, database_url, tmp_path)
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    await odd.bound.wait()
    await odd.delivered(b"YES")
    assert await texts(sdk, 1) == ["YES"]
    odd.bound.clear()
    if end == "stop":
        await process.stop()
    else:
        connection = await asyncpg.connect(database_url)
        while await connection.fetchval("SELECT count(*) FROM inbound_parts WHERE NOT settled"):
            await asyncio.sleep(0.01)
        await connection.close()
        await process.kill()
    await process.start()
    await odd.bound.wait()
    await odd.delivered(b"YES")
    sdk.client = sdk_client(process.base_url, ACCOUNT_SID, AUTH_TOKEN)
    assert await texts(sdk, 2) == ["YES", "YES"]
    await process.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_parts_before_and_after_a_restart_are_one_message(
    database_url: str, tmp_path: Path, odd: OddCarrier, end: str
) -> None:
    """Read by our numbers, which must be known by then."""
    process = gateway_of(odd, database_url, tmp_path)
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    await odd.bound.wait()
    await odd.delivered(udh8(9, 2, 1) + b"ST", esm_class=0x40)
    odd.bound.clear()
    await (process.stop() if end == "stop" else process.kill())
    await process.start()
    await odd.bound.wait()
    await odd.delivered(udh8(9, 2, 2) + b"OP", esm_class=0x40)
    sdk.client = sdk_client(process.base_url, ACCOUNT_SID, AUTH_TOKEN)
    assert await texts(sdk, 1) == ["STOP"]
    blocked = await sdk.send("hello", HANDSET)
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610
    await process.stop()


async def test_what_another_worker_stored_is_settled_by_the_one_whose_connection_it_is(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start(start_gateway, odd)
    sdk = await gateway.sdk()
    inbound, answers = gateway.inner.inbound, []
    [carrier_id] = gateway.pipeline.connectors.by_id
    run = inbound._run_id
    delivery = DeliverSm(SmeAddress(1, 1, HANDSET[1:]), SmeAddress(1, 1, NUMBERS[0][1:]), b"YES")
    delivery.number = 3

    async def handed_over(connection: str) -> None:
        wanted = len(answers) + 1
        inbound.received(carrier_id, connection, delivery, lambda *answer: answers.append(answer))
        await until(lambda: len(answers) == wanted)

    await handed_over(f"{run}.simulator/1#1")
    inbound.settled("simulator/1#1", [delivery])  # as the holder of the connection says it
    await settled(gateway)
    inbound.lost(f"{run}.simulator/1#1")
    await handed_over(f"{run}.simulator/1#2")
    assert await texts(sdk, 2) == ["YES", "YES"]


async def test_a_delivery_whose_commit_was_done_and_not_confirmed_is_stored_once(
    start_gateway: Start, odd: OddCarrier, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We try again ourselves, on the same connection: that is no other message."""
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    insert = message_rows.insert
    lost = 0

    async def confirmation_lost(connection: Any, rows: Any) -> Any:
        nonlocal lost
        await insert(connection, rows)
        lost += 1
        if lost == 1:
            await connection.execute("COMMIT")
            raise ConnectionError("the answer is lost")

    monkeypatch.setattr(message_rows, "insert", confirmation_lost)
    assert await odd.delivered(b"YES") == v.ESME_ROK
    await hooks.has("/in")
    monkeypatch.undo()
    assert lost == 1
    assert await odd.delivered(b"YES") == v.ESME_ROK  # and this is another
    await hooks.has("/in", 2)
    found = await sdk.call(sdk.client.messages.list, to=NUMBERS[0])
    assert [message.body for message in found] == ["YES", "YES"]

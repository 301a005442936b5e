"""Inbound messages: whole, once, stored before they are answered, whatever the carrier does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from odd_carrier import HANDSET, OddCarrier
from testing import (
    NUMBERS,
    WAIT_S,
    GatewayProcess,
    GatewayUnderTest,
    Sdk,
    carrier,
    free_port,
    until,
)

from smpp import vocabulary as v
from smpp.concat import udh8
from smpp.pdu import DeliverSm, SmeAddress
from smpp.smsc import Scenario, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def write(smsc: Smsc, text: str, to: str = NUMBERS[0], mode: str = "udh8") -> None:
    """A message from the handset, injected at the simulator's control endpoint."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{smsc.control_port}/mo",
            json={"from": HANDSET, "to": to, "text": text, "mode": mode},
        ) as response,
    ):
        assert response.status == 200, await response.text()


async def received(sdk: Sdk, count: int) -> list[Any]:
    """The account's inbound messages, oldest first, once there are so many."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.messages.list)
            inbound = [message for message in listed if message.direction == "inbound"]
            if len(inbound) >= count:
                return list(reversed(inbound))
            await asyncio.sleep(0.02)


async def test_a_message_is_stored_with_its_service(sdk: Sdk, smsc: Smsc) -> None:
    await write(smsc, "hello @ £ €")
    [message] = await received(sdk, 1)
    assert (message.from_, message.to) == (HANDSET, NUMBERS[0])
    assert message.body == "hello @ £ €"
    assert message.status == "received"
    assert message.num_segments == "1"
    assert message.messaging_service_sid == sdk.service_sid


@pytest.mark.parametrize("mode", ["udh8", "udh16", "sar", "payload"])
@pytest.mark.parametrize("text", ["x" * 300 + "end", "Grüße 🎉 " * 30 + "end"])
async def test_long_messages_are_joined(sdk: Sdk, smsc: Smsc, mode: str, text: str) -> None:
    await write(smsc, text, mode=mode)
    [message] = await received(sdk, 1)
    assert message.body == text


async def test_parts_over_two_binds_are_joined(start_gateway: Start, smsc: Smsc) -> None:
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, binds=2),))
    sdk = await gateway.sdk()
    for number in range(10):
        await write(smsc, f"{number}" + "x" * 400)
    messages = await received(sdk, 10)
    assert {message.body[0] for message in messages} == {str(n) for n in range(10)}


async def test_the_same_word_twice_is_two_messages(sdk: Sdk, smsc: Smsc) -> None:
    await write(smsc, "yes")
    await received(sdk, 1)
    await write(smsc, "yes")
    assert [message.body for message in await received(sdk, 2)] == ["yes", "yes"]


async def test_a_message_to_a_number_that_is_not_ours_is_kept(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    await write(smsc, "who is there?", to="+447700900777")
    connection = await asyncpg.connect(gateway.database_url)
    async with asyncio.timeout(WAIT_S):
        while not (rows := await connection.fetch("SELECT * FROM kept_deliveries")):
            await asyncio.sleep(0.02)
    await connection.close()
    assert rows[0]["reason"] == "unknown number"
    assert rows[0]["payload"] == b"who is there?"
    assert smsc.counters.deliveries_answered == 1
    async with asyncio.timeout(WAIT_S):
        while not (codes := await gateway.pipeline.runtime.pool.fetch("SELECT code FROM alerts")):
            await asyncio.sleep(0.02)
    assert [row["code"] for row in codes] == [21601]


async def test_a_carrier_that_writes_to_many_unknown_numbers_is_one_alert(
    smsc: Smsc, gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    """The carrier chooses the numbers."""
    for number in range(5):
        await write(smsc, "who is there?", to=f"+44770090070{number}")
    async with asyncio.timeout(WAIT_S):
        while gateway.inner.inbound.counts["unknown number"] < 5:
            await asyncio.sleep(0.02)
        while not (codes := await gateway.pipeline.runtime.pool.fetch("SELECT code FROM alerts")):
            await asyncio.sleep(0.02)
    assert [row["code"] for row in codes] == [21601]


async def test_with_the_gateway_killed_nothing_is_lost_or_doubled(
    database_url: str, tmp_path: Path
) -> None:
    """Messages arrive while it is down and while it is up; killed twice in between."""
    smsc = Smsc(Scenario(), seed=5)
    await smsc.start()
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    try:
        await process.start()
        sdk = await Sdk.provisioned(process.base_url)
        expected = set()
        for round_ in range(3):
            for number in range(20):
                text = f"{round_}/{number} " + "y" * 200
                expected.add(text)
                await write(smsc, text)
            await process.kill()
            text = f"while down {round_}"
            expected.add(text)
            await write(smsc, text)
            await process.start()
        messages = await received(sdk, len(expected))
        bodies = [message.body for message in messages]
        assert sorted(bodies) == sorted(expected)
        await process.stop()
    finally:
        await smsc.stop()


@pytest.mark.parametrize(
    ("first", "ended", "stored"),
    [
        ("simulator/1#1", "simulator/1#1", 1),
        ("simulator/1#1", "", 2),
        ("0123abcd.simulator/1#1", "0123abcd", 1),  # another worker's bind, and that worker
        ("0123abcd.simulator/1#1", "4567cdef", 2),
    ],
)
async def test_what_comes_again_by_another_bind_is_one_message_if_the_first_has_ended(
    start_gateway: Start, smsc: Smsc, first: str, ended: str, stored: int
) -> None:
    """A bind breaks before its answer is read: the carrier sends it by the next one at once."""
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, binds=2),))
    sdk = await gateway.sdk()
    inbound, answers = gateway.inner.inbound, []
    [carrier_id] = gateway.pipeline.connectors.by_id
    delivery = DeliverSm(
        SmeAddress(1, 1, HANDSET[1:]), SmeAddress(1, 1, NUMBERS[0][1:]), b"the same word"
    )

    async def comes(connection: str) -> None:
        wanted = len(answers) + 1
        inbound.received(carrier_id, connection, delivery, lambda *answer: answers.append(answer))
        await until(lambda: len(answers) == wanted)

    await comes(first)
    if ended:
        inbound.lost(ended)
    await comes("simulator/2#1")
    assert len(await received(sdk, stored)) == stored
    assert [status for _, status in answers] == [v.ESME_ROK, v.ESME_ROK]


async def test_a_reference_that_cannot_be_harms_nobody(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    for number in (1, 2):
        odd.deliver(
            number,
            b"half ",
            tlvs=(
                (v.SAR_MSG_REF_NUM, b"\xff" * 8),
                (v.SAR_TOTAL_SEGMENTS, b"\x02"),
                (v.SAR_SEGMENT_SEQNUM, bytes((number,))),
            ),
        )
    [message] = await received(sdk, 1)
    assert message.body == "half half "
    await odd.answered(2)
    assert odd.answers == [0, 0]


async def test_two_long_messages_with_one_reference_are_two(
    start_gateway: Start, odd: OddCarrier
) -> None:
    """Some senders never change it; the connection lives, so nothing was sent again."""
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    for start, end in ((1, b"at 11:00"), (3, b"at 11:05")):
        odd.deliver(start, udh8(7, 2, 1) + b"pump 3 ", esm_class=0x40)
        odd.deliver(start + 1, udh8(7, 2, 2) + end, esm_class=0x40)
        await odd.answered(start + 1)
    bodies = [message.body for message in await received(sdk, 2)]
    assert bodies == ["pump 3 at 11:00", "pump 3 at 11:05"]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("order", [(1, 1, 2, 2), (1, 2, 1, 2), (2, 2, 1, 1)])
async def test_two_equal_long_messages_with_one_reference_are_two(
    start_gateway: Start, odd: OddCarrier, order: tuple[int, ...], at_once: bool
) -> None:
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    for sequence, number in enumerate(order, start=1):
        odd.deliver(sequence, udh8(7, 2, number) + b"half ", esm_class=0x40)
        if not at_once:
            await odd.answered(sequence)
    bodies = [message.body for message in await received(sdk, 2)]
    assert bodies == ["half half "] * 2
    await odd.answered(4)
    assert odd.answers == [0] * 4


async def alerts_of(sdk: Sdk, code: int) -> list[Any]:
    """The account's alerts with a code, once there is one."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
            found = [one for one in listed if one.error_code == str(code)]
            if found:
                return found
            await asyncio.sleep(0.02)


async def test_a_message_whose_part_never_comes_is_delivered_as_far_as_it_came(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start_gateway(odd.port)
    gateway.inner.inbound.join_for_s = 0.3
    sdk = await gateway.sdk()
    odd.deliver(1, udh8(9, 3, 1) + b"first ", esm_class=0x40)
    odd.deliver(2, udh8(9, 3, 3) + b"third", esm_class=0x40)
    [message] = await received(sdk, 1)
    assert (message.body, message.num_segments, message.error_code) == ("first third", "3", 30009)
    [alert] = await alerts_of(sdk, 30009)
    assert alert.resource_sid == message.sid
    await odd.answered(2)
    assert odd.answers == [0, 0]


async def test_a_broken_header_is_an_ordinary_text(start_gateway: Start, odd: OddCarrier) -> None:
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    for number, payload in enumerate((b"\xff\x00\x03hello", b"\x05\x00\x03\x01", b"\x00"), start=1):
        odd.deliver(number, payload, esm_class=0x40)
    await odd.answered(3)
    assert len(await received(sdk, 3)) == 3
    odd.deliver(4, b"still here")
    assert (await received(sdk, 4))[-1].body == "still here"

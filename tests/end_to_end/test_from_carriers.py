"""What carriers deliver, peculiar as it is: whose number it is, what it says, who may say it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from odd_carrier import FAST, HANDSET, OddCarrier
from testing import NUMBERS, WAIT_S, GatewayUnderTest, Sdk, carrier

from smpp import vocabulary as v
from smpp.alphabet import encode_gsm7, pack
from smpp.concat import udh8

Start = Callable[..., Awaitable[GatewayUnderTest]]
US_NUMBER = "+12025550114"


def odd_one(odd: OddCarrier, **options: Any) -> dict[str, Any]:
    return carrier(odd.port, name="odd", refusal_waits=FAST, **options)


async def inbound(sdk: Sdk, count: int = 1) -> list[Any]:
    """The account's inbound messages, oldest first, once there are so many."""
    async with asyncio.timeout(WAIT_S):
        while True:
            listed = await sdk.call(sdk.client.messages.list)
            found = [one for one in reversed(listed) if one.direction == "inbound"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def rows(gateway: GatewayUnderTest, query: str, *values: Any) -> list[Any]:
    """What a query finds, once it finds something."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if found := await gateway.pipeline.runtime.pool.fetch(query, *values):
                return list(found)
            await asyncio.sleep(0.02)


async def alerts(gateway: GatewayUnderTest, code: int) -> list[Any]:
    return await rows(gateway, "SELECT * FROM alerts WHERE code = $1 ORDER BY id", code)


async def is_open(sdk: Sdk, to: str) -> bool:
    """Whether a message to this number goes out."""
    message = await sdk.send("an offer", to)
    async with asyncio.timeout(WAIT_S):
        while (found := await sdk.fetch(message.sid)).status in ("accepted", "queued", "sending"):
            await asyncio.sleep(0.02)
    return bool(found.error_code != 21610)


@pytest.mark.parametrize(
    ("country", "ton", "source", "number"),
    [
        ("US", 2, "3125550123", "+13125550123"),
        ("US", 0, "2025550123", "+12025550123"),
        ("GB", 2, "07700900601", "+447700900601"),
        (None, 0, "00447700900604", "+447700900604"),
        (None, 1, "47580009083060", "+47580009083060"),
    ],
)
async def test_a_national_number_is_the_carriers_countrys(
    start_gateway: Start, odd: OddCarrier, country: str | None, ton: int, source: str, number: str
) -> None:
    """Its STOP blocks it, and nobody else."""
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd, inbound_country=country),))
    sdk = await gateway.sdk()
    assert await odd.delivered(b"STOP", source=source, ton=ton) == v.ESME_ROK
    [message] = await inbound(sdk)
    assert message.from_ == number
    assert not await is_open(sdk, number)


async def test_a_national_number_without_a_country_stays_as_it_came_and_is_told_once(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    for source in ("3125550123", "2025550123", "6465550123"):
        await odd.delivered(b"STOP", source=source, ton=2)
    messages = await inbound(sdk, 3)
    assert [message.from_ for message in messages] == ["3125550123", "2025550123", "6465550123"]
    [alert] = await alerts(gateway, 99011)
    assert alert["resource"] == "odd"
    assert await is_open(sdk, "+13125550123")
    assert await is_open(sdk, "+31202555012")


@pytest.mark.parametrize(
    ("country", "number", "destination", "ton"),
    [
        ("US", US_NUMBER, "2025550114", 2),
        ("US", US_NUMBER, "12025550114", 0),
        ("US", US_NUMBER, "0012025550114", 1),
        ("US", US_NUMBER, "(202) 555-0114", 2),
        (None, NUMBERS[0], "447700900101", 2),
        (None, NUMBERS[0], "00447700900101", 2),
        (None, NUMBERS[0], "4407700900101", 1),
        (None, NUMBERS[0], "+447700900101 ", 1),
        (None, NUMBERS[0], "447700900101 ", 0),
        (None, NUMBERS[0], "447700900101 ", 2),
        (None, NUMBERS[0], "447700900101 ", 3),
    ],
)
async def test_our_own_number_is_found_however_it_is_written(
    start_gateway: Start,
    odd: OddCarrier,
    country: str | None,
    number: str,
    destination: str,
    ton: int,
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd, inbound_country=country),))
    await gateway.bound()
    sdk = await Sdk.provisioned(gateway.base_url, (number,))
    await odd.delivered(b"hello", to=destination, to_ton=ton)
    [message] = await inbound(sdk)
    assert message.to == number


@pytest.mark.parametrize(
    ("source", "others"),
    [
        ("447715518094", ("+44 (0) 7715518094", "+4407715518094", "+44 7715 518094")),
        ("4407715518094", ("+447715518094",)),
        ("44-7715-518094 ", ("+447715518094",)),
        ("5215512345678", ("+525512345678", "+52 1 55 1234 5678")),
        ("525512345678", ("+5215512345678",)),
    ],
)
async def test_a_stop_holds_for_every_spelling_of_a_number(
    start_gateway: Start, odd: OddCarrier, source: str, others: tuple[str, ...]
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    await odd.delivered(b"STOP", source=source, ton=1)
    await inbound(sdk)
    for to in others:
        assert not await is_open(sdk, to)


async def test_a_message_from_a_machine_can_be_answered(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    for source in ("47580009083060", "861440012345678"):
        sent = await sdk.send("reset", f"+{source}")
        await sdk.reaches(sent.sid, "sent")


async def two_carriers(
    start_gateway: Start, odd: OddCarrier, smsc_port: int, **options: Any
) -> tuple[GatewayUnderTest, Sdk]:
    """The numbers are the simulator's; the odd one is another."""
    gateway = await start_gateway(smsc_port, carriers=(carrier(smsc_port), odd_one(odd, **options)))
    sdk = await gateway.sdk()
    return gateway, sdk


async def test_a_stop_from_another_carrier_blocks_nobody(
    start_gateway: Start, odd: OddCarrier, smsc: Any
) -> None:
    gateway, sdk = await two_carriers(start_gateway, odd, smsc.port)
    assert await odd.delivered(b"STOP") == v.ESME_ROK
    [kept] = await rows(gateway, "SELECT * FROM kept_deliveries")
    assert (kept["reason"], kept["payload"]) == ("another carrier's number", b"STOP")
    [alert] = await alerts(gateway, 99011)
    assert alert["resource"] == "odd"
    assert await is_open(sdk, HANDSET)


@pytest.mark.parametrize("whose", ["any", ["simulator"], [NUMBERS[0]], ["+44 7700 900101"]])
async def test_a_carrier_may_deliver_for_whom_its_settings_say(
    start_gateway: Start, odd: OddCarrier, smsc: Any, whose: Any
) -> None:
    _, sdk = await two_carriers(start_gateway, odd, smsc.port, delivers_for=whose)
    await odd.delivered(b"STOP")
    await inbound(sdk)
    assert not await is_open(sdk, HANDSET)


async def test_a_list_lets_through_what_it_names_and_nothing_else(
    start_gateway: Start, odd: OddCarrier, smsc: Any
) -> None:
    gateway, _ = await two_carriers(start_gateway, odd, smsc.port, delivers_for=[NUMBERS[1]])
    await odd.delivered(b"STOP")
    assert await rows(gateway, "SELECT * FROM kept_deliveries")


@pytest.mark.parametrize("tail", [b"\x15\x01\0\x09ab", b"abcd"])
async def test_a_cut_parameter_costs_neither_the_message_nor_the_receipt(
    start_gateway: Start, odd: OddCarrier, tail: bytes
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    sent = await sdk.send("hello", HANDSET)
    await sdk.reaches(sent.sid, "sent")
    receipt = b"id:00000001 submit date:2611300900 done date:2611300900 stat:DELIVRD err:000"
    assert await odd.delivered(receipt, esm_class=v.ESM_RECEIPT, tail=tail) == v.ESME_ROK
    await sdk.reaches(sent.sid, "delivered")
    assert await odd.delivered(b"STOP", tail=tail) == v.ESME_ROK
    [message] = await inbound(sdk)
    assert message.body == "STOP"
    assert not await is_open(sdk, HANDSET)


async def test_no_dress_hides_a_stop(start_gateway: Start, odd: OddCarrier) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    texts = ("STOP\u200b", "\u202aSTOP\u202c", "STOP\ufe0f", "STOP。", "(STOP)", "STOP 🛑")
    for number, text in enumerate(texts):
        source = f"44770090070{number}"
        await odd.delivered(text.encode("utf-16-be"), source=source, data_coding=8)
        assert not await is_open(sdk, f"+{source}"), ascii(text)


@pytest.mark.parametrize("coding", [0, 1, 3, 8])
async def test_a_nul_behind_a_stop_is_no_part_of_it(
    start_gateway: Start, odd: OddCarrier, coding: int
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    text = "STOP\0".encode("utf-16-be") if coding == 8 else b"STOP\0"
    await odd.delivered(text, data_coding=coding)
    await odd.delivered(b"", data_coding=coding, tlvs=((v.MESSAGE_PAYLOAD, text),))
    assert [one.body for one in await inbound(sdk, 2)] == ["STOP", "STOP"]
    assert not await is_open(sdk, HANDSET)


@pytest.mark.parametrize(
    ("terminator", "bodies"),
    [
        ("learn", ["me@", "me@", "me@", "me@", "me", "you@", "you", "me@"]),
        ("nul", ["me", "me", "me", "me", "me", "you@", "you", "me"]),
        ("none", ["me@", "me@", "me@", "me@", "me@", "you@@", "you", "me@"]),
    ],
)
async def test_a_nul_that_ends_every_text_is_learnt_or_set(
    start_gateway: Start, odd: OddCarrier, terminator: str, bodies: list[str]
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd, text_terminator=terminator),))
    sdk = await gateway.sdk()
    for n, text in enumerate((*[b"me\0"] * 5, b"you\0\0", b"you", b"me\0")):
        await odd.delivered(text, source=f"44770090050{n}")  # one handset would prove nothing
    assert [one.body for one in await inbound(sdk, 8)] == bodies


async def test_packed_parts_and_utf8_are_read_as_the_carriers_settings_say(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd, default_alphabet="packed"),))
    sdk = await gateway.sdk()
    for number, text in ((1, "First part, "), (2, "second part.")):
        octets = udh8(9, 2, number) + pack(encode_gsm7(text), 1)
        await odd.delivered(octets, esm_class=v.ESM_UDHI)
    assert (await inbound(sdk))[0].body == "First part, second part."
    path = "/tandem/v1/Carriers/odd"
    status, _ = await sdk.operate("POST", path, json={"default_alphabet": "utf8"})
    assert status == 200
    await odd.delivered("Grüße €".encode())
    assert (await inbound(sdk, 2))[1].body == "Grüße €"
    sent = await sdk.send("Grüße € zurück", HANDSET)
    await sdk.reaches(sent.sid, "sent")
    assert "Grüße € zurück".encode() in odd.submitted[-1]


def receipt(carrier_id: str, stat: str = "DELIVRD") -> bytes:
    return (
        f"id:{carrier_id} sub:001 dlvrd:001 submit date:2611300900 done date:2611300900"
        f" stat:{stat} err:000 text:x"
    ).encode()


@pytest.mark.parametrize("restarted", [False, True])
async def test_one_carrier_id_for_two_messages_closes_the_right_one(
    start_gateway: Start, odd: OddCarrier, restarted: bool
) -> None:
    """Also when nothing but the table remembers whose the id was."""
    odd.message_id = "TWICE"
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    sids = []
    for to in ("+441632960188", "+441632960199"):
        message = await sdk.send("x", to, from_=NUMBERS[0])
        await sdk.reaches(message.sid, "sent")
        sids.append(message.sid)
    await gateway.pipeline.writer.drained()
    if restarted:
        gateway.pipeline.receipts._recent.clear()
    await odd.delivered(receipt("TWICE", "UNDELIV"), source="441632960188", esm_class=v.ESM_RECEIPT)
    await sdk.reaches(sids[0], "undelivered")
    assert (await sdk.fetch(sids[1])).status == "sent"
    await odd.delivered(receipt("TWICE"), source="441632960100", esm_class=v.ESM_RECEIPT)
    [kept] = await rows(gateway, "SELECT * FROM kept_deliveries WHERE reason = 'unmatched'")
    assert kept["source"] == "441632960100"
    await odd.delivered(receipt("TWICE"), source="441632960199", esm_class=v.ESM_RECEIPT)
    await sdk.reaches(sids[1], "delivered")


@pytest.mark.parametrize(
    ("head", "esm_class"),
    [(b"\0", 0x04), (b"\0", 0x00), (b"\x05\0\x03\x07\x01\x01", 0x44), (b"", 0x08)],
)
async def test_a_receipt_is_one_whatever_precedes_it_and_whatever_it_is_marked_as(
    start_gateway: Start, odd: OddCarrier, head: bytes, esm_class: int
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    sent = await sdk.send("x", HANDSET)
    await sdk.reaches(sent.sid, "sent")
    await odd.delivered(head + receipt("00000001"), esm_class=esm_class)
    await sdk.reaches(sent.sid, "delivered")
    assert [one.direction for one in await sdk.call(sdk.client.messages.list)] == ["outbound-api"]


@pytest.mark.parametrize(
    ("octets", "coding"),
    [
        (b"STOP", 0),  # standard ones hold whatever the service says
        (b"Alto!", 0),
        (encode_gsm7("señal"), 0),
        ("توقف".encode("utf-16-be"), 8),
        (("توقف" + "ا" * 30).encode("utf-16-be"), 8),  # as long as one can be
        (b"FINI", 0),  # of another country's set, which holds in any
    ],
)
async def test_a_keyword_of_the_service_is_obeyed_though_it_is_marked_as_a_receipt(
    start_gateway: Start, odd: OddCarrier, octets: bytes, coding: int
) -> None:
    gateway = await start_gateway(odd.port, carriers=(odd_one(odd),))
    sdk = await gateway.sdk()
    form = {"FriendlyName": "x", "MessagingServiceSid": sdk.service_sid, "Enabled": "true"}
    status, made = await sdk.operate("POST", "/messaging/v3/OptOuts", data=form)
    assert status == 201
    keywords = [
        {"keyword_type": "STOP.SPANISH", "message_type": "ALL", "keywords": ["ALTO", "señal"]},
        {
            "keyword_type": "STOP.ARABIC",
            "message_type": "ALL",
            "keywords": ["توقف", "توقف" + "ا" * 30],
        },
        {"keyword_type": "STOP.FRENCH", "message_type": "FR", "keywords": ["FINI"]},
    ]
    path = f"/messaging/v3/OptOuts/{made['opt_out_sid']}/Keywords"
    status, answer = await sdk.operate("PUT", path, json={"keywords": keywords})
    assert status == 200, answer
    for text in (b"FERTIG", octets):
        fields = {"data_coding": coding, "esm_class": v.ESM_RECEIPT}
        assert await odd.delivered(text, **fields) == v.ESME_ROK
    [kept] = await rows(gateway, "SELECT * FROM kept_deliveries")
    assert (kept["reason"], kept["payload"]) == ("unreadable", b"FERTIG")
    [message] = await inbound(sdk)
    assert not await is_open(sdk, HANDSET), message.body

"""Explain and DryRun: why a sender, an encoding and a wait; what went over the wire; what if."""

from __future__ import annotations

from typing import Any

import pytest
from pools import Pool
from testing import GatewayUnderTest, Receiver, carrier

from smpp.smsc import Smsc

TO = "+447400900001"
NUMBERS = ("+447700900311", "+447700900312")


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


async def explained(pool: Pool, sid: str) -> dict[str, Any]:
    path = f"/2010-04-01/Accounts/{pool.sdk.account_sid}/Messages/{sid}/Explain.json"
    status, body = await pool.sdk.operate("GET", path)
    assert status == 200, body
    return dict(body)


async def tried(pool: Pool, **form: str) -> tuple[int, Any]:
    path = f"/2010-04-01/Accounts/{pool.sdk.account_sid}/Messages/DryRun.json"
    return await pool.sdk.operate("POST", path, data=form)


async def test_a_delivered_message_says_why_and_how(pool: Pool, receiver: Receiver) -> None:
    for number in NUMBERS:
        await pool.number(number)
    await pool.short_code("12345", "US")
    text = "“Hello” " + "x" * 200
    message = await pool.sdk.send(
        text, TO, messaging_service_sid=pool.sid, status_callback=receiver.url
    )
    await receiver.has([message.sid])
    why = await explained(pool, message.sid)

    assert why["sender"]["decided_by"] == {
        "rule": "numbers of the country",
        "source": "docs/spec/messaging-services.md#sticky-sender",
    }
    now = why["sender"]["now"]
    reasons = {one["address"]: one["reason"] for one in now["candidates"]}
    assert reasons["12345"] == "a short code reaches its own country only"
    assert now["sticky"]["sender"] == now["address"] == why["sender"]["address"]
    assert why["destination"]["country"] == "GB"

    encoding = why["encoding"]
    assert (encoding["encoding"], encoding["segments"]) == ("GSM-7", 2)
    assert encoding["smart_encoding"] == {"applied": True, "replaced": {"“": '"', "”": '"'}}
    assert encoding["not_in_gsm7"] == []

    assert [step["event"] for step in why["timeline"]] == [
        "accepted",
        "queued",
        "sent",
        "delivered",
    ]
    assert all(step["after_s"] >= 0 for step in why["timeline"])
    assert why["route"]["carrier"] == "simulator"

    summaries = [(pdu["direction"], pdu["summary"].split()[0]) for pdu in why["pdus"]]
    assert summaries.count(("out", "submit_sm")) == 2
    assert summaries.count(("in", "submit_sm_resp")) == 2
    assert summaries.count(("in", "deliver_sm")) == 2
    assert summaries.count(("out", "deliver_sm_resp")) == 2
    assert all(bytes.fromhex(pdu["hex"]) for pdu in why["pdus"])
    told = [(call["told"], call["http_status"]) for call in why["webhooks"]]
    assert told == [("queued", 200), ("sent", 200), ("delivered", 200)]


async def test_messages_to_one_recipient_are_told_apart(pool: Pool) -> None:
    await pool.number(NUMBERS[0])
    sids = []
    for n in range(3):
        message = await pool.sdk.send(f"text {n}", TO, messaging_service_sid=pool.sid)
        await pool.sdk.reaches(message.sid, "delivered")
        sids.append(message.sid)
    for n, sid in enumerate(sids):
        submits = [
            bytes.fromhex(pdu["hex"])
            for pdu in (await explained(pool, sid))["pdus"]
            if pdu["summary"].startswith("submit_sm ")
        ]
        assert len(submits) == 1
        assert f"text {n}".encode() in submits[0]
    assert (await explained(pool, sids[1]))["sender"]["decided_by"]["rule"] == "sticky sender"


async def test_a_failed_message_says_its_code(pool: Pool) -> None:
    await pool.short_code("12345", "US")
    message = await pool.sdk.send("x", TO, messaging_service_sid=pool.sid)
    await pool.sdk.reaches(message.sid, "failed")
    why = await explained(pool, message.sid)
    assert (why["error_code"], why["sender"]["address"]) == (21703, None)
    assert why["sender"]["decided_by"]["rule"] == "no sender"
    assert why["pdus"] == []


async def test_what_keeps_a_text_out_of_gsm7_is_named(pool: Pool) -> None:
    await pool.number(NUMBERS[0])
    status, body = await tried(pool, To=TO, MessagingServiceSid=pool.sid, Body="ça va 🎉?")
    assert status == 200
    assert body["encoding"]["encoding"] == "UCS-2"
    assert set(body["encoding"]["not_in_gsm7"]) == {"ç", "🎉"}


async def test_a_dry_run_answers_and_leaves_nothing(pool: Pool, smsc: Smsc) -> None:
    for number in NUMBERS:
        await pool.number(number)
    status, body = await tried(pool, To=TO, MessagingServiceSid=pool.sid, Body="hello")
    assert (status, body["would_be"], body["error_code"]) == (200, "sent", None)
    assert body["sender"]["address"] in NUMBERS
    assert body["sender"]["sticky"] is None
    assert body["wait"]["segments_ahead"] == 0
    assert await pool.sdk.call(pool.sdk.client.messages.list) == []
    assert list(smsc.ledger.lines()) == []

    sent = await pool.sender_of(TO)
    _, body = await tried(pool, To=TO, MessagingServiceSid=pool.sid, Body="hello")
    assert (body["sender"]["address"], body["sender"]["sticky"]["sender"]) == (sent, sent)
    taken = [step["outcome"] for step in body["sender"]["steps"] if step["rule"] == "sticky sender"]
    assert taken == [f"takes {sent}"]


async def test_a_dry_run_is_refused_like_the_send(pool: Pool) -> None:
    await pool.number(NUMBERS[0])
    for form, status, code in (
        ({"To": "nobody", "Body": "x"}, 400, 21211),
        ({"To": TO, "Body": "x" * 1601}, 400, 21617),
    ):
        found, body = await tried(pool, MessagingServiceSid=pool.sid, **form)
        assert (found, body["code"]) == (status, code)
    await pool.sdk.call(pool.service.phone_numbers.list)
    _, body = await tried(pool, To="+12125550123", MessagingServiceSid=pool.sid, Body="x")
    assert (body["would_be"], body["error_code"]) == ("failed", 21703)


async def test_redacting_erases_what_was_kept_of_the_wire(
    pool: Pool, gateway: GatewayUnderTest, tmp_path: Any
) -> None:
    await pool.number(NUMBERS[0])
    message = await pool.sdk.send("a secret text", TO, messaging_service_sid=pool.sid)
    await pool.sdk.reaches(message.sid, "delivered")
    assert (await explained(pool, message.sid))["pdus"] != []
    await pool.sdk.call(pool.sdk.client.messages(message.sid).update, body="")
    assert (await explained(pool, message.sid))["pdus"] == []
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*.journal"))
    assert kept
    assert b"a secret text" not in kept


@pytest.mark.parametrize(
    ("ways", "text", "encoding", "octets", "tables"),
    [
        ({"national_tables": (1,)}, "ş" * 90, "GSM-7", [90], {"locking": 1, "single": None}),
        ({"default_alphabet": "latin1"}, "€" + "x" * 79, "UCS-2", [134, 26], None),
        ({"concatenation": "udh16"}, "x" * 306, "GSM-7", [152, 152, 2], None),
        ({}, "ş" * 90, "UCS-2", [134, 46], None),
    ],
)
async def test_the_encoding_is_that_of_the_carrier(
    start_gateway: Any,
    smsc: Smsc,
    ways: dict[str, Any],
    text: str,
    encoding: str,
    octets: list[int],
    tables: dict[str, int | None] | None,
) -> None:
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, **ways),))
    pool = await Pool.of(gateway, smsc)
    await pool.number(NUMBERS[0])
    _, body = await tried(pool, To=TO, MessagingServiceSid=pool.sid, Body=text)
    message = await pool.sdk.send(text, TO, messaging_service_sid=pool.sid)
    await pool.sdk.reaches(message.sid, "delivered")
    for shown in (body["encoding"], (await explained(pool, message.sid))["encoding"]):
        assert (shown["encoding"], shown["octets_of_segments"]) == (encoding, octets)
        assert shown["segments"] == len(octets)
        assert shown["national_tables"] == (tables or {"locking": None, "single": None})
    assert len(list(smsc.ledger.lines(TO))) == len(octets)

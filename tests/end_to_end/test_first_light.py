"""The main job, end to end: the real SDK, real sockets, a real Postgres, a real SMPP peer."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
from testing import (
    NUMBERS,
    TO,
    Client50,
    GatewayProcess,
    GatewayUnderTest,
    Receiver,
    Sdk,
    free_port,
    until,
)

from smpp.smsc import CarrierScenario, Faults, Scenario, ScenarioRule, Smsc

BODY = "Revenge of the Sith was clearly the best of the prequel trilogy."


def ledger(smsc: Smsc) -> list[dict[str, Any]]:
    """Every submit that the carrier took, as its control endpoint shows it."""
    return [json.loads(line) for line in smsc.ledger.lines()]


def destinations(smsc: Smsc) -> Counter[str]:
    """How often the carrier saw each destination."""
    return Counter(entry["destination"] for entry in ledger(smsc))


async def test_the_sdk_sends_and_the_message_is_delivered(sdk: Sdk, smsc: Smsc) -> None:
    message = await sdk.send(BODY, TO)

    assert message.status == "accepted"
    assert re.fullmatch(r"SM[0-9a-f]{32}", message.sid)
    assert message.from_ is None
    assert message.to == TO
    assert message.body == BODY
    assert message.num_segments == "0"
    assert message.num_media == "0"
    assert message.direction == "outbound-api"
    assert message.messaging_service_sid == sdk.service_sid
    assert message.account_sid == sdk.account_sid
    assert message.error_code is None
    assert message.error_message is None
    assert message.price is None
    assert message.api_version == "2010-04-01"
    assert message.date_sent is None
    assert message.date_created == message.date_updated
    assert message.uri == f"/2010-04-01/Accounts/{sdk.account_sid}/Messages/{message.sid}.json"
    assert message.subresource_uris["media"].endswith(f"/Messages/{message.sid}/Media.json")

    final = await sdk.reaches(message.sid, "delivered")
    assert final.from_ in NUMBERS
    assert final.num_segments == "1"
    assert final.date_sent is not None
    [entry] = ledger(smsc)
    assert entry["text"] == BODY
    assert entry["source"] == final.from_.lstrip("+")
    assert entry["destination"] == TO.lstrip("+")


async def test_long_and_unicode_texts_arrive_whole(sdk: Sdk, smsc: Smsc) -> None:
    texts = ["x" * 400, "Grüße 🎉 " * 20]
    sids = [(await sdk.send(text)).sid for text in texts]
    finals = [await sdk.reaches(sid, "delivered") for sid in sids]

    assert [final.num_segments for final in finals] == ["3", "3"]
    parts: dict[int, dict[int, str]] = {}
    for entry in ledger(smsc):
        assert entry["total"] == 3
        parts.setdefault(entry["reference"], {})[entry["segment"]] = entry["text"]
    joined = {"".join(text for _, text in sorted(part.items())) for part in parts.values()}
    assert joined == set(texts)


async def test_two_thousand_messages_arrive_once_with_their_callbacks_in_order(
    sdk: Sdk, smsc: Smsc, receiver: Receiver
) -> None:
    client = Client50(sdk)
    await client.send(2000, StatusCallback=receiver.url)
    assert len(client.sids) == 2000
    await receiver.has(client.sids)

    assert {tuple(receiver.statuses[sid]) for sid in client.sids} == {
        ("queued", "sent", "delivered")
    }
    assert receiver.bad_signatures == 0
    seen = destinations(smsc)
    assert len(seen) == 2000
    assert set(seen.values()) == {1}


async def test_a_kill_loses_nothing_that_was_accepted(
    database_url: str, smsc: Smsc, receiver: Receiver, tmp_path: Path
) -> None:
    """kill -9 in the middle of 2,000 sends, then a restart (docs/reliability.md#the-one-ambiguity,
    docs/spec/messaging-services.md#mms-and-mms-converter)."""
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    client = Client50(sdk)

    async def kill_midway() -> None:
        await until(lambda: len(client.sids) >= 700)
        await process.kill()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.send(2000, StatusCallback=receiver.url))
        tasks.create_task(kill_midway())
    accepted = list(client.sids)
    assert 700 <= len(accepted) < 2000
    written_before = destinations(smsc)

    await process.start()
    await receiver.has(accepted)
    for sid in accepted:
        assert (await sdk.fetch(sid)).status == "delivered"

    seen = destinations(smsc)
    doubled = {number for number, times in seen.items() if times > 1}
    print(f"\n{len(accepted)} accepted before the kill, {len(doubled)} of them submitted twice")
    assert max(seen.values()) <= 2
    # Only what had been written, and had no recorded answer, was sent a second time.
    assert doubled <= set(written_before)
    # … and is marked as what it may be (docs/reliability.md#the-one-ambiguity).
    connection = await asyncpg.connect(database_url)
    marked = await connection.fetch("SELECT recipient FROM messages WHERE flags & 1 = 1")
    await connection.close()
    assert doubled <= {row["recipient"].lstrip("+") for row in marked}
    assert len(doubled) <= 1000, "more than one flush was in flight"
    for sid in accepted:  # at least once, in order, ending with the final one
        order = [
            s for i, s in enumerate(receiver.statuses[sid]) if s not in receiver.statuses[sid][:i]
        ]
        assert order == ["queued", "sent", "delivered"]
    assert await process.stop() == 0


async def test_with_the_carrier_down_messages_stay_queued_and_leave_when_it_is_back(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    port = smsc.port
    await smsc.stop()
    await until(lambda: not any(c.up for c in gateway.pipeline.connectors.by_id.values()))
    sids = [(await sdk.send(f"number {n}", f"+44163296000{n}")).sid for n in range(5)]
    assert {(await sdk.fetch(sid)).status for sid in sids} == {"queued"}

    back = Smsc(Scenario(), seed=2)
    await back.start(port=port)
    try:
        for sid in sids:
            await sdk.reaches(sid, "delivered")
        assert set(destinations(back).values()) == {1}
    finally:
        await back.stop()


async def test_order_to_one_recipient_is_kept(sdk: Sdk, smsc: Smsc) -> None:
    """Many messages to one recipient leave in acceptance order, one in flight at a time."""
    pool = await sdk.call(sdk.client.messaging.v1.services(sdk.service_sid).phone_numbers.list)
    assert len(pool) == 2
    sids = []
    for number in range(20):
        message = await sdk.send(f"{number}", from_=NUMBERS[0])
        sids.append(message.sid)
    await sdk.reaches(sids[-1], "delivered")
    texts = [entry["text"] for entry in ledger(smsc)]
    assert texts == [str(number) for number in range(20)]


async def test_peculiar_pdus_from_the_carrier_cost_no_message(start_gateway: object) -> None:
    """Malformed PDUs, of which some break the connection: nothing is lost."""
    scenario = Scenario(
        carriers=(
            CarrierScenario(
                rules=(ScenarioRule(),),
                faults=Faults(
                    malformed_every=7,
                    malformed=(
                        "unknown_command",
                        "cut_deliver",
                        "udhi_empty",
                        "bad_tlv",
                        "vendor_tlv",
                        "stray_response",
                        "short_frame",
                    ),
                ),
            ),
        )
    )
    smsc = Smsc(scenario, seed=3)
    await smsc.start()
    try:
        gateway = await start_gateway(smsc.port)  # type: ignore[operator]
        sdk = await gateway.sdk()
        client = Client50(sdk, connections=5)
        await client.send(100)
        assert len(client.sids) == 100
        for sid in client.sids:
            await sdk.reaches(sid, "delivered")
        assert smsc.counters.malformed_sent > 5
    finally:
        await smsc.stop()


async def test_callbacks_survive_a_receiver_that_is_down(sdk: Sdk, receiver: Receiver) -> None:
    failures = 3

    async def answer(form: dict[str, str]) -> int:
        nonlocal failures
        if failures:
            failures -= 1
            return 500
        return 200

    receiver.answer = answer
    message = await sdk.send(status_callback=receiver.url)
    await receiver.has([message.sid])
    assert receiver.statuses[message.sid] == ["queued", "sent", "delivered"]
    assert [form["EventNumber"] for form in receiver.forms] == ["1", "2", "3"]
    assert len(set(receiver.tokens)) == 3


async def test_a_restart_takes_up_what_waited_and_the_callbacks_it_owed(
    database_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Accepted with no carrier and no receiver; killed; both are there after the restart."""
    port = free_port()
    process = GatewayProcess(database_url, port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    down = True

    async def answer(form: dict[str, str]) -> int:
        return 503 if down else 200

    receiver.answer = answer
    sids = [(await sdk.send(str(n), status_callback=receiver.url)).sid for n in range(3)]
    await process.kill()
    assert receiver.forms == []

    down = False
    smsc = Smsc(Scenario(), seed=4)
    await smsc.start(port=port)
    try:
        await process.start()
        await receiver.has(sids)
        assert {tuple(receiver.statuses[sid]) for sid in sids} == {("queued", "sent", "delivered")}
        assert [e["text"] for e in ledger(smsc)] == ["0", "1", "2"] or set(
            destinations(smsc).values()
        ) == {3}
        await process.stop()
    finally:
        await smsc.stop()

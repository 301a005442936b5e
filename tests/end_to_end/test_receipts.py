"""Receipts in every way in which carriers get them wrong; the message ends right all the same."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from hooks import Hooks
from testing import (
    NUMBERS,
    WAIT_S,
    Client50,
    GatewayProcess,
    GatewayUnderTest,
    Receiver,
    Sdk,
    basic,
    carrier,
    free_port,
    until,
)

from gateway.messages.message import Status
from smpp.pdu import DeliverSm, SmeAddress
from smpp.receipt import IdForm
from smpp.smsc import CarrierScenario, Faults, Scenario, ScenarioRule, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


@asynccontextmanager
async def simulated(*rules: ScenarioRule, **options: Any) -> AsyncIterator[Smsc]:
    one = CarrierScenario(rules=rules or (ScenarioRule(),), **options)
    smsc = Smsc(Scenario(carriers=(one,)), seed=1)
    await smsc.start()
    try:
        yield smsc
    finally:
        await smsc.stop()


async def send(sdk: Sdk, count: int) -> list[str]:
    client = Client50(sdk, connections=10)
    await client.send(count)
    assert len(client.sids) == count
    return client.sids


async def statuses(sdk: Sdk, sids: list[str]) -> set[str]:
    listed = await sdk.call(sdk.client.messages.list, page_size=1000)
    return {message.status for message in listed if message.sid in set(sids)}


async def all_become(sdk: Sdk, sids: list[str], status: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while await statuses(sdk, sids) != {status}:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("spelling", "form"),
    [
        ("same", IdForm.RAW),
        ("decimal", IdForm.DECIMAL_TO_HEX),
        ("folded", IdForm.FOLDED),
        ("padded", IdForm.STRIPPED),
    ],
)
async def test_ids_are_matched_however_they_are_spelt_and_the_spelling_is_learnt(
    start_gateway: Start, spelling: str, form: IdForm
) -> None:
    async with simulated(ScenarioRule(receipt_id=spelling)) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        await all_become(sdk, await send(sdk, 60), "delivered")
        [known] = gateway.pipeline.receipts.spelling.values()
        assert known.learnt is form
        assert gateway.pipeline.receipts.counts["orphan"] == 0


async def test_a_change_of_the_spelling_is_matched_and_raises_an_alert(
    start_gateway: Start,
) -> None:
    faults = Faults(drift_after=60, drift_to="decimal")
    async with simulated(ScenarioRule(), faults=faults) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        for _ in range(2):
            await all_become(sdk, await send(sdk, 60), "delivered")
        connection = await asyncpg.connect(gateway.database_url)
        await until(lambda: gateway.pipeline.runtime.alerts.raised == 1)
        async with asyncio.timeout(WAIT_S):
            while not (rows := await connection.fetch("SELECT * FROM alerts")):
                await asyncio.sleep(0.02)
        assert "'as is', now 'decimal to hex'" in rows[0]["text"]
        await connection.close()


@pytest.mark.parametrize(
    "rule",
    [
        ScenarioRule(receipt_before_response=True),
        ScenarioRule(receipt_copies=3),
        ScenarioRule(receipt_on_other_bind=True),
        ScenarioRule(intermediate=True),
    ],
    ids=["before its response", "three times", "on another bind", "after an intermediate one"],
)
async def test_receipts_come_oddly_and_count_once(start_gateway: Start, rule: ScenarioRule) -> None:
    async with simulated(rule) as smsc:
        gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, binds=2),))
        sdk = await gateway.sdk()
        await all_become(sdk, await send(sdk, 60), "delivered")
        assert smsc.counters.submits == 60


@pytest.mark.parametrize("dialect", ["text", "tlv", "both", "short", "spaced", "ucs2"])
async def test_receipts_in_every_dialect_are_understood(start_gateway: Start, dialect: str) -> None:
    rules = (ScenarioRule(), ScenarioRule(prefix="4479000000", stat="UNDELIV", err="001"))
    async with simulated(*rules, receipts=dialect) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        good = await sdk.send(to="+441632960675")
        bad = await sdk.send(to="+447900000000")
        await sdk.reaches(good.sid, "delivered")
        final = await sdk.reaches(bad.sid, "undelivered")
        assert final.error_code in (30003, 30005, 30008)


async def test_a_receipt_for_an_unknown_id_is_kept_and_counted(start_gateway: Start) -> None:
    async with simulated(ScenarioRule(receipt_id="foreign")) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        message = await sdk.send()
        await sdk.reaches(message.sid, "sent")
        connection = await asyncpg.connect(gateway.database_url)
        async with asyncio.timeout(WAIT_S):
            while not (rows := await connection.fetch("SELECT * FROM kept_deliveries")):
                await asyncio.sleep(0.02)
        assert rows[0]["reason"] == "unmatched"
        assert b"stat:DELIVRD" in rows[0]["payload"]
        assert (await sdk.fetch(message.sid)).status == "sent"
        await connection.close()


async def test_long_messages_are_delivered_when_every_part_is(start_gateway: Start) -> None:
    async with simulated(ScenarioRule(receipt_jitter_s=0.05)) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        messages = [await sdk.send("x" * 400, f"+44163296070{n}") for n in range(5)]
        for message in messages:
            final = await sdk.reaches(message.sid, "delivered")
            assert final.num_segments == "3"
        assert smsc.counters.submits == 15


async def test_receipts_that_come_after_a_restart_find_their_messages(
    database_url: str, tmp_path: Path
) -> None:
    """Submitted and answered before the kill, receipted after it: also the parts of long ones."""
    async with simulated(ScenarioRule(receipt_after_s=2.0, receipt_id="decimal")) as smsc:
        process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
        await process.start()
        sdk = await Sdk.provisioned(process.base_url)
        sids = [(await sdk.send("x" * 200, from_=NUMBERS[0])).sid, (await sdk.send()).sid]
        for sid in sids:
            await sdk.reaches(sid, "sent")
        await process.kill()
        await process.start()
        for sid in sids:
            await sdk.reaches(sid, "delivered")
        assert smsc.counters.submits == 3
        await process.stop()


async def test_an_operator_sees_what_was_kept_and_how_ids_are_spelt(start_gateway: Start) -> None:
    rules = (ScenarioRule(receipt_id="decimal"), ScenarioRule(prefix="4479", receipt_copies=2))
    async with simulated(*rules) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        sids = [(await sdk.send(to=f"+441632960{n:03d}")).sid for n in range(100, 125)]
        await all_become(sdk, sids, "delivered")
        twice = await sdk.send(to="+447900000000")
        await sdk.reaches(twice.sid, "delivered")
        await until(lambda: gateway.pipeline.receipts.counts["duplicate"] == 1)

        headers = {"Authorization": basic(sdk.account_sid, sdk.auth_token)}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{sdk.base_url}/tandem/v1/Carriers/simulator"
            async with session.get(url) as response:
                status = (await response.json())["status"]
            assert status["receipt_ids"] == "decimal to hex"
            assert status["receipts"]["matched"] == 27
            async with asyncio.timeout(WAIT_S):
                while True:
                    async with session.get(f"{url}/Deliveries?Reason=duplicate") as response:
                        kept = (await response.json())["deliveries"]
                    if kept:
                        break
                    await asyncio.sleep(0.02)
        assert b"stat:DELIVRD" in bytes.fromhex(kept[0]["payload"])
        assert kept[0]["source"] == "447900000000"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (ScenarioRule(receipt_id="decimal", receipt_copies=2), "duplicate"),
        (
            ScenarioRule(receipt_id="decimal", receipt_before_response=True, answer_after_s=0.5),
            "matched late",
        ),
    ],
)
async def test_a_kept_receipt_is_erased_with_its_message_however_it_spells_the_id(
    start_gateway: Start, rule: ScenarioRule, reason: str
) -> None:
    async with simulated(rule) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        sent = await sdk.send("secret")
        await sdk.reaches(sent.sid, "delivered")
        connection = await asyncpg.connect(gateway.database_url)
        kept = "SELECT payload FROM kept_deliveries WHERE reason = $1"
        async with asyncio.timeout(WAIT_S):
            while not (rows := await connection.fetch(kept, reason)):
                await asyncio.sleep(0.02)
        assert [b"secret" in row["payload"] for row in rows] == [True]
        await sdk.call(sdk.client.messages(sent.sid).update, body="")
        assert await connection.fetchval(kept, reason) == b""
        await connection.close()


async def test_a_carriers_parameters_are_kept_and_told_by_its_list(
    start_gateway: Start, receiver: Receiver
) -> None:
    async with simulated(ScenarioRule(stat="UNDELIV", err="001"), receipts="both") as smsc:
        one = carrier(smsc.port, callback_tlvs=("message_state", "receipted_message_id"))
        gateway = await start_gateway(smsc.port, carriers=(one,))
        sdk = await gateway.sdk()
        message = await sdk.send(status_callback=receiver.url)
        await receiver.has([message.sid], last="undelivered")
        last = receiver.forms[-1]
        [entry] = [json.loads(line) for line in smsc.ledger.lines()]
        assert last["SmppTlv.receipted_message_id"] == entry["carrier_id"]
        assert last["SmppTlv.message_state"] == "0x05"
        assert not [name for name in last if name == "SmppTlv.network_error_code"]
        assert not [name for name in receiver.forms[0] if name.startswith("SmppTlv.")]
        assert receiver.bad_signatures == 0


@pytest.mark.parametrize("event_parameters", [True, False])
async def test_every_event_is_signed_by_all_that_it_says(
    start_gateway: Start, hooks: Hooks, event_parameters: bool
) -> None:
    """Of each kind of message, by the ordinary way first and then by the short one."""
    undelivered = ScenarioRule(prefix="4479", stat="UNDELIV", err="001")
    async with simulated(undelivered, ScenarioRule(), receipts="both") as smsc:
        one = carrier(smsc.port, callback_tlvs=("message_state", "receipted_message_id"))
        webhooks = {"allow_private": True, "event_parameters": event_parameters}
        gateway = await start_gateway(smsc.port, carriers=(one,), webhooks=webhooks)
        sdk = await gateway.sdk()
        for turn in range(3):
            for to in (f"+44790000000{turn}", f"+44780000000{turn}"):
                url = hooks.url(f"/status?turn={turn}&to=%2B{to[1:]}")
                sent = await sdk.send(to=to, from_=NUMBERS[0], status_callback=url)
                await sdk.reaches(sent.sid, "undelivered" if to[4] == "9" else "delivered")
                url = hooks.url(f"/service?turn={turn}")
                service = sdk.service_sid
                create = sdk.client.messages.create
                await sdk.call(
                    create, to=to, body="x", messaging_service_sid=service, status_callback=url
                )
        # `sent` and the last; of a service's, which are answered with `accepted`, `queued` before.
        await until(lambda: len(hooks.taken) == 6 * 2 + 6 * 3)
    assert all(taken.valid for taken in hooks.taken)
    forms = [taken.form for taken in hooks.taken]
    assert all(("EventNumber" in form) is event_parameters for form in forms)
    assert sum("MessagingServiceSid" in form for form in forms) == 6 * 3
    failed = [form for form in forms if form["MessageStatus"] == "undelivered"]
    assert len(failed) == 6
    assert all(form["ErrorCode"] and form["RawDlrDoneDate"] for form in failed)
    # A `sent` has them too where the receipt was there before it was told.
    last = [form for form in forms if form["MessageStatus"] in ("delivered", "undelivered")]
    assert len(last) == 12
    assert all("SmppTlv.message_state" in form for form in last)


async def test_parts_receipted_one_after_the_other_after_a_restart_make_a_whole(
    start_gateway: Start, database_url: str
) -> None:
    """The second comes while the first is being written, and nothing else holds the message."""
    async with simulated(ScenarioRule(receipt_copies=0)) as smsc:
        gateway = await start_gateway(smsc.port)
        sdk = await gateway.sdk()
        sid = (await sdk.send("x" * 200, from_=NUMBERS[0])).sid
        await sdk.reaches(sid, "sent")
        await gateway.stop()
        gateway = await start_gateway(smsc.port)
        receipts = gateway.pipeline.receipts
        assert not gateway.pipeline.runtime.live
        connection = await asyncpg.connect(database_url)
        answers: list[int] = []
        async with connection.transaction():  # which the write of a receipt must wait for
            rows = await connection.fetch("SELECT * FROM submissions ORDER BY segment FOR UPDATE")
            for number, row in enumerate(rows, 1):
                text = f"id:{row['carrier_message_id']} stat:DELIVRD err:000 text:"
                receipt = DeliverSm(
                    SmeAddress(1, 1, "441632960675"),
                    SmeAddress(1, 1, NUMBERS[0].lstrip("+")),
                    text.encode(),
                    esm_class=0x04,
                )
                receipts.received(
                    row["carrier_id"], receipt, lambda _, status: answers.append(status)
                )
                await until(lambda number=number: receipts.counts["matched"] == number)  # type: ignore[misc]
                gc.collect()
        await until(lambda: len(answers) == 2)
        status = await connection.fetchval("SELECT status FROM messages")
        assert Status(status) is Status.DELIVERED
        await connection.close()

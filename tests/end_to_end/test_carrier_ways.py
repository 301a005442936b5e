"""Carriers with ways of their own, through the whole gateway: real sockets, real Postgres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from carriers import StartSmsc, add_number, post, sdk_of, taken
from odd_carrier import FAST
from testing import (
    NUMBERS,
    TO,
    GatewayProcess,
    GatewayUnderTest,
    Sdk,
    carrier,
    free_port,
    until,
)

from gateway.loadtest.reconcile import compare, read_ledger
from gateway.messages.message import Direction, Status
from smpp import vocabulary as v
from smpp.smsc import CarrierScenario, ScenarioRule, Smsc
from smpp.smsc.scenario import changed
from storage import messages as message_rows
from storage.ids import id_at

CERTIFICATES = Path(__file__).parents[1] / "unit" / "smpp" / "certificates"
StartGateway = Callable[..., Awaitable[GatewayUnderTest]]


# Congestion --------------------------------------------------------------------------------


async def test_a_throttling_carrier_gets_everything_once_and_in_order(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    port = free_port()
    gateway = await start_gateway(port, carriers=(carrier(port, refusal_waits=FAST),))
    sdk = await Sdk.provisioned(gateway.base_url)
    sids = []
    for number in range(60):
        # Every third goes to one recipient: these must arrive in their order.
        to = TO if number % 3 == 0 else f"+4479{number:08d}"
        sids.append((await sdk.send(f"{number}", to, from_=NUMBERS[0])).sid)
    # All come to it at once, however slowly they were sent.
    smsc = await start_smsc(CarrierScenario(throttle_per_s=25.0), port=port)
    for sid in sids:
        await sdk.reaches(sid, "delivered")

    assert smsc.counters.throttled > 0
    rows = taken(smsc)
    assert Counter(row["text"] for row in rows) == Counter(str(n) for n in range(60))
    in_order = [row["text"] for row in rows if row["destination"] == TO.lstrip("+")]
    assert in_order == [str(number) for number in range(0, 60, 3)]
    # Slowed down, not hammered: a refusal is the exception.
    assert smsc.counters.throttled < 60


@pytest.mark.parametrize("status", [v.ESME_RTHROTTLED, v.ESME_RMSGQFUL])
async def test_the_present_rate_and_its_reason_can_be_read_and_it_climbs_back(
    start_gateway: StartGateway, start_smsc: StartSmsc, status: int
) -> None:
    smsc = await start_smsc(CarrierScenario(throttle_per_s=1.0, throttle_status=status))
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, rate_per_second=60.0),))
    sdk = await gateway.sdk()
    [connector] = gateway.pipeline.connectors.by_id.values()
    assert (connector.rate_now, connector.rate_reason) == (60.0, "")

    sids = [
        (await sdk.send(f"{n}", f"+4479{n:08d}")).sid for n in range(9)
    ]  # most are refused: it is the carrier
    await until(lambda: bool(connector.rate_reason))
    assert connector.rate_reason == v.status_name(status)
    lowered = connector.rate_now
    assert lowered <= 30.0

    one = smsc.carrier()
    one.configure(changed(one.scenario, {"throttle_per_s": 0.0}))
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    await until(lambda: connector.rate_now > lowered)
    assert Counter(row["text"] for row in taken(smsc)) == Counter(str(n) for n in range(9))


async def test_slow_answers_lower_the_rate_and_lose_nothing(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer_after_s=0.2),)))
    gateway = await start_gateway(
        smsc.port,
        carriers=(carrier(smsc.port, rate_per_second=100.0, slow_answer_s=0.1),),
    )
    sdk = await gateway.sdk()
    [connector] = gateway.pipeline.connectors.by_id.values()
    sids = [(await sdk.send(f"{n}", f"+4479{n:08d}")).sid for n in range(12)]
    await until(lambda: connector.rate_reason == "slow answers")
    assert connector.rate_now < 100.0
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    assert len(taken(smsc)) == 12


async def test_one_congested_carrier_does_not_slow_another(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    slow = await start_smsc(CarrierScenario(name="slow", throttle_per_s=0.5))
    fast = await start_smsc(CarrierScenario(name="fast"))
    gateway = await start_gateway(
        slow.port, carriers=(carrier(slow.port, name="slow"), carrier(fast.port, name="fast"))
    )
    sdk = await gateway.sdk()
    await add_number(sdk, "+447700900777", "fast")
    stuck = [(await sdk.send(f"{n}", f"+4479{n:08d}", from_=NUMBERS[0])).sid for n in range(10)]
    connectors = {one.name: one for one in gateway.pipeline.connectors.by_id.values()}
    await until(lambda: bool(connectors["slow"].rate_reason))

    sids = [(await sdk.send(f"{n}", f"+4478{n:08d}", from_="+447700900777")).sid for n in range(50)]
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    assert connectors["fast"].rate_reason == ""
    assert len(taken(fast)) == 50
    assert len(taken(slow)) < 10, "the slow carrier was not slow"
    assert {(await sdk.fetch(sid)).status for sid in stuck} <= {
        "queued",
        "sending",
        "sent",
        "delivered",
    }


# Profiles ----------------------------------------------------------------------------------


async def test_a_carriers_ways_reach_the_wire(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(
        smsc.port,
        carriers=(
            carrier(
                smsc.port,
                long_code={"ton": 0, "npi": 8},
                leading_plus=True,
                concatenation="sar",
                propagate_validity="relative",
                service_type="CMT",
                tlvs={"0x1500": "static"},
            ),
        ),
    )
    sdk = await gateway.sdk()
    message = await sdk.send("x" * 200, validity_period=600)
    await sdk.reaches(message.sid, "delivered")
    rows = taken(smsc)
    assert [(row["segment"], row["total"]) for row in rows] == [(1, 2), (2, 2)]
    for row in rows:
        assert (row["source_ton"], row["source_npi"]) == (0, 8)
        assert row["source"].startswith("+44")
        assert row["destination"] == TO
        assert row["esm_class"] == 0
        assert row["validity_period"] in ("000000001000000R", "000000000959000R")
        assert row["tlvs"]["0x1500"] == b"static".hex()
    assert len({row["validity_period"] for row in rows}) == 1


async def test_a_text_outside_the_carriers_alphabet_is_counted_as_it_is_sent(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(
        smsc.port, carriers=(carrier(smsc.port, default_alphabet="ascii"),)
    )
    sdk = await gateway.sdk()
    plain, accented = await sdk.send("x" * 150), await sdk.send("é" * 150)
    assert (await sdk.reaches(plain.sid, "delivered")).num_segments == "1"
    assert (await sdk.reaches(accented.sid, "delivered")).num_segments == "3"
    assert "".join(row["text"] for row in taken(smsc)[1:]) == "é" * 150


async def test_a_long_message_may_leave_whole_in_one_pdu(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(
        smsc.port, carriers=(carrier(smsc.port, concatenation="payload"),)
    )
    sdk = await gateway.sdk()
    message = await sdk.send("y" * 400)
    await until(lambda: gateway.pipeline.receipts.counts["matched"] == 1)
    assert (await sdk.fetch(message.sid)).num_segments == "3"
    [row] = taken(smsc)
    assert bytes.fromhex(row["tlvs"]["message_payload"]) == b"y" * 400


async def test_one_answer_for_a_whole_long_message_counts_for_all_of_it_after_a_restart(
    start_gateway: StartGateway, start_smsc: StartSmsc, database_url: str
) -> None:
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(stat="none"),)))
    ways = carrier(smsc.port, concatenation="payload")
    gateway = await start_gateway(smsc.port, carriers=(ways,))
    sdk = await gateway.sdk()
    message = await sdk.send("y" * 400)
    await sdk.reaches(message.sid, "sent")
    await gateway.stop()
    # As a crash leaves it between the answer's record and the message's.
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE messages SET status = $1, sent_at = NULL", int(Status.SENDING))
    await connection.close()

    gateway = await start_gateway(smsc.port, carriers=(ways,))
    await gateway.bound()
    again = sdk_of(gateway)
    await again.reaches(message.sid, "sent")
    assert len(taken(smsc)) == 1, "it was sent a second time"


@pytest.mark.parametrize(
    "ways",
    [
        {"receipts": "first"},
        {"receipts": "last"},
        {"receipts": "all"},
        {"concatenation": "payload"},
    ],
)
async def test_a_long_message_is_delivered_when_the_receipts_asked_for_say_so(
    start_gateway: StartGateway, start_smsc: StartSmsc, ways: dict[str, str]
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, **ways),))
    sdk = await gateway.sdk()
    message = await sdk.send("y" * 400)
    await sdk.reaches(message.sid, "delivered")
    assert gateway.pipeline.receipts.counts["matched"] == (3 if ways == {"receipts": "all"} else 1)


async def test_transmitters_carry_messages_and_the_receiver_their_receipts(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(
        smsc.port,
        carriers=(
            carrier(
                smsc.port,
                binds=[{"type": "transmitter", "count": 2}, {"type": "receiver"}],
            ),
        ),
    )
    sdk = await gateway.sdk()
    [connector] = gateway.pipeline.connectors.by_id.values()
    await until(lambda: all(bind.bound for bind in connector.binds()))
    message = await sdk.send()
    await sdk.reaches(message.sid, "delivered")
    kinds = sorted(bind.type for bind in connector.binds())
    assert kinds == ["receiver", "transmitter", "transmitter"]


async def test_a_bind_moves_to_the_next_host_when_the_first_is_down(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    dead = f"127.0.0.1:{free_port()}"
    gateway = await start_gateway(
        smsc.port, carriers=(carrier(smsc.port, hosts=(dead, f"127.0.0.1:{smsc.port}")),)
    )
    await gateway.bound()
    [connector] = gateway.pipeline.connectors.by_id.values()
    [status] = connector.binds()
    assert status.host == f"127.0.0.1:{smsc.port}"
    assert status.trouble == ""


async def test_a_refused_bind_says_why_and_when_it_tries_again(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, password="wrong"),))
    [connector] = gateway.pipeline.connectors.by_id.values()
    await until(lambda: connector.binds()[0].refusals == 1)
    [status] = connector.binds()
    assert not status.bound
    assert "ESME_RINVPASWD" in status.trouble
    assert status.next_try_s is not None
    assert status.next_try_s > 200
    await until(lambda: gateway.pipeline.runtime.alerts.raised == 1)
    assert smsc.counters.binds_refused == 1


# TLVs of a message -------------------------------------------------------------------------

DLT = {"DltEntityId": "1101000000000000001", "DltTemplateId": "1107000000000000002"}


async def test_a_messages_own_tlvs_reach_the_carrier_on_every_part(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(
        smsc.port,
        carriers=(carrier(smsc.port, presets=["india_dlt"], message_tlvs=["0x1501"]),),
    )
    sdk = await gateway.sdk()
    status, message = await post(sdk, Body="z" * 200, **DLT, **{"SmppTlv.0x1501": "0x00ff"})
    assert status == 201
    await sdk.reaches(message["sid"], "delivered")
    rows = taken(smsc)
    assert len(rows) == 2
    for row in rows:
        assert bytes.fromhex(row["tlvs"]["0x1400"]).decode() == DLT["DltEntityId"]
        assert bytes.fromhex(row["tlvs"]["0x1401"]).decode() == DLT["DltTemplateId"]
        assert row["tlvs"]["0x1501"] == "00ff"


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"SmppTlv.0x1502": "x"}, "TLV 0x1502 is not on the list"),
        ({"SmppTlv.nonsense": "x"}, "is no TLV tag"),
        ({"SmppTlv.0x0424": "x"}, "set by the gateway itself"),
        ({"SmppTlv.0x1400": "x" * 256}, "at most 255 octets"),
        ({"DltEntityId": "12a"}, "DltEntityId must be 1 to 30 digits"),
        ({"DltEntityId": ""}, "DltEntityId must be 1 to 30 digits"),
        ({"DltEntityId": "12", "SmppTlv.0x1400": "12"}, "given twice"),
    ],
)
async def test_a_tlv_that_may_not_be_is_refused(
    start_gateway: StartGateway, smsc: Smsc, form: dict[str, str], reason: str
) -> None:
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, presets=["india_dlt"]),))
    sdk = await gateway.sdk()
    for sender in ({}, {"From": NUMBERS[0]}):
        status, answer = await post(sdk, **form, **sender)
        assert status == 400
        assert answer["code"] == 20001
        assert reason in answer["message"]


async def test_a_messages_own_tlvs_survive_a_kill(
    database_url: str, start_smsc: StartSmsc, tmp_path: Path
) -> None:
    """Accepted with the carrier away, killed, submitted after the restart."""
    port = free_port()
    process = GatewayProcess(
        database_url,
        port,
        tmp_path,
        free_port(),
        carriers=(carrier(port, presets=["india_dlt"]),),
    )
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    status, message = await post(sdk, **DLT)
    assert status == 201
    await process.kill()
    smsc = await start_smsc(port=port)
    await process.start()
    await sdk.reaches(message["sid"], "delivered")
    [row] = taken(smsc)
    assert bytes.fromhex(row["tlvs"]["0x1401"]).decode() == DLT["DltTemplateId"]
    assert await process.stop() == 0


async def test_the_ledgers_agree_on_short_and_long_messages_to_one_recipient(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    """One that bears a reference another has borne would be taken for it."""
    smsc = await start_smsc()
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    texts = ("short", "long " * 40, "short", "short", "long " * 40, "short", "long " * 40)
    for sid in [(await sdk.send(text, from_=NUMBERS[0])).sid for text in texts]:
        await sdk.reaches(sid, "delivered")
    async with gateway.pipeline.runtime.pool.acquire() as connection:
        rows = await message_rows.outbound(connection, inbound=Direction.INBOUND, since=id_at(0))
    verdict = compare(rows, read_ledger(smsc.ledger.lines()))
    assert verdict.clean, verdict.table()
    parts = [row["reference"] for row in taken(smsc) if row["segment"] == 1 and row["total"] > 1]
    # docs/spec/messaging-services.md#smpp-encoding: a counter per pair
    assert parts == [(parts[0] + n) % 256 for n in range(3)]


# Counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "counted", "leaving"), [("a" * 305, "2", 3), ("ж" * 133, "2", 3), ("a" * 459, "3", 4)]
)
async def test_segments_are_counted_by_the_same_figures_at_every_carrier(
    start_gateway: StartGateway, start_smsc: StartSmsc, text: str, counted: str, leaving: int
) -> None:
    """docs/spec/messaging-services.md#capacity: 153 and 67, even where a 16-bit reference leaves
    room for less."""
    smsc = await start_smsc()
    ways = carrier(smsc.port, concatenation="udh16")
    gateway = await start_gateway(smsc.port, carriers=(ways,))
    sdk = await gateway.sdk()
    table = "country,direction,sender_type,content,price\n,outbound,,sms,0.01\n"
    status, _ = await sdk.operate(
        "PUT", "/tandem/v1/Tables/prices", data=table, headers={"Content-Type": "text/csv"}
    )
    assert status == 200
    plain = await sdk.send(text, from_=NUMBERS[0])
    assert plain.num_segments == counted
    pooled = await sdk.send(text, messaging_service_sid=sdk.service_sid)
    for sid in (plain.sid, pooled.sid):
        final = await sdk.reaches(sid, "delivered")
        assert (final.num_segments, final.price) == (counted, f"-0.0{counted}000")
    assert len(taken(smsc)) == 2 * leaving

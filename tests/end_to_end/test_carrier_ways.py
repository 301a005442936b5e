"""Carriers with ways of their own, through the whole gateway: real sockets, real Postgres."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from testing import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    NUMBERS,
    TO,
    Client50,
    GatewayProcess,
    GatewayUnderTest,
    Sdk,
    basic,
    carrier,
    free_port,
    sdk_client,
    until,
)

from gateway.dispatch.message import Status
from smpp import codec
from smpp import vocabulary as v
from smpp.smsc import CarrierScenario, Rule, Scenario, Smsc
from smpp.smsc.scenario import changed

CERTIFICATES = Path(__file__).parents[1] / "unit" / "smpp" / "certificates"
StartSmsc = Callable[..., Awaitable[Smsc]]
StartGateway = Callable[..., Awaitable[GatewayUnderTest]]


@pytest.fixture
async def start_smsc() -> AsyncIterator[StartSmsc]:
    """Start a simulator with carriers of the given scenarios; stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(*carriers: CarrierScenario, port: int = 0) -> Smsc:
            smsc = Smsc(Scenario(carriers=carriers or (CarrierScenario(),)), seed=1)
            await smsc.start(port=port)
            stack.push_async_callback(smsc.stop)
            return smsc

        yield start


def taken(smsc: Smsc, carrier_name: str = "") -> list[dict[str, Any]]:
    """What the carrier took, refused submits left out, in the order of arrival."""
    rows = (json.loads(line) for line in smsc.ledger.lines())
    return [
        row
        for row in rows
        if not row["outcome"].startswith("ESME_") and carrier_name in ("", row["carrier"])
    ]


async def post(sdk: Sdk, **form: str) -> tuple[int, dict[str, Any]]:
    """A send call with parameters that the SDK does not know."""
    url = f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    fields = {"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": "hello", **form}
    auth = {"Authorization": basic(sdk.account_sid, sdk.auth_token)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=fields, headers=auth) as response,
    ):
        return response.status, await response.json()


# Congestion --------------------------------------------------------------------------------


async def test_a_throttling_carrier_gets_everything_once_and_in_order(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc(CarrierScenario(throttle_per_s=25.0))
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    sids = []
    for number in range(60):
        # Every third goes to one recipient: these must arrive in their order.
        to = TO if number % 3 == 0 else f"+4479{number:08d}"
        sids.append((await sdk.send(f"{number}", to, from_=NUMBERS[0])).sid)
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
    [connector] = gateway.pipeline.connectors.values()
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
    smsc = await start_smsc(CarrierScenario(rules=(Rule(answer_after_s=0.2),)))
    gateway = await start_gateway(
        smsc.port,
        carriers=(carrier(smsc.port, rate_per_second=100.0, slow_answer_s=0.1),),
    )
    sdk = await gateway.sdk()
    [connector] = gateway.pipeline.connectors.values()
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
    await _number(sdk, "+447700900777", "fast")
    stuck = [(await sdk.send(f"{n}", f"+4479{n:08d}", from_=NUMBERS[0])).sid for n in range(10)]
    connectors = {one.name: one for one in gateway.pipeline.connectors.values()}
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
    smsc = await start_smsc(CarrierScenario(rules=(Rule(stat="none"),)))
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
    [connector] = gateway.pipeline.connectors.values()
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
    [connector] = gateway.pipeline.connectors.values()
    [status] = connector.binds()
    assert status.host == f"127.0.0.1:{smsc.port}"
    assert status.trouble == ""


async def test_a_refused_bind_says_why_and_when_it_tries_again(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, password="wrong"),))
    [connector] = gateway.pipeline.connectors.values()
    await until(lambda: connector.binds()[0].refusals == 1)
    [status] = connector.binds()
    assert not status.bound
    assert "ESME_RINVPASWD" in status.trouble
    assert status.next_try_s is not None
    assert status.next_try_s > 200
    await until(lambda: gateway.pipeline.alerts.raised == 1)
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


# Changed at run time -----------------------------------------------------------------------

SECRET = "a secret key of some length"


async def call(
    sdk: Sdk, method: str, path: str = "", body: Any = None, **credentials: str
) -> tuple[int, dict[str, Any]]:
    """A call of the operator API."""
    user = credentials.get("user", sdk.account_sid)
    password = credentials.get("password", sdk.auth_token)
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            f"{sdk.base_url}/tandem/v1/Carriers{path}",
            json=body,
            headers={"Authorization": basic(user, password)},
        ) as response,
    ):
        return response.status, json.loads(await response.read() or b"{}")


async def test_the_operator_api_shows_carriers_with_their_binds(
    sdk: Sdk, smsc: Smsc, gateway: GatewayUnderTest
) -> None:
    status, page = await call(sdk, "GET")
    assert status == 200
    [shown] = page["carriers"]
    assert shown["name"] == "simulator"
    assert shown["hosts"] == [f"127.0.0.1:{smsc.port}"]
    assert shown["has_password"] is True
    assert "password" not in shown
    assert shown["status"]["up"] is True
    assert shown["status"]["rate_now"] is None
    assert shown["status"]["rate_reason"] is None
    [bind] = shown["status"]["binds"]
    assert (bind["bound"], bind["host"], bind["window"]) == (True, shown["hosts"][0], 100)
    assert (bind["in_flight"], bind["refusals"], bind["trouble"]) == (0, 0, "")
    assert page["meta"]["key"] == "carriers"
    for key in (shown["sid"], "simulator"):
        status, again = await call(sdk, "GET", f"/{key}")
        assert (status, again["sid"]) == (200, shown["sid"])
    assert (await call(sdk, "GET", "/nobody"))[0] == 404


async def test_only_a_parent_account_may_look_at_carriers(sdk: Sdk) -> None:
    child = await sdk.call(sdk.client.api.accounts.create)
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/simulator"), ("DELETE", "/x")):
        own = {"user": child.sid, "password": child.auth_token}
        status, answer = await call(sdk, method, path, {}, **own)
        assert (status, answer["code"]) == (403, 20403)
    assert (await call(sdk, "GET", password="wrong" * 8))[0] == 401


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"concatenation": "glue"}, "concatenation: Input should be 'udh8'"),
        ({"binds": [{"type": "both"}]}, "binds.list.0.type: "),
        ({"colour": "red", "window": 0}, "window: "),
        ({"name": "other"}, "a carrier keeps its name"),
        ({"hosts": None}, "hosts: Field required"),
        ({"password": "123456789"}, "password: String should have at most 8"),
        ({"password": "12345678"}, "set TANDEM_SECRET_KEY"),
        ({"tlvs": {"0x1500": "nul \0"}}, "can't be stored"),
        (["no object"], "must be a JSON object"),
    ],
)
async def test_a_wrong_change_is_refused_with_field_and_reason(
    sdk: Sdk, gateway: GatewayUnderTest, body: Any, reason: str
) -> None:
    status, answer = await call(sdk, "POST", "/simulator", body)
    assert (status, answer["code"]) == (400, 20001)
    assert reason in answer["message"]
    [connector] = gateway.pipeline.connectors.values()
    assert connector.up


async def test_a_carrier_is_added_used_and_deleted_while_the_others_run(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    first, second = await start_smsc(), await start_smsc()
    gateway = await start_gateway(first.port, secret_key=SECRET)
    sdk = await gateway.sdk()
    body = carrier(second.port, name="second", rate_per_second=50)
    status, shown = await call(sdk, "POST", "", {**body, "hosts": list(body["hosts"])})
    assert status == 201
    assert shown["rate_per_second"] == 50
    await gateway.bound()
    assert second.counters.binds == 1

    number = await _number(sdk, "+447700900888", "second")
    message = await sdk.send(from_="+447700900888")
    await sdk.reaches(message.sid, "delivered")
    assert len(taken(second)) == 1
    status, answer = await call(sdk, "DELETE", "/second")
    assert (status, answer["code"]) == (409, 20409)
    await sdk.call(sdk.client.incoming_phone_numbers(number).delete)
    assert (await call(sdk, "DELETE", "/second"))[0] == 204
    await until(lambda: not second.connections)
    await until(lambda: len(gateway.pipeline.connectors) == 1)
    status, _ = await call(sdk, "POST", "", {**body, "hosts": list(body["hosts"])})
    assert status == 201
    status, answer = await call(sdk, "POST", "", {**body, "hosts": list(body["hosts"])})
    assert (status, answer["code"]) == (409, 20409)
    assert first.counters.binds == 1, "the other carrier's bind was dropped"


async def test_a_change_replaces_only_the_binds_that_it_concerns(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    changing = await start_smsc(CarrierScenario(max_binds=3))
    other = await start_smsc()
    gateway = await start_gateway(
        changing.port,
        carriers=(carrier(changing.port, name="changing"), carrier(other.port, name="other")),
    )
    sdk = await gateway.sdk()

    # What only concerns the making of messages touches no bind.
    status, _ = await call(sdk, "POST", "/changing", {"concatenation": "udh16"})
    assert status == 200
    message = await sdk.send("x" * 200, from_=NUMBERS[0])
    await sdk.reaches(message.sid, "delivered")
    assert bytes.fromhex(taken_pdu_header(changing)) == b"\x06\x08\x04"
    assert changing.counters.binds == 1

    # More binds: the first stays.
    await call(sdk, "POST", "/changing", {"binds": 3})
    connectors = {one.name: one for one in gateway.pipeline.connectors.values()}
    await until(lambda: sum(bind.bound for bind in connectors["changing"].binds()) == 3)
    assert changing.counters.binds == 3
    assert changing.counters.disconnects == 0

    # Another window: all three are replaced, never more than three at a time.
    await call(sdk, "POST", "/changing", {"window": 7})
    await until(
        lambda: [bind.window for bind in connectors["changing"].binds() if bind.bound] == [7] * 3
    )
    assert changing.counters.binds == 6
    assert changing.counters.binds_refused == 0
    message = await sdk.send(from_=NUMBERS[0])
    await sdk.reaches(message.sid, "delivered")
    assert other.counters.binds == 1, "the other carrier's bind was dropped"

    # Back to the default with null.
    _, shown = await call(sdk, "POST", "/changing", {"window": None, "binds": None})
    assert (shown["window"], shown["binds"]) == (100, 1)
    await until(lambda: [bind.bound for bind in connectors["changing"].binds()] == [True])


async def test_messages_under_way_while_a_bind_is_replaced_are_sent_once(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc(CarrierScenario(rules=(Rule(answer_after_s=0.05),)))
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    client = Client50(sdk, connections=10)

    async def change_midway() -> None:
        for window in (20, 30, 40):
            await until(lambda window=window: len(client.sids) >= 4 * window)
            status, _ = await call(sdk, "POST", "/simulator", {"window": window})
            assert status == 200

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.send(200))
        tasks.create_task(change_midway())
    assert len(client.sids) == 200
    await until(lambda: gateway.pipeline.receipts.counts["matched"] >= 200)
    for sid in client.sids[::20]:
        await sdk.reaches(sid, "delivered")
    assert set(Counter(row["destination"] for row in taken(smsc)).values()) == {1}
    assert len(taken(smsc)) == 200


async def test_what_was_changed_stays_changed_until_the_file_says_something_new(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    smsc = await start_smsc()
    for restart, (in_file, expected) in enumerate([(60, 60), (60, 44), (70, 70)]):
        gateway = await start_gateway(
            smsc.port, carriers=(carrier(smsc.port, window=in_file),), secret_key=SECRET
        )
        [connector] = gateway.pipeline.connectors.values()
        assert connector.settings.window == expected
        await gateway.bound()
        if restart == 0:
            sdk = await gateway.sdk()
            assert (await call(sdk, "POST", "/simulator", {"window": 44}))[0] == 200
        await gateway.stop()


async def test_a_password_is_stored_encrypted_and_needs_its_key(
    start_gateway: StartGateway, start_smsc: StartSmsc, database_url: str
) -> None:
    smsc = await start_smsc()
    gateway = await start_gateway(smsc.port, secret_key=SECRET)
    sdk = await gateway.sdk()
    body = carrier(smsc.port, name="added")
    await call(sdk, "POST", "", {**body, "hosts": list(body["hosts"])})
    await gateway.bound()
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT * FROM carriers")
    finally:
        await connection.close()
    assert len(rows) == 2
    assert "secret" not in repr([tuple(row) for row in rows])
    await gateway.stop()

    # A new key first, the old one after it: everything can still be read.
    gateway = await start_gateway(smsc.port, secret_key=f"a newer and longer key,{SECRET}")
    assert len(gateway.pipeline.connectors) == 2
    await gateway.bound()
    await gateway.stop()

    gateway = await start_gateway(smsc.port)  # without a key
    await until(lambda: any(one.up for one in gateway.pipeline.connectors.values()))
    assert [one.name for one in gateway.pipeline.connectors.values()] == ["simulator"]
    _, shown = await call(sdk_of(gateway), "GET", "/added")
    assert "TANDEM_SECRET_KEY is needed" in shown["status"]["trouble"]
    await gateway.stop()

    gateway = await start_gateway(smsc.port, secret_key="quite another secret key")
    await until(lambda: any(one.up for one in gateway.pipeline.connectors.values()))
    [connector] = gateway.pipeline.connectors.values()
    assert connector.name == "simulator", "the file has its password"
    _, shown = await call(sdk_of(gateway), "GET", "/added")
    assert "another TANDEM_SECRET_KEY" in shown["status"]["trouble"]


def sdk_of(gateway: GatewayUnderTest) -> Sdk:
    return Sdk(gateway.base_url, sdk_client(gateway.base_url, ACCOUNT_SID, AUTH_TOKEN), "")


def taken_pdu_header(smsc: Smsc) -> str:
    """The first three octets of the user data of the first submit."""
    payload = codec.decode_submit(smsc.ledger.entries[0].pdu).payload
    return payload[:3].hex()


async def _number(sdk: Sdk, number: str, carrier_name: str) -> str:
    """Buy a number that belongs to a carrier; its SID."""
    url = f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/IncomingPhoneNumbers.json"
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url,
            data={"PhoneNumber": number, "CarrierName": carrier_name},
            headers={"Authorization": basic(sdk.account_sid, sdk.auth_token)},
        ) as response,
    ):
        assert response.status == 201
        return str((await response.json())["sid"])


async def test_a_carrier_that_comes_again_waits_for_its_former_sessions(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    """Deleted and made anew with a submit under way: never a session more than configured."""
    first = await start_smsc()
    second = await start_smsc(CarrierScenario(rules=(Rule(answer_after_s=1.0),), max_binds=1))
    gateway = await start_gateway(first.port, secret_key=SECRET)
    sdk = await gateway.sdk()
    body = carrier(second.port, name="second")
    body = {**body, "hosts": list(body["hosts"])}
    assert (await call(sdk, "POST", "", body))[0] == 201
    await gateway.bound()
    number = await _number(sdk, "+447700900888", "second")
    await sdk.send(from_="+447700900888")
    await until(lambda: second.counters.submits == 1)
    await sdk.call(sdk.client.incoming_phone_numbers(number).delete)
    assert (await call(sdk, "DELETE", "/second"))[0] == 204
    assert (await call(sdk, "POST", "", body))[0] == 201
    assert second.counters.connections == 1, "the new one began before the old one ended"
    await until(lambda: second.counters.binds == 2)
    await gateway.bound()
    assert second.counters.binds_refused == 0


async def test_messages_go_over_tls_and_not_to_a_certificate_nobody_vouches_for(
    start_gateway: StartGateway,
) -> None:
    smsc = Smsc(
        Scenario(
            tls_certificate=str(CERTIFICATES / "server.pem"),
            tls_key=str(CERTIFICATES / "server.key"),
        ),
        seed=1,
    )
    await smsc.start()
    try:
        trusted = {"ca_file": str(CERTIFICATES / "authority.pem"), "server_name": "smsc.example"}
        gateway = await start_gateway(
            smsc.port,
            carriers=(
                carrier(smsc.port, tls=trusted),
                carrier(smsc.port, name="careless", tls={"server_name": "smsc.example"}),
            ),
        )
        by_name = {one.name: one for one in gateway.pipeline.connectors.values()}
        await until(lambda: by_name["simulator"].up)
        await until(lambda: "certificate" in by_name["careless"].binds()[0].trouble)
        assert not by_name["careless"].up
        sdk = await Sdk.provisioned(gateway.base_url)
        message = await sdk.send()
        await sdk.reaches(message.sid, "delivered")
    finally:
        await smsc.stop()

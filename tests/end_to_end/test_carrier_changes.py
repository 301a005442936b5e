"""Carriers that are changed, added and removed while the gateway runs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from carriers import StartSmsc, add_number, sdk_of, taken
from testing import (
    NUMBERS,
    Client50,
    GatewayUnderTest,
    Sdk,
    basic,
    carrier,
    until,
)

from smpp import codec
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc

CERTIFICATES = Path(__file__).parents[1] / "unit" / "smpp" / "certificates"
StartGateway = Callable[..., Awaitable[GatewayUnderTest]]


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
        ({"password": "x" * 65}, "password: String should have at most 64"),
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
    [connector] = gateway.pipeline.connectors.by_id.values()
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

    number = await add_number(sdk, "+447700900888", "second")
    message = await sdk.send(from_="+447700900888")
    await sdk.reaches(message.sid, "delivered")
    assert len(taken(second)) == 1
    status, answer = await call(sdk, "DELETE", "/second")
    assert (status, answer["code"]) == (409, 20409)
    await sdk.call(sdk.client.incoming_phone_numbers(number).delete)
    assert (await call(sdk, "DELETE", "/second"))[0] == 204
    await until(lambda: not second.connections)
    await until(lambda: len(gateway.pipeline.connectors.by_id) == 1)
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
    connectors = {one.name: one for one in gateway.pipeline.connectors.by_id.values()}
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
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer_after_s=0.05),)))
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
        [connector] = gateway.pipeline.connectors.by_id.values()
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
    assert len(gateway.pipeline.connectors.by_id) == 2
    await gateway.bound()
    await gateway.stop()

    gateway = await start_gateway(smsc.port)  # without a key
    await until(lambda: any(one.up for one in gateway.pipeline.connectors.by_id.values()))
    assert [one.name for one in gateway.pipeline.connectors.by_id.values()] == ["simulator"]
    _, shown = await call(sdk_of(gateway), "GET", "/added")
    assert "TANDEM_SECRET_KEY is needed" in shown["status"]["trouble"]
    await gateway.stop()

    gateway = await start_gateway(smsc.port, secret_key="quite another secret key")
    await until(lambda: any(one.up for one in gateway.pipeline.connectors.by_id.values()))
    [connector] = gateway.pipeline.connectors.by_id.values()
    assert connector.name == "simulator", "the file has its password"
    _, shown = await call(sdk_of(gateway), "GET", "/added")
    assert "another TANDEM_SECRET_KEY" in shown["status"]["trouble"]


def taken_pdu_header(smsc: Smsc) -> str:
    """The first three octets of the user data of the first submit."""
    payload = codec.decode_submit(smsc.ledger.entries[0].pdu).payload
    return payload[:3].hex()


async def test_a_carrier_that_comes_again_waits_for_its_former_sessions(
    start_gateway: StartGateway, start_smsc: StartSmsc
) -> None:
    """Deleted and made anew with a submit under way: never a session more than configured."""
    first = await start_smsc()
    second = await start_smsc(
        CarrierScenario(rules=(ScenarioRule(answer_after_s=1.0),), max_binds=1)
    )
    gateway = await start_gateway(first.port, secret_key=SECRET)
    sdk = await gateway.sdk()
    body = carrier(second.port, name="second")
    body = {**body, "hosts": list(body["hosts"])}
    assert (await call(sdk, "POST", "", body))[0] == 201
    await gateway.bound()
    number = await add_number(sdk, "+447700900888", "second")
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
        by_name = {one.name: one for one in gateway.pipeline.connectors.by_id.values()}
        await until(lambda: by_name["simulator"].up)
        await until(lambda: "certificate" in by_name["careless"].binds()[0].trouble)
        assert not by_name["careless"].up
        sdk = await Sdk.provisioned(gateway.base_url)
        message = await sdk.send()
        await sdk.reaches(message.sid, "delivered")
    finally:
        await smsc.stop()

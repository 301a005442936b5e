"""Bulk sends in both shapes: one accept, a receipt for each recipient, operations
(docs/spec/twilio-api.md#bulk-and-newer-apis)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pools import Pool
from testing import WAIT_S, GatewayProcess, GatewayUnderTest, Receiver, Sdk, free_port

from gateway.acceptance.acceptor import LARGE
from gateway.api.messages import bulk, comms
from gateway.api.messages.comms_ids import id_of, text_of
from gateway.messages.message import Status
from smpp.smsc import Smsc
from storage.ids import id_from_hex

Start = Callable[..., Awaitable[GatewayUnderTest]]
NUMBER = "+447700900311"
OF_CHANNELS = ("whatsapp:+447400911111", "rcs:+447400911111", "messenger:12345")


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    pool = await Pool.of(gateway, smsc)
    await pool.number(NUMBER)
    return pool


def to(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"address": f"+4474009{n:05d}", "channel": "PHONE", **more} for n in range(count)]


async def operate(sdk: Sdk, method: str, path: str, **request: Any) -> tuple[int, Any]:
    return await sdk.operate(method, f"/comms/v1/Messages{path}", **request)


async def completed(sdk: Sdk, name: str) -> Any:
    async with asyncio.timeout(WAIT_S):
        while True:
            _, operation = await operate(sdk, "GET", f"/Operations/{name}")
            if operation["status"] in ("COMPLETED", "CANCELED"):
                return operation
            await asyncio.sleep(0.05)


async def test_a_thousand_recipients_are_one_operation(
    pool: Pool, smsc: Smsc, receiver: Receiver
) -> None:
    recipients = [
        {"address": f"+4474009{n:05d}", "variables": {"name": f"N{n}"}} for n in range(1_000)
    ]
    request = {
        "from": {"messagingServiceSid": pool.sid},
        "to": [*recipients, {"address": "nobody"}],
        "content": {"text": "Hi {{ name | upcase }}, {{ rest | default: 'bye' }}"},
        "tags": {"campaign": "spring"},
        "statusCallback": receiver.url,
    }
    status, accepted = await operate(pool.sdk, "POST", "", json=request)
    assert status == 202
    operation = await completed(pool.sdk, accepted["operationId"])
    assert accepted["operationLocation"].endswith(accepted["operationId"])
    stats = operation["stats"]
    assert (stats["total"], stats["attempts"], stats["unaddressable"]) == (1_001, 1_000, 1)
    assert (stats["delivered"], operation["tags"]) == (1_000, {"campaign": "spring"})
    texts = {json.loads(line)["text"] for line in smsc.ledger.lines()}
    assert texts == {f"Hi N{n}, bye" for n in range(1_000)}

    _, failed = await operate(pool.sdk, "GET", f"/Operations/{operation['id']}/Errors")
    assert failed["errors"] == [
        {"address": "nobody", "code": 21211, "message": failed["errors"][0]["message"]}
    ]
    query = f"?operationId={operation['id']}&pageSize=700"
    _, first = await operate(pool.sdk, "GET", query)
    token = first["pagination"]["next"]
    _, second = await operate(pool.sdk, "GET", f"{query}&pageToken={token}")
    assert (len(first["messages"]), len(second["messages"])) == (700, 300)
    assert second["pagination"]["next"] is None

    one = first["messages"][0]
    assert (await operate(pool.sdk, "GET", f"/{one['id']}"))[1] == one
    _, receipts = await operate(pool.sdk, "GET", f"/{one['id']}/Receipts")
    assert [step["status"] for step in receipts["receipts"]] == ["QUEUED", "SENT", "DELIVERED"]
    ordinary = await pool.sdk.fetch(one["messageSid"])
    assert (ordinary.status, ordinary.messaging_service_sid) == ("delivered", pool.sid)
    await receiver.has([one["messageSid"]])


async def test_ten_thousand_are_taken_and_one_more_is_not(pool: Pool) -> None:
    request = {"from": {"address": NUMBER}, "content": {"text": "x"}}
    status, body = await operate(pool.sdk, "POST", "", json={**request, "to": to(10_001)})
    assert (status, body["code"]) == (400, 20001)
    status, body = await operate(pool.sdk, "POST", "", json={**request, "to": to(10_000)})
    assert status == 202
    operation = await completed(pool.sdk, body["operationId"])
    assert operation["stats"]["delivered"] == 10_000
    path = f"/Operations/{body['operationId']}/Cancel"  # too late: it stays what it is
    assert await operate(pool.sdk, "POST", path) == (200, operation)


async def test_a_body_of_megabytes_is_taken_and_one_above_the_limit_is_not(pool: Pool) -> None:
    request: dict[str, Any] = {"from": {"address": NUMBER}, "content": {"text": "{{ name }}"}}
    request["to"] = to(4_000, variables={"name": "x", "more": "y" * 1_000})
    assert len(json.dumps(request)) > 4_000_000
    status, body = await operate(pool.sdk, "POST", "", json=request)
    assert status == 202
    assert (await completed(pool.sdk, body["operationId"]))["stats"]["delivered"] == 4_000
    request["to"] = to(4_000, variables={"name": "x", "more": "y" * 3_000})
    status, body = await operate(pool.sdk, "POST", "", json=request)
    assert (status, body["code"]) == (413, 20413)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"from": "x"}, 20001),
        ({"from": {}}, 20001),
        ({"from": {"address": NUMBER, "senderId": NUMBER}}, 20001),
        ({"from": {"address": "+447700900999"}}, 21659),
        ({"from": {"address": NUMBER, "channel": "RCS"}}, 63007),
        ({"to": []}, 20001),
        ({"to": [{"address": 5}]}, 20001),
        ({"to": [{"address": "+447400900000", "variables": 5}]}, 20001),
        ({"content": {}}, 21619),
        ({"content": {"text": "{{ name"}}, 20001),
        ({"content": {"text": "{% if x %}"}}, 20001),
        ({"content": {"text": "{{ a | nothing }}"}}, 20001),
        ({"schedule": {"sendAt": "tomorrow"}}, 35118),
        ({"statusCallback": "nowhere"}, 21609),
        ({"tags": {str(n): "x" for n in range(11)}}, 20422),
        ({"more": 1}, 20001),
    ],
)
async def test_what_is_wrong_with_a_request_refuses_all_of_it(
    pool: Pool, change: dict[str, Any], code: int
) -> None:
    request = {"from": {"address": NUMBER}, "to": to(3), "content": {"text": "x"}, **change}
    status, body = await operate(pool.sdk, "POST", "", json=request)
    assert (status // 100, body["code"]) == (4, code)
    assert await pool.sdk.call(pool.sdk.client.messages.list) == []


async def test_a_schedule_waits_and_is_taken_back_as_a_whole(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, scheduling={"least_s": 0})
    pool = await Pool.of(gateway, smsc)
    await pool.number(NUMBER)
    request = {
        "from": {"senderPoolId": pool.sid},
        "to": to(20),
        "content": {"text": "later"},
        "schedule": {"sendAt": ["2026-12-20T10:00:00Z"]},
    }
    status, accepted = await operate(pool.sdk, "POST", "", json=request)
    assert status == 202, accepted
    name = accepted["operationId"]
    _, operation = await operate(pool.sdk, "GET", f"/Operations/{name}")
    assert (operation["status"], operation["stats"]["scheduled"]) == ("SCHEDULED", 20)
    status, operation = await operate(pool.sdk, "POST", f"/Operations/{name}/Cancel")
    assert (status, operation["status"], operation["stats"]["canceled"]) == (200, "CANCELED", 20)


async def test_what_has_left_is_not_taken_back_and_the_rest_is_told(
    start_gateway: Start, smsc: Smsc, receiver: Receiver
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=0.0001)  # one leaves
    sdk = await gateway.sdk()
    request = {
        "from": {"address": sdk.numbers[0]},
        "to": to(12),
        "content": {"text": "x"},
        "statusCallback": receiver.url,
    }
    status, accepted = await operate(sdk, "POST", "", json=request)
    assert status == 202
    name = accepted["operationId"]
    async with asyncio.timeout(WAIT_S):
        while (await operate(sdk, "GET", f"/Operations/{name}"))[1]["stats"]["delivered"] != 1:
            await asyncio.sleep(0.02)
    status, operation = await operate(sdk, "POST", f"/Operations/{name}/Cancel")
    stats = operation["stats"]
    assert (status, operation["status"]) == (200, "CANCELED")
    assert (stats["delivered"], stats["canceled"], stats["queued"]) == (1, 11, 0)
    _, page = await operate(sdk, "GET", f"?operationId={name}")
    sids = {one["messageSid"]: one["status"].lower() for one in page["messages"]}
    for sid, last in sids.items():
        await receiver.has([sid], last)
    ends = [receiver.statuses[sid].count(last) for sid, last in sids.items()]
    assert ends == [1] * 12
    assert len(list(smsc.ledger.lines())) == 1


async def test_a_row_that_another_has_in_hand_is_decided_by_who_commits_first(
    start_gateway: Start, smsc: Smsc
) -> None:
    """The others do not wait for it."""
    gateway = await start_gateway(smsc.port, default_rate_per_second=0.0001)
    sdk = await gateway.sdk()
    await sdk.send("takes the only token", from_=sdk.numbers[0])
    sids = [(await sdk.send(str(n), from_=sdk.numbers[0])).sid for n in range(4)]
    ids = [id_from_hex(sid[2:]) for sid in sids]
    account = next(iter(gateway.pipeline.runtime.directory.accounts.values()))
    claiming, looking, watching = [await asyncpg.connect(gateway.database_url) for _ in range(3)]
    claim, look = claiming.transaction(), looking.transaction()
    await claim.start()
    await look.start()
    claimed = "UPDATE messages SET status = $2, waiting = NULL WHERE id = $1"
    await claiming.execute(claimed, ids[1], int(Status.SENDING))
    await looking.execute("SELECT FROM messages WHERE id = $1 FOR UPDATE", ids[2])
    canceling = asyncio.create_task(gateway.pipeline.canceler.cancel_many(account.id, ids))
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    free = "SELECT count(*) FROM messages WHERE id = ANY($1::uuid[]) AND status = $2"
    async with asyncio.timeout(WAIT_S):
        while not await watching.fetchval(waits):
            await asyncio.sleep(0.01)
        assert await watching.fetchval(free, [ids[0], ids[3]], int(Status.CANCELED)) == 2
        await claim.commit()
        await look.rollback()
        assert await canceling == {ids[0], ids[2], ids[3]}
    for connection in (claiming, looking, watching):
        await connection.close()


async def test_a_key_makes_a_repeated_operation_one(pool: Pool) -> None:
    request = {"from": {"address": NUMBER}, "to": to(5), "content": {"text": "x"}}
    headers = {"Idempotency-Key": "bulk-1"}
    first = await operate(pool.sdk, "POST", "", json=request, headers=headers)
    again = await operate(pool.sdk, "POST", "", json=request, headers=headers)
    assert first == again
    other = {**request, "content": {"text": "y"}}
    status, body = await operate(pool.sdk, "POST", "", json=other, headers=headers)
    assert (status, body["code"]) == (409, 20409)
    await completed(pool.sdk, first[1]["operationId"])
    assert len(await pool.sdk.call(pool.sdk.client.messages.list)) == 5


@pytest.mark.parametrize("count", [0, 1, LARGE + 1])
async def test_who_is_second_with_a_key_gets_the_first_answer(pool: Pool, count: int) -> None:
    """An app that gave up waiting repeats it while the first is being stored."""
    recipients = to(count) or [{"address": "nobody"}]
    request = {"from": {"address": NUMBER}, "to": recipients, "content": {"text": "x"}}
    headers = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(
        *(operate(pool.sdk, "POST", "", json=request, headers=headers) for _ in range(8))
    )
    assert {status for status, _ in answers} == {202}
    [name] = {body["operationId"] for _, body in answers}
    operation = await completed(pool.sdk, name)
    assert operation["stats"]["attempts"] == count
    assert len(await pool.sdk.call(pool.sdk.client.messages.list)) == count


async def test_a_key_of_an_operation_is_none_of_a_single_send(pool: Pool) -> None:
    request = {"from": {"address": NUMBER}, "to": to(1), "content": {"text": "x"}}
    headers = {"Idempotency-Key": "k"}
    assert (await operate(pool.sdk, "POST", "", json=request, headers=headers))[0] == 202
    path = f"/2010-04-01/Accounts/{pool.sdk.account_sid}/Messages.json"
    form = {"To": "+447400900001", "From": NUMBER, "Body": "x"}
    status, _ = await pool.sdk.operate("POST", path, data=form, headers=headers)
    assert status == 201


@pytest.mark.parametrize(
    ("address", "shown"),
    [("+44\0", "+44\ufffd"), ("\0" * 99, "\ufffd" * 64), ("", ""), *[(a, a) for a in OF_CHANNELS]],
)
@pytest.mark.parametrize("by", ["service", "address"])
async def test_what_is_wrong_with_one_address_leaves_that_one_out(
    gateway: GatewayUnderTest, pool: Pool, by: str, address: str, shown: str
) -> None:
    sender = {"messagingServiceSid": pool.sid} if by == "service" else {"address": NUMBER}
    request = {"from": sender, "to": [*to(2), {"address": address}], "content": {"text": "x"}}
    status, accepted = await operate(pool.sdk, "POST", "", json=request)
    assert status == 202, accepted
    operation = await completed(pool.sdk, accepted["operationId"])
    stats = operation["stats"]
    assert (stats["total"], stats["attempts"], stats["unaddressable"]) == (3, 2, 1)
    connection = await asyncpg.connect(gateway.database_url)
    [refused] = json.loads(
        await connection.fetchval("SELECT unaddressable::text FROM bulk_operations")
    )
    await connection.close()
    assert refused["address"] == shown


@pytest.mark.parametrize(
    "one",
    [
        {"address": "nobody"},
        {"address": "+447400911111", "variables": {"a": " "}},
        {"address": "+447400911111", "variables": {"a": "x" * 1_601}},
        {"address": "+447400911111", "variables": {"a": "x"}},
    ],
)
async def test_others_have_their_turn_between_recipients(
    pool: Pool, one: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they are taken, or refused."""
    monkeypatch.setattr(bulk, "PAUSE_S", 0.0)
    turns, over = 0, asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    drafts_of = bulk.drafts_of

    async def watched(*given: Any) -> Any:
        beside = asyncio.create_task(others())
        made = await drafts_of(*given)
        over.set()
        await beside
        return made

    monkeypatch.setattr(comms, "drafts_of", watched)
    request = {
        "from": {"messagingServiceSid": pool.sid},
        "to": [one] * 200,
        "content": {"text": "{{ a }}"},
    }
    status, _ = await operate(pool.sdk, "POST", "", json=request)
    assert status == 202
    assert turns >= 200


async def test_an_accepted_operation_survives_a_kill(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    request = {
        "from": {"messagingServiceSid": sdk.service_sid},
        "to": to(3_000),
        "content": {"text": "x"},
    }
    status, accepted = await operate(sdk, "POST", "", json=request)
    assert status == 202
    await process.kill()
    await process.start()
    operation = await completed(sdk, accepted["operationId"])
    assert operation["stats"]["delivered"] == 3_000
    await process.stop()


async def test_the_small_shape_names_every_recipient_once(pool: Pool) -> None:
    request = {
        "Messages": [{"To": "+447400900001"}, {"To": "x"}, {"To": "+447400900002", "Body": "own"}],
        "From": NUMBER,
        "Body": "shared",
    }
    status, body = await pool.sdk.operate("POST", "/preview/v1/Messages", json=request)
    assert status == 200
    assert (body["total_message_count"], body["success_count"], body["error_count"]) == (3, 2, 1)
    assert body["failed_message_receipts"][0]["error_code"] == 21211
    ends = [
        await pool.sdk.reaches(receipt["sid"], "delivered") for receipt in body["message_receipts"]
    ]
    assert [(end.to, end.body) for end in ends] == [
        ("+447400900001", "shared"),
        ("+447400900002", "own"),
    ]


async def test_the_small_shape_refuses_a_key_that_it_would_not_honour(pool: Pool) -> None:
    request = {"Messages": [{"To": "+447400900001"}], "From": NUMBER, "Body": "x"}
    status, body = await pool.sdk.operate(
        "POST", "/preview/v1/Messages", json=request, headers={"Idempotency-Key": "k"}
    )
    assert (status, body["code"]) == (400, 20001)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], 35133),
        ("x", 35133),
        ([{"Body": "x"}], 35133),
        ([{"To": "+447400900001"}, {"To": "+44 7400 900001"}], 35134),
        ([{"To": f"+4474009{n:05d}"} for n in range(101)], 35133),
        ([{"To": "+447400900001", "ContentVariables": "{}"}], 35127),
    ],
)
async def test_the_small_shape_refuses_what_is_no_list_of_recipients(
    pool: Pool, messages: Any, code: int
) -> None:
    request = {"Messages": messages, "From": NUMBER, "Body": "x"}
    status, body = await pool.sdk.operate("POST", "/preview/v1/Messages", json=request)
    assert (status, body["code"]) == (400, code)


def test_ids_are_named_and_read_back() -> None:
    id = id_from_hex("ff" * 16)
    text = text_of("comms_message", id)
    assert text == "comms_message_7" + "z" * 25
    assert id_of("comms_message", text) == id
    for wrong in ("comms_operation_7" + "z" * 25, text[:-1], text[:-1] + "u", "x"):
        assert id_of("comms_message", wrong) is None
    assert id_of("comms_message", "comms_message_8" + "z" * 25) is None

"""Several processes as one gateway: each message and each bind is one worker's (decision 0009)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from hooks import HANDSET, Hooks, write
from inbound_apps import configure_number
from prometheus_client.parser import text_string_to_metric_families
from testing import TO, WAIT_S, Client50, GatewayProcess, Receiver, Sdk, carrier, free_port, until
from workers import WorkersProcess

from gateway.messages.message import Flag
from smpp.smsc import CarrierScenario, Smsc
from smpp.smsc.scenario import ScenarioRule

LEFT = ("+447700900101", "+447700900102")
RIGHT = ("+447700900103", "+447700900104")


@pytest.fixture
async def gateway(database_url: str, smsc: Smsc, tmp_path: Path) -> AsyncIterator[WorkersProcess]:
    process = WorkersProcess(database_url, smsc.port, tmp_path)
    await process.start()
    yield process
    print(process.log)
    await process.stop()


@pytest.fixture
async def pair(gateway: WorkersProcess, smsc: Smsc) -> list[Sdk]:
    """Two services of one account; each is another worker's."""
    await until(lambda: len(smsc.carriers[0].connections) == 2)
    return [await Sdk.provisioned(gateway.base_url, numbers) for numbers in (LEFT, RIGHT)]


def ledger(smsc: Smsc) -> list[dict[str, Any]]:
    return [json.loads(line) for line in smsc.ledger.lines()]


async def test_each_pool_is_served_by_one_bind_and_all_is_delivered(
    pair: list[Sdk], smsc: Smsc, receiver: Receiver
) -> None:
    clients = [Client50(sdk, connections=8) for sdk in pair]
    await asyncio.gather(*(client.send(300, StatusCallback=receiver.url) for client in clients))
    sids = [sid for client in clients for sid in client.sids]
    assert len(set(sids)) == 600
    await receiver.has(sids)
    assert Counter(tuple(receiver.statuses[sid]) for sid in sids) == {
        ("queued", "sent", "delivered"): 600
    }
    binds: dict[str, set[str]] = defaultdict(set)
    for row in ledger(smsc):
        binds[row["source"]].add(row["bind"])
    assert set(binds) == {number.lstrip("+") for number in LEFT + RIGHT}
    print(binds)


def services(smsc: Smsc) -> dict[str, list[dict[str, Any]]]:
    """What was taken, by whose numbers."""
    left = {number.lstrip("+") for number in LEFT}
    parts: dict[str, list[dict[str, Any]]] = {"left": [], "right": []}
    for row in ledger(smsc):
        parts["left" if row["source"] in left else "right"].append(row)
    return parts


def slot_of(gateway: WorkersProcess, smsc: Smsc, sdk: Sdk) -> int:
    """The worker of a service: that of the bind which its messages leave by."""
    [bind] = {row["bind"] for row in ledger(smsc) if "+" + row["source"] in sdk.numbers}
    return int(bind.rpartition("#")[2]) - 1


@pytest.mark.parametrize("how", ["kill_worker", "freeze_worker"])
async def test_a_worker_that_dies_is_followed_in_time_and_loses_nothing(
    gateway: WorkersProcess, pair: list[Sdk], smsc: Smsc, receiver: Receiver, how: str
) -> None:
    for sdk in pair:
        await sdk.reaches((await sdk.send()).sid, "delivered")
    slot = slot_of(gateway, smsc, pair[0])
    clients = [Client50(sdk, connections=4) for sdk in pair]

    async def strike() -> None:
        await until(lambda: len(clients[0].sids) >= 300)
        getattr(gateway, how)(slot)

    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.send(1500, StatusCallback=receiver.url))
        tasks.create_task(strike())
    for client in clients:
        await receiver.has(client.sids)
        for sid in client.sids:
            steps = list(dict.fromkeys(receiver.statuses[sid]))
            assert steps == ["queued", "sent", "delivered"]
    times = sorted(row["time"] for row in services(smsc)["left"])
    pause = max(b - a for a, b in pairwise(times))
    print(f"\n{how}: its numbers were silent for {pause:.2f} s")
    # Of what was in the window nobody knows; nothing else is sent again, or refused.
    assert set(clients[0].refused) <= {502}
    assert clients[1].refused == []
    doubled = sum(
        times > 1
        for part in services(smsc).values()
        for times in Counter(row["destination"] for row in part).values()
    )
    connection = await asyncpg.connect(gateway.database_url)
    marked = await connection.fetchval(
        "SELECT count(*) FROM messages WHERE flags & $1 <> 0", Flag.POSSIBLE_DUPLICATE
    )
    await connection.close()
    assert doubled <= marked


async def test_what_a_handset_writes_finds_its_worker_by_any_bind(
    pair: list[Sdk], smsc: Smsc, hooks: Hooks
) -> None:
    for sdk, path in zip(pair, ("/left", "/right"), strict=True):
        for number in sdk.numbers:
            await configure_number(sdk, number, sms_url=hooks.url(path))
    long = "x" * 400  # three parts, each by another bind than the one before
    for sdk, path in zip(pair, ("/left", "/right"), strict=True):
        for turn in range(3):
            await write(smsc, f"{turn} {long}", sdk.numbers[0])
        taken = await hooks.has(path, 3)
        assert sorted(one.form["Body"] for one in taken) == [f"{turn} {long}" for turn in range(3)]
        assert all(one.valid for one in taken)
    for sdk in pair:
        await write(smsc, "STOP", sdk.numbers[1])
    await until(lambda: all(one.answered is not None for one in smsc.ledger.inbound))
    for sdk in pair:
        sid = (await sdk.send(to=HANDSET)).sid
        assert (await sdk.reaches(sid, "failed")).error_code == 21610


async def test_receipts_find_their_message_by_any_bind(
    database_url: str, start_smsc: Any, tmp_path: Path, receiver: Receiver
) -> None:
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(receipt_on_other_bind=True),)))
    process = WorkersProcess(database_url, smsc.port, tmp_path)
    await process.start()
    await until(lambda: len(smsc.carriers[0].connections) == 2)
    sdk = await Sdk.provisioned(process.base_url)
    client = Client50(sdk, connections=4)
    await client.send(100, StatusCallback=receiver.url)
    await receiver.has(client.sids)
    assert {tuple(receiver.statuses[sid]) for sid in client.sids} == {
        ("queued", "sent", "delivered")
    }
    await process.stop()


async def test_what_is_asked_of_any_worker_is_answered_by_the_one_that_knows(
    database_url: str, smsc: Smsc, tmp_path: Path, receiver: Receiver
) -> None:
    """Each request on a connection of its own, so that every worker gets some."""
    slow = WorkersProcess(database_url, smsc.port, tmp_path, default_rate_per_second=0.01)
    await slow.start()
    pair = [await Sdk.provisioned(slow.base_url, numbers) for numbers in (LEFT, RIGHT)]
    for sdk in pair:
        for _ in sdk.numbers:  # takes the one token of each
            await sdk.send(to=TO)
        await asyncio.gather(*(_asked(sdk, receiver) for _ in range(6)))
    status, page = await pair[0].operate("GET", "/tandem/v1/Carriers")
    assert status == 200
    [shown] = page["carriers"]
    assert [bind["name"] for bind in shown["status"]["binds"]] == ["simulator/1", "simulator/2"]
    assert all(bind["bound"] for bind in shown["status"]["binds"])
    await slow.stop()


async def _asked(sdk: Sdk, receiver: Receiver) -> None:
    """A message that waits is explained with its pool's loads, and canceled."""
    account = f"/2010-04-01/Accounts/{sdk.account_sid}"
    form = {"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": "wait"}
    status, made = await sdk.operate(
        "POST", f"{account}/Messages.json", data={**form, "StatusCallback": receiver.url}
    )
    assert (status, made["status"]) == (201, "accepted")
    path = f"{account}/Messages/{made['sid']}"
    status, why = await sdk.operate("GET", f"{path}/Explain.json")
    assert status == 200
    candidates = why["sender"]["now"]["candidates"]
    assert {candidate["address"] for candidate in candidates} == set(sdk.numbers)
    assert all(candidate["up"] for candidate in candidates), "only its own worker knows that"
    status, _ = await sdk.operate("POST", f"{account}/Messages/DryRun.json", data=form)
    assert status == 200
    status, canceled = await sdk.operate("POST", f"{path}.json", data={"Status": "canceled"})
    assert (status, canceled["status"]) == (200, "canceled")
    await receiver.has([made["sid"]], "canceled")
    assert receiver.statuses[made["sid"]].count("canceled") == 1
    bulk = {
        "from": {"messagingServiceSid": sdk.service_sid},
        "to": [{"address": f"+44791100{n:04d}"} for n in range(20)],
        "content": {"text": "all"},
    }
    status, body = await sdk.operate("POST", "/comms/v1/Messages", json=bulk)
    assert status == 202, body
    operation = f"/comms/v1/Messages/Operations/{body['operationId']}"
    status, ended = await sdk.operate("POST", f"{operation}/Cancel")
    assert status == 200
    # Whatever had left in that moment; a token may have been there.
    assert ended["stats"]["canceled"] >= 20 - len(sdk.numbers), ended


async def test_a_change_is_in_force_in_every_worker_when_it_is_answered(
    gateway: WorkersProcess,
) -> None:
    sdk = await Sdk.provisioned(gateway.base_url)
    for turn in range(10):
        path = f"/messaging/v1/Services/{sdk.service_sid}"
        status, _ = await sdk.operate("POST", path, data={"FriendlyName": f"name {turn}"})
        assert status == 200
        for _ in range(3):  # by connections of their own
            _, body = await sdk.operate("GET", path)
            assert body["friendly_name"] == f"name {turn}"


async def test_rates_hold_whichever_worker_is_asked(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    """In no ten seconds more than ten times the rate, and one message
    (docs/spec/messaging-services.md#token-bucket)."""
    process = WorkersProcess(database_url, smsc.port, tmp_path, default_rate_per_second=5)
    await process.start()
    pair = [await Sdk.provisioned(process.base_url, numbers) for numbers in (LEFT, RIGHT)]
    clients = [Client50(sdk, connections=8) for sdk in pair]
    await asyncio.gather(*(client.send(130) for client in clients))
    await until(lambda: len(smsc.ledger.entries) >= 260)
    await process.stop()
    times: dict[str, list[float]] = defaultdict(list)
    for row in ledger(smsc):
        times[row["source"]].append(row["time"])
    assert {len(number) for number in times.values()} == {65}
    for number in times.values():
        for first, later in zip(number, number[51:], strict=False):
            assert later - first > 9.5, "half a second for how late the carrier may read"


async def test_a_number_that_changes_its_service_takes_its_messages_along(
    database_url: str, start_smsc: Any, tmp_path: Path
) -> None:
    """What waits for it is another worker's from then on, and leaves once, by that one's bind."""
    smsc = await start_smsc()
    process = WorkersProcess(database_url, smsc.port, tmp_path, default_rate_per_second=5)
    await process.start()
    left = await Sdk.provisioned(process.base_url, LEFT)
    right = await Sdk.provisioned(process.base_url, RIGHT)
    sent = [
        (await left.send(f"message {n}", to=f"+4479{n:08d}", from_=LEFT[0])).sid for n in range(30)
    ]
    numbers = await left.call(left.client.incoming_phone_numbers.list, phone_number=LEFT[0])
    services = left.client.messaging.v1.services
    await left.call(services(left.service_sid).phone_numbers(numbers[0].sid).delete)
    await left.call(services(right.service_sid).phone_numbers.create, numbers[0].sid)
    for sid in sent:
        await left.reaches(sid, "delivered")
    rows = ledger(smsc)
    assert Counter(row["text"] for row in rows) == {f"message {n}": 1 for n in range(30)}
    assert len({row["bind"] for row in rows}) == 2, "both had a part of them"
    await process.stop()


async def test_what_is_stuck_at_one_worker_is_said_by_all(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    port = free_port()
    process = WorkersProcess(
        database_url,
        smsc.port,
        tmp_path,
        metrics={"port": port},
        default_rate_per_second=0.01,
        watchdog={"every_s": 0.1, "stuck_s": 0.2, "slow_s": 0.2},
    )
    await process.start()
    sdk = await Sdk.provisioned(process.base_url, RIGHT)
    for _ in range(5):
        await sdk.send()

    async def answers() -> list[str]:
        """Of ten connections: which worker has them is the kernel's choice."""
        found = []
        for _ in range(10):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/readyz") as response,
            ):
                found.append((await response.json())["status"])
        return found

    async with asyncio.timeout(WAIT_S):
        while set(await answers()) != {"degraded"}:
            await asyncio.sleep(0.1)
    assert set(await answers()) == {"degraded"}
    await process.stop()


async def test_metrics_are_those_of_all_workers(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    port = free_port()
    process = WorkersProcess(database_url, smsc.port, tmp_path, metrics={"port": port})
    await process.start()
    pair = [await Sdk.provisioned(process.base_url, numbers) for numbers in (LEFT, RIGHT)]
    for sdk in pair:
        await sdk.reaches((await sdk.send()).sid, "delivered")
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    accepted = {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "tandem_accepted_messages_total"
    }
    assert accepted == {"0": 1.0, "1": 1.0}
    await process.stop()


# A second gateway ---------------------------------------------------------------------------


async def test_a_second_gateway_stands_by_and_takes_over(
    database_url: str, smsc: Smsc, tmp_path: Path, receiver: Receiver
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    port = free_port()
    first, second = (GatewayProcess(database_url, smsc.port, folder, port) for folder in folders)
    await first.start()
    sdk = await Sdk.provisioned(first.base_url)
    starting = asyncio.create_task(second.start())
    await until(lambda: "standing by" in second.log)
    client = Client50(sdk, connections=8)

    async def strike() -> None:
        await until(lambda: len(client.sids) >= 300)
        await first.kill()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.send(600, StatusCallback=receiver.url))
        tasks.create_task(strike())
    await starting
    assert len(client.sids) >= 300
    await receiver.has(client.sids)
    await second.stop()


async def test_a_gateway_that_stands_by_can_be_stopped(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    gateway = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await gateway.start()
    folder = tmp_path / "second"
    folder.mkdir()
    for workers in (1, 2):
        other = GatewayProcess(database_url, smsc.port, folder, free_port(), workers=workers)
        starting = asyncio.create_task(other.start())
        await until(lambda n=workers, o=other: o.log.count("standing by") == n)
        assert await other.stop() == 0
        with pytest.raises(RuntimeError, match="with 0"):
            await starting
    await gateway.stop()


async def test_order_holds_when_a_service_changes_its_worker(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    """A bind is taken away and given back under load: what waits goes to the other worker."""
    one = carrier(smsc.port, binds=2)
    process = WorkersProcess(
        database_url,
        smsc.port,
        tmp_path,
        carriers=(one,),
        default_rate_per_second=40,
        secret_key="Z2F0ZXdheS10ZXN0cy1vbmx5LW5vdC1hLXNlY3JldCE=",
    )
    await process.start()
    await until(lambda: len(smsc.carriers[0].connections) == 2)
    pair = [await Sdk.provisioned(process.base_url, numbers) for numbers in (LEFT, RIGHT)]
    recipients = [f"+4479{n:08d}" for n in range(12)]

    async def chat(sdk: Sdk, recipient: str) -> None:
        account = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
        for turn in range(20):
            form = {"To": recipient, "From": sdk.numbers[0], "Body": f"{turn:02d}"}
            status, _ = await sdk.operate("POST", account, data=form)
            assert status == 201

    async def shrink() -> None:
        for binds in (1, 2):
            await until(lambda n=binds: len(smsc.ledger.entries) > 60 * n)
            status, body = await pair[0].operate(
                "POST", "/tandem/v1/Carriers/simulator", json={"binds": binds}
            )
            assert status == 200, body

    async with asyncio.TaskGroup() as tasks:
        for sdk in pair:
            for recipient in recipients:
                tasks.create_task(chat(sdk, recipient))
        tasks.create_task(shrink())
    await until(lambda: len(smsc.ledger.entries) >= 480)
    await process.stop()
    chats: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in ledger(smsc):
        chats[row["source"], row["destination"]].append(row["text"])
    assert len(chats) == 24
    for texts in chats.values():
        assert texts == [f"{turn:02d}" for turn in range(20)]

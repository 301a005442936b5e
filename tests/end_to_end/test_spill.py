"""Queues longer than memory should hold: they wait in rows, and nothing else about them changes."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from carriers import StartSmsc
from pools import Pool
from testing import WAIT_S, Client50, GatewayUnderTest, Receiver, Sdk, carrier, free_port, until

from gateway.acceptance import unassigned
from gateway.api.messages import comms
from gateway.backlog import overflow
from gateway.messages.message import Direction
from gateway.monitoring.watchdog import Reason
from storage import message_changes

NUMBER, OTHER = "+447700900201", "+447700900202"


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HIGH": 20, "LOW": 10, "LEAST": 5, "PAGE": 15, "HEAL_S": 0.1}.items():
        monkeypatch.setattr(overflow, name, value)


class Away:
    """A gateway whose carrier is not there yet."""

    def __init__(self, start_gateway: Any, start_smsc: StartSmsc, **settings: Any) -> None:
        self._start_gateway = start_gateway
        self._start_smsc = start_smsc
        self._port = free_port()
        waits = {"first_s": 0.05, "most_s": 0.1}
        self._settings = {"carriers": (carrier(self._port, refusal_waits=waits),), **settings}

    async def start(self) -> GatewayUnderTest:
        gateway = await self._start_gateway(self._port, **self._settings)
        assert isinstance(gateway, GatewayUnderTest)
        return gateway

    async def come(self) -> Any:
        return await self._start_smsc(port=self._port)


async def send(sdk: Sdk, count: int, **parameters: str) -> list[str]:
    """One after the other; their SIDs."""
    client = Client50(sdk, connections=1)
    await client.send(count, **parameters)
    assert len(client.sids) == count
    return client.sids


async def pool_of(gateway: GatewayUnderTest, smsc: Any) -> Pool:
    sdk = await Sdk.provisioned(gateway.base_url)
    service = await sdk.call(sdk.client.messaging.v1.services.create, "Long queues")
    return Pool(sdk, smsc, service.sid)


def texts(smsc: Any) -> list[str]:
    return [json.loads(line)["text"] for line in smsc.ledger.lines()]


async def test_a_long_queue_leaves_in_order_and_memory_holds_its_head_only(
    start_gateway: Any, start_smsc: StartSmsc, receiver: Receiver
) -> None:
    away = Away(start_gateway, start_smsc)
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    sids = await send(sdk, 200, From=sdk.numbers[0], StatusCallback=receiver.url)
    pipeline = gateway.pipeline
    assert (len(pipeline.pacer), len(pipeline.overflow)) == (20, 180)
    assert pipeline.router.loads.backlog(await _id_of(gateway, sdk.numbers[0])) == 200
    smsc = await away.come()
    await receiver.has(sids)
    assert texts(smsc) == [f"message {n}" for n in range(200)]
    assert len(pipeline.overflow) == len(pipeline.pacer) == 0
    assert pipeline.router.loads.backlog(await _id_of(gateway, sdk.numbers[0])) == 0


async def _id_of(gateway: GatewayUnderTest, address: str) -> int:
    return int(gateway.pipeline.runtime.directory.senders_by_address[address].sender.id)


async def test_what_comes_meanwhile_stays_behind_it(
    start_gateway: Any, start_smsc: StartSmsc
) -> None:
    away = Away(start_gateway, start_smsc, default_rate_per_second=300)
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    await send(sdk, 60, From=sdk.numbers[0], Body="early")
    smsc = await away.come()
    late = await send(sdk, 60, From=sdk.numbers[0], Body="late")
    for sid in late:
        await sdk.reaches(sid, "delivered")
    assert texts(smsc) == ["early"] * 60 + ["late"] * 60


async def test_it_survives_a_restart(start_gateway: Any, start_smsc: StartSmsc) -> None:
    away = Away(start_gateway, start_smsc)
    first = await away.start()
    sdk = await Sdk.provisioned(first.base_url)
    sids = await send(sdk, 100, From=sdk.numbers[0])
    await first.stop()
    second = await away.start()
    assert (len(second.pipeline.pacer), len(second.pipeline.overflow)) == (20, 80)
    sdk.client.api.base_url = f"{second.base_url}/api"
    smsc = await away.come()
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    assert texts(smsc) == [f"message {n}" for n in range(100)]


@pytest.mark.parametrize("told", [False, True])
async def test_what_is_looked_for_while_we_run_is_not_counted_twice(
    start_gateway: Any, start_smsc: StartSmsc, receiver: Receiver, told: bool
) -> None:
    callback = {"StatusCallback": receiver.url} if told else {}
    away, sdk, sids, pipeline, sender_id = await _deep(start_gateway, start_smsc, 100, **callback)
    read = pipeline.router.loads.backlog
    for _ in range(3):
        await pipeline.takeover.take_up_all()
        assert (len(pipeline.pacer), len(pipeline.overflow), read(sender_id)) == (20, 80, 100)
        await _counted(pipeline)
        assert (len(pipeline.pacer), len(pipeline.overflow), read(sender_id)) == (20, 80, 100)
    assert list(pipeline.overflow.queues()) == [(sender_id, 80, 0)], "nothing of it moved"
    await sdk.call(sdk.client.messages(sids[50]).update, status="canceled")
    await pipeline.takeover.take_up_all()
    await _counted(pipeline)
    assert (len(pipeline.overflow), read(sender_id)) == (79, 99)
    smsc = await away.come()
    for sid in sids[:50] + sids[51:]:
        await sdk.reaches(sid, "delivered")
    assert texts(smsc) == [f"message {n}" for n in range(100) if n != 50]
    assert (len(pipeline.overflow), read(sender_id)) == (0, 0)


async def test_rows_that_became_ours_behind_a_long_queue_are_counted_once(
    start_gateway: Any, start_smsc: StartSmsc
) -> None:
    away, sdk, sids, pipeline, sender_id = await _deep(start_gateway, start_smsc, 60)
    async with (
        pipeline.runtime.pool.acquire() as connection
    ):  # as another worker would have stored them
        rows = await connection.fetch("SELECT id FROM messages WHERE sender_id = $1", sender_id)
        for row in rows[:30]:
            await _stored_behind(connection, row["id"], Direction.OUTBOUND_API)
    for _ in range(2):
        await pipeline.takeover.take_up_all()
        await _counted(pipeline)
        assert (len(pipeline.overflow), pipeline.router.loads.backlog(sender_id)) == (70, 90)
    smsc = await away.come()
    await until(lambda: len(texts(smsc)) == 90)
    await sdk.reaches(sids[-1], "delivered")
    await until(lambda: not pipeline.router.loads.backlog(sender_id))
    assert len(pipeline.overflow) == 0


async def test_nothing_is_read_past_a_reply_that_is_still_coming_to_its_queue(
    start_gateway: Any, start_smsc: StartSmsc
) -> None:
    """Another stage has just stored it, and will bring it: what is behind must not pass it."""
    _, _, sids, pipeline, sender_id = await _deep(start_gateway, start_smsc, 60)
    async with pipeline.runtime.pool.acquire() as connection:
        await _stored_behind(connection, UUID(sids[29][2:]), Direction.OUTBOUND_REPLY)
        await pipeline.overflow._page_in(connection, sender_id)
        assert (len(pipeline.pacer), len(pipeline.overflow)) == (30, 30)


async def test_what_is_forgotten_while_its_rows_are_read_is_not_taken_up(
    start_gateway: Any, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, _, pipeline, sender_id = await _deep(start_gateway, start_smsc, 60)
    read = overflow.message_rows.waiting

    async def read_and_lose(*arguments: Any) -> list[Any]:
        rows = await read(*arguments)
        pipeline.overflow.forget(sender_id)
        return rows

    monkeypatch.setattr(overflow.message_rows, "waiting", read_and_lose)
    async with pipeline.runtime.pool.acquire() as connection:
        await pipeline.overflow._page_in(connection, sender_id)
    assert (len(pipeline.pacer), len(pipeline.overflow)) == (20, 0)
    assert pipeline.router.loads.backlog(sender_id) == 20, "its rows are settled, and once"


async def test_a_count_that_the_database_did_not_give_is_asked_for_again(
    start_gateway: Any, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, sids, pipeline, sender_id = await _deep(start_gateway, start_smsc, 60)
    ask = overflow.message_rows.waiting_sizes
    refused = asyncio.Event()

    async def refuse_once(*arguments: Any) -> list[Any]:
        if not refused.is_set():
            refused.set()
            raise ConnectionRefusedError
        return await ask(*arguments)

    monkeypatch.setattr(overflow.message_rows, "waiting_sizes", refuse_once)
    async with pipeline.runtime.pool.acquire() as connection:
        await _stored_behind(connection, UUID(sids[40][2:]), Direction.OUTBOUND_API)
    await pipeline.takeover.take_up_all()
    await refused.wait()
    await until(lambda: pipeline.router.loads.backlog(sender_id) == 61)
    assert len(pipeline.overflow) == 41


async def _deep(
    start_gateway: Any, start_smsc: StartSmsc, count: int, **parameters: str
) -> tuple[Away, Sdk, list[str], Any, int]:
    """So many messages wait for a carrier that is away, most of them in rows only."""
    away = Away(start_gateway, start_smsc)
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    sids = await send(sdk, count, From=sdk.numbers[0], **parameters)
    return away, sdk, sids, gateway.pipeline, await _id_of(gateway, sdk.numbers[0])


async def _stored_behind(connection: Any, id: UUID, direction: Direction) -> None:
    """A copy of this message, right behind it in the order; memory knows nothing of it."""
    await connection.execute(
        "INSERT INTO messages SELECT (jsonb_populate_record(m, jsonb_build_object("
        "'id', $1::uuid, 'direction', $3::int))).* FROM messages m WHERE id = $2",
        UUID(int=id.int + 1),
        id,
        int(direction),
    )


async def _counted(pipeline: Any) -> None:
    """What was found is counted: by the stage, or by us."""
    await until(lambda: not any(rest.unsure for rest in pipeline.overflow._rests.values()))
    for rest in pipeline.overflow._rests.values():
        rest.unsure = True
    async with pipeline.runtime.pool.acquire() as connection:
        await pipeline.overflow._count(connection)


async def test_one_of_it_can_be_canceled(start_gateway: Any, start_smsc: StartSmsc) -> None:
    away = Away(start_gateway, start_smsc)
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    sids = await send(sdk, 50, From=sdk.numbers[0])
    for sid in (sids[0], sids[30], sids[49]):
        await sdk.call(sdk.client.messages(sid).update, status="canceled")
    assert gateway.pipeline.router.loads.backlog(await _id_of(gateway, sdk.numbers[0])) == 47
    smsc = await away.come()
    await sdk.reaches(sids[48], "delivered")
    assert [(await sdk.fetch(sids[n])).status for n in (0, 30, 49)] == ["canceled"] * 3
    assert texts(smsc) == [f"message {n}" for n in range(50) if n not in (0, 30, 49)]
    assert len(gateway.pipeline.overflow) == 0


async def test_an_operation_is_canceled_in_few_statements(
    start_gateway: Any, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What memory has and what waits in rows, alike."""
    away = Away(start_gateway, start_smsc)
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    request = {
        "from": {"address": sdk.numbers[0]},
        "to": [{"address": f"+447400{n:06d}"} for n in range(50)],
        "content": {"text": "all"},
    }
    status, accepted = await sdk.operate("POST", "/comms/v1/Messages", json=request)
    assert status == 202
    sender_id = await _id_of(gateway, sdk.numbers[0])
    await until(lambda: (len(gateway.pipeline.pacer), len(gateway.pipeline.overflow)) == (20, 30))
    other = await send(sdk, 1, From=sdk.numbers[0], Body="another's")
    pages = _count(monkeypatch)
    monkeypatch.setattr(comms, "CANCEL_PAGE", 20)
    operation = f"/comms/v1/Messages/Operations/{accepted['operationId']}"
    status, said = await sdk.operate("POST", f"{operation}/Cancel")
    assert (status, said["status"], said["stats"]["canceled"]) == (200, "CANCELED", 50)
    assert pages == [20, 20, 10]
    assert gateway.pipeline.router.loads.backlog(sender_id) == 1
    smsc = await away.come()
    await sdk.reaches(other[0], "delivered")
    assert texts(smsc) == ["another's"]
    assert len(gateway.pipeline.overflow) == len(gateway.pipeline.pacer) == 0
    status, said = await sdk.operate("POST", f"{operation}/Cancel")
    assert (status, said["stats"]["canceled"], len(pages)) == (200, 50, 3)


def _count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each statement that cancels is about."""
    counts: list[int] = []
    many, one = message_changes.cancel_many, message_changes.cancel

    async def counted_many(pool: Any, account_id: int, ids: Any, **named: Any) -> Any:
        counts.append(len(ids))
        return await many(pool, account_id, ids, **named)

    async def counted(*arguments: Any, **named: Any) -> Any:
        counts.append(1)
        return await one(*arguments, **named)

    monkeypatch.setattr(message_changes, "cancel_many", counted_many)
    monkeypatch.setattr(message_changes, "cancel", counted)
    return counts


async def test_it_expires_in_its_rows(
    start_gateway: Any, start_smsc: StartSmsc, receiver: Receiver
) -> None:
    away = Away(start_gateway, start_smsc)
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    form = {"From": sdk.numbers[0], "ValidityPeriod": "1", "StatusCallback": receiver.url}
    sids = await send(sdk, 60, **form)
    await until(lambda: all(receiver.statuses[sid][-1:] == ["failed"] for sid in sids))
    assert {form["ErrorCode"] for form in receiver.forms if "ErrorCode" in form} == {"30036"}
    assert gateway.pipeline.router.loads.backlog(await _id_of(gateway, sdk.numbers[0])) == 0
    smsc = await away.come()
    after = await sdk.send("after it", from_=sdk.numbers[0])
    await sdk.reaches(after.sid, "delivered")
    assert texts(smsc) == ["after it"]


async def test_it_is_chosen_anew_when_its_number_leaves_the_pool(
    start_gateway: Any, start_smsc: StartSmsc
) -> None:
    away = Away(start_gateway, start_smsc)
    gateway = await away.start()
    smsc = await start_smsc()  # another, so that the pool has its ledger to read
    pool = await pool_of(gateway, smsc)
    sid = await pool.number(NUMBER)
    sids = await send(pool.sdk, 60, MessagingServiceSid=pool.sid)
    assert len(gateway.pipeline.overflow) == 40
    await pool.number(OTHER)
    await pool.sdk.call(pool.service.phone_numbers(sid).delete)
    there = await away.come()
    for one in sids:
        await pool.sdk.reaches(one, "delivered")
    sources = {json.loads(line)["source"] for line in there.ledger.lines()}
    assert sources == {OTHER[1:]}


async def test_a_deep_queue_without_senders_goes_to_the_senders_queues(
    start_gateway: Any, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits without a sender is bounded, too; the order of a recipient's messages stays."""
    monkeypatch.setattr(unassigned, "DEEP", 10)
    away = Away(start_gateway, start_smsc, default_rate_per_second=20)
    gateway = await away.start()
    smsc = await start_smsc()
    pool = await pool_of(gateway, smsc)
    await pool.number(NUMBER)
    await pool.number(OTHER)
    recipient = "+447400900300"
    await send(pool.sdk, 120, MessagingServiceSid=pool.sid, To=recipient)
    await until(lambda: len(gateway.pipeline.router.unassigned) == 0)
    assert len(gateway.pipeline.overflow) + len(gateway.pipeline.pacer) == 120
    monkeypatch.setattr(gateway.pipeline.router.rates, "_rate_for_all", 10_000.0)
    gateway.pipeline.router.configuration_changed()
    there = await away.come()
    gateway.pipeline.pacer.rates_changed(gateway.pipeline.runtime.clock.monotonic())
    await until(lambda: len(texts(there)) == 120)
    assert texts(there) == [f"message {n}" for n in range(120)]


async def test_a_deep_queue_without_senders_holds_up_only_those_who_have_mail_in_it(
    start_gateway: Any, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is bounded while more comes than can be assigned, and nobody's order changes."""
    monkeypatch.setattr(unassigned, "DEEP", 10)
    away = Away(start_gateway, start_smsc, default_rate_per_second=20)
    gateway = await away.start()
    pool = await pool_of(gateway, None)
    await pool.number(NUMBER)
    closed = asyncio.Event()
    take = gateway.pipeline.assigner._take

    def take_nothing() -> list[Any]:
        return take() if closed.is_set() else []

    monkeypatch.setattr(gateway.pipeline.assigner, "_take", take_nothing)
    await send(pool.sdk, 120, MessagingServiceSid=pool.sid)
    held = len(gateway.pipeline.router.unassigned)
    assert 10 <= held <= 20
    first = f"+4479{119 - held:08d}"  # a recipient that has none in it, and one that has
    again = {
        draft.message.recipient
        for q in gateway.pipeline.router.unassigned._queues.values()
        for draft in q
    }
    assert first not in again
    for recipient in (first, min(again)):
        await send(pool.sdk, 1, MessagingServiceSid=pool.sid, To=recipient, Body="again")
    assert len(gateway.pipeline.router.unassigned) == held + 1
    closed.set()
    gateway.pipeline.assigner.stir()
    await until(lambda: not gateway.pipeline.router.unassigned._recipients)


async def test_the_watchdog_counts_what_waits_in_rows_behind_a_bind_that_is_down(
    start_gateway: Any, start_smsc: StartSmsc
) -> None:
    away = Away(start_gateway, start_smsc, watchdog={"every_s": 0.05, "stuck_s": 600.0})
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    await send(sdk, 100, From=sdk.numbers[0])
    watch = gateway.inner.watch
    watch.look(1e9)  # long after
    watch.look(1e9 + 600.0)
    [episode] = watch.watchdog.episodes.values()
    assert (episode.places, episode.waiting, episode.in_rows) == (1, 20, 80)
    async with asyncio.timeout(WAIT_S):
        while not (listed := await sdk.call(sdk.client.monitor.v1.alerts.list)):
            await asyncio.sleep(0.02)
    assert "with+20+segments+and+80+messages+in+rows%2C+nothing+got+through" in listed[0].alert_text


async def test_the_watchdog_tells_of_rows_that_nobody_reads(
    start_gateway: Any, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(start_gateway, start_smsc, watchdog={"every_s": 0.05, "stuck_s": 0.5})
    gateway = await away.start()
    sdk = await Sdk.provisioned(gateway.base_url)
    await send(sdk, 100, From=sdk.numbers[0])
    read = asyncio.Event()
    page_in = gateway.pipeline.overflow._page_in

    async def reads_later(*arguments: Any) -> None:
        await read.wait()
        await page_in(*arguments)

    monkeypatch.setattr(gateway.pipeline.overflow, "_page_in", reads_later)
    watchdog = gateway.inner.watch.watchdog
    await away.come()
    await until(
        lambda: Reason.READING in {episode.group.reason for episode in watchdog.episodes.values()}
    )
    [episode] = [
        episode for episode in watchdog.episodes.values() if episode.group.reason is Reason.READING
    ]
    assert (episode.waiting, episode.in_rows) == (0, 80)
    read.set()
    await until(lambda: len(gateway.pipeline.overflow) == 0 and not watchdog.episodes)

"""Scheduled messages leave at their time: after a restart, and by what is true then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from testing import NUMBERS, TO, GatewayProcess, GatewayUnderTest, Receiver, Sdk, free_port, until

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
AT_ONCE = {"least_s": 0}


@pytest.fixture
async def sdk(start_gateway: Start, smsc: Smsc) -> Sdk:
    """With a minimum of no seconds, so that a test need not wait."""
    return await (await start_gateway(smsc.port, scheduling=AT_ONCE)).sdk()


async def schedule(sdk: Sdk, seconds: float, **more: Any) -> Any:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return await sdk.send(schedule_type="fixed", send_at=at, **more)


async def test_it_leaves_at_its_time_with_its_callbacks(
    sdk: Sdk, smsc: Smsc, receiver: Receiver
) -> None:
    later = await schedule(sdk, 600, to="+441632960999")
    message = await schedule(sdk, 2, body="“later”", status_callback=receiver.url)
    assert message.status == "scheduled"
    assert smsc.ledger.counters.submits == 0
    await receiver.has([message.sid])
    assert receiver.statuses[message.sid] == ["queued", "sent", "delivered"]
    final = await sdk.fetch(message.sid)
    assert (final.from_ in NUMBERS, final.num_segments, final.body) == (True, "1", '"later"')
    [entry] = [json.loads(line) for line in smsc.ledger.lines()]
    assert entry["text"] == '"later"'
    assert (await sdk.fetch(later.sid)).status == "scheduled"


async def test_an_explicit_from_is_kept_until_then(sdk: Sdk) -> None:
    for number in NUMBERS:
        message = await schedule(
            sdk, 1, messaging_service_sid=sdk.service_sid, from_=number, to="+441632960998"
        )
        assert (await sdk.reaches(message.sid, "delivered")).from_ == number


@pytest.mark.parametrize("former", ["+4407700900881", "+44007700900881"])
async def test_a_stop_holds_for_a_recipient_stored_in_another_spelling(
    start_gateway: Start, smsc: Smsc, former: str
) -> None:
    gateway = await start_gateway(smsc.port, scheduling=AT_ONCE)
    sdk = await gateway.sdk()
    message = await schedule(sdk, 2, to="+447700900881")
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE messages SET recipient = $1", former)
    await connection.close()
    path = "/tandem/v1/OptOuts/Recipients"
    block = {"To": "+447700900881", "MessagingServiceSid": sdk.service_sid}
    assert (await sdk.operate("POST", path, data=block))[0] in (200, 201)
    assert (await sdk.reaches(message.sid, "failed")).error_code == 21610


async def test_it_fails_when_its_service_is_gone_or_empty_by_then(sdk: Sdk) -> None:
    services = sdk.client.messaging.v1.services
    service = await sdk.call(services.create, "Gone")
    orphan = await schedule(sdk, 2, messaging_service_sid=service.sid)
    assert await sdk.call(services(service.sid).delete) is True
    empty = await sdk.call(services.create, "Empty")
    alone = await schedule(sdk, 1, messaging_service_sid=empty.sid)
    assert (await sdk.reaches(orphan.sid, "failed")).error_code == 21701
    assert (await sdk.reaches(alone.sid, "failed")).error_code == 21704


async def test_many_of_one_second_leave_once_each(sdk: Sdk, smsc: Smsc) -> None:
    gate = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        async with gate:
            await schedule(sdk, 6, to=f"+4416329{number:05d}")

    await asyncio.gather(*(one(number) for number in range(200)))
    await until(lambda: smsc.ledger.counters.submits == 200)
    assert len({json.loads(line)["destination"] for line in smsc.ledger.lines()}) == 200


async def test_it_leaves_after_a_kill_and_a_restart(
    database_url: str, smsc: Smsc, receiver: Receiver, tmp_path: Path
) -> None:
    process = GatewayProcess(
        database_url, smsc.port, tmp_path, free_port(), scheduling={"least_s": 0}
    )
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    during = await schedule(sdk, 1.5, to=TO, status_callback=receiver.url)
    after = await schedule(sdk, 8, to="+441632960676", status_callback=receiver.url)
    await process.kill()
    await asyncio.sleep(2)  # its time passes while nobody is there
    assert smsc.ledger.counters.submits == 0
    await process.start()
    await receiver.has([during.sid, after.sid])
    for sid in (during.sid, after.sid):
        assert receiver.statuses[sid] == ["queued", "sent", "delivered"]
    assert smsc.ledger.counters.submits == 2
    assert await process.stop() == 0

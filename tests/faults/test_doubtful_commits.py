"""Commits whose confirmation is lost, and writes that are overtaken: no message is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from testing import NUMBERS, TO, GatewayUnderTest, until

from gateway.acceptance import acceptor
from gateway.messages.message import Status
from smpp.smsc import CarrierScenario, ScenarioRule, Smsc
from storage import messages as message_rows
from storage import recipients as recipient_rows
from storage.database import Unconfirmed

Start = Callable[..., Awaitable[GatewayUnderTest]]
StartSmsc = Callable[..., Awaitable[Smsc]]


def submits(smsc: Smsc) -> int:
    return smsc.ledger.counters.submits


async def test_a_claim_that_was_committed_and_not_confirmed_is_ours(
    start_gateway: Start, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    smsc = await start_smsc(CarrierScenario())
    gateway = await start_gateway(smsc.port, default_rate_per_second=0.5)
    sdk = await gateway.sdk()
    claim = message_rows.claim
    lost = 0

    async def confirmation_lost(*arguments: Any) -> Any:
        nonlocal lost
        claimed = await claim(*arguments)
        lost += 1
        if lost == 1:
            raise ConnectionError("the answer is lost")
        return claimed

    monkeypatch.setattr(message_rows, "claim", confirmation_lost)
    # Of so many some wait for their turn, and are claimed by themselves.
    sids = [(await sdk.send(str(n), from_=NUMBERS[0])).sid for n in range(4)]
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    assert lost >= 2
    assert submits(smsc) == 4
    assert not gateway.pipeline.submitter._doubtful


@pytest.mark.parametrize("where", ["commit", "unlock"])
async def test_an_assignment_that_was_committed_and_not_confirmed_is_made_again_or_stands(
    where: str, start_gateway: Start, smsc: Smsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_gateway(smsc.port, scheduling={"least_s": 0})
    sdk = await gateway.sdk()
    assign, unlock = message_rows.assign, recipient_rows.unlock
    lost = 0

    async def confirmation_lost(connection: Any, *arguments: Any) -> Any:
        nonlocal lost
        ours = await assign(connection, *arguments)
        lost += 1
        if lost == 1:
            await connection.execute("COMMIT")
            raise ConnectionError("the answer is lost")
        return ours

    async def unlock_lost(connection: Any) -> Any:
        nonlocal lost
        lost += 1
        if lost == 1:
            raise ConnectionError("the answer is lost")
        return await unlock(connection)

    at = datetime.now(UTC) + timedelta(seconds=1)
    message = await sdk.send(schedule_type="fixed", send_at=at)
    if where == "commit":
        monkeypatch.setattr(message_rows, "assign", confirmation_lost)
    else:
        monkeypatch.setattr(recipient_rows, "unlock", unlock_lost)
    await sdk.reaches(message.sid, "delivered")
    assert lost >= 1
    await asyncio.sleep(0)
    assert submits(smsc) == 1
    assert not gateway.pipeline.assigner._doubtful


async def test_a_write_that_a_claim_overtook_does_not_undo_it(
    start_gateway: Start, start_smsc: StartSmsc
) -> None:
    """An acknowledged callback is written while its message is claimed on another connection."""
    smsc = await start_smsc(CarrierScenario(rules=(ScenarioRule(answer=False, stat="none"),)))
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    sid = (await sdk.send(to=TO)).sid
    await until(lambda: submits(smsc) == 1)
    [message] = gateway.pipeline.runtime.live.values()
    # As it was when the batch was taken.
    message.status, message.waiting = Status.QUEUED, True
    gateway.pipeline.writer.mark(message)
    await gateway.pipeline.writer.drained()
    connection = await asyncpg.connect(gateway.database_url)
    row = await connection.fetchrow("SELECT status, waiting FROM messages")
    await connection.close()
    assert (row["status"], row["waiting"]) == (Status.SENDING, None)
    message.status, message.waiting = Status.SENDING, False
    assert (await sdk.fetch(sid)).status == "sending"


@pytest.mark.parametrize("lane", ["small", "large", "nobody to send to"])
async def test_an_operation_whose_commit_nobody_knows_of_is_taken_back_with_its_key(
    lane: str, start_gateway: Start, smsc: Smsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever repeats it after the 503 sends it, and is not told that it was."""
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    count = {"small": 3, "large": acceptor.LARGE + 1}.get(lane, 0)
    lost = 0

    def confirmation_lost(connection: Any) -> None:
        nonlocal lost
        lost += 1
        if lost == 1:
            raise Unconfirmed("the answer is lost")

    request = {
        "from": {"messagingServiceSid": sdk.service_sid},
        "to": [{"address": f"+4474009{n:05d}"} for n in range(count)] or [{"address": "nobody"}],
        "content": {"text": "x"},
    }
    monkeypatch.setattr(acceptor, "confirm", confirmation_lost)
    answers = []

    async def repeated() -> bool:
        answers.append(
            await sdk.operate(
                "POST", "/comms/v1/Messages", json=request, headers={"Idempotency-Key": "k"}
            )
        )
        return answers[-1][0] != 503

    while not await repeated():
        await asyncio.sleep(0.05)
    assert answers[0][0] == 503
    status, accepted = answers[-1]
    assert status == 202
    connection = await asyncpg.connect(gateway.database_url)
    assert await connection.fetchval("SELECT count(*) FROM bulk_operations") == 1
    assert await connection.fetchval("SELECT count(*) FROM idempotency") == 1
    made = await connection.fetchval("SELECT count(*) FROM messages WHERE operation_id IS NOT NULL")
    await connection.close()
    assert made == count
    _, operation = await sdk.operate(
        "GET", f"/comms/v1/Messages/Operations/{accepted['operationId']}"
    )
    assert operation["stats"]["attempts"] == count

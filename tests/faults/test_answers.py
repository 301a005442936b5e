"""Answers that come late, never, or odd; callbacks beyond what memory holds."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
from testing import (
    TO,
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
from twilio.base.exceptions import TwilioException

from gateway.monitoring.watchdog import Reason
from gateway.observe.outage_log import EVENT, OUTAGE
from gateway.submission.submitter import MOST_UNANSWERED
from gateway.webhooks import host_queues as lanes_module
from smpp import vocabulary as v
from smpp.codec import encode
from smpp.pdu import Pdu
from smpp.smsc import CarrierScenario, Faults, Scenario, ScenarioRule, Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


async def simulator(rule: ScenarioRule) -> Smsc:
    smsc = Smsc(Scenario(carriers=(CarrierScenario(rules=(rule,)),)), seed=3)
    await smsc.start()
    return smsc


def seen(smsc: Smsc) -> Counter[str]:
    return Counter(json.loads(line)["destination"] for line in smsc.ledger.lines())


async def test_a_late_answer_ends_the_resubmissions(start_gateway: Start) -> None:
    """The answer takes longer than we wait: one copy more at most, then the late answer counts."""
    smsc = await simulator(ScenarioRule(answer_after_s=0.9, receipt_after_s=0.1))
    try:
        gateway = await start_gateway(
            smsc.port, carriers=(carrier(smsc.port, response_timeout_s=0.5),)
        )
        sdk = await gateway.sdk()
        sids = [(await sdk.send(to=f"+44163296080{n}")).sid for n in range(5)]
        for sid in sids:
            await sdk.reaches(sid, "delivered")
        assert max(seen(smsc).values()) == 1
    finally:
        await smsc.stop()


async def test_a_message_that_is_never_answered_is_given_up_after_so_many_copies(
    start_gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.submission.submitter.REST_S", 0.01)
    smsc = await simulator(ScenarioRule(answer=False, stat="none"))
    try:
        gateway = await start_gateway(
            smsc.port, carriers=(carrier(smsc.port, response_timeout_s=0.2),)
        )
        sdk = await gateway.sdk()
        message = await sdk.send()
        final = await sdk.reaches(message.sid, "failed")
        assert final.error_code == 30410
        assert seen(smsc)[TO[1:]] == MOST_UNANSWERED
    finally:
        await smsc.stop()


@pytest.mark.parametrize("length", [64, 65, 255, 12_000])
async def test_an_id_of_any_length_harms_nobody(start_gateway: Start, length: int) -> None:
    """A carrier whose ids are absurd: the message is sent, and the gateway lives."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                size = int.from_bytes(await reader.readexactly(4), "big")
                rest = await reader.readexactly(size - 4)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            command, sequence = (int.from_bytes(rest[at : at + 4], "big") for at in (0, 8))
            fields: dict[str, object] = {}
            if command == v.BIND_TRANSCEIVER:
                fields = {"system_id": "odd"}
            elif command == v.SUBMIT_SM:
                body = b"x" * length + b"\x00"
                header = (16 + len(body), v.SUBMIT_SM_RESP, 0, sequence)
                writer.write(b"".join(n.to_bytes(4, "big") for n in header) + body)
                continue
            writer.write(encode(Pdu(command | v.RESPONSE, sequence, 0, fields)))  # type: ignore[arg-type]

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        gateway = await start_gateway(port)
        sdk = await gateway.sdk()
        messages = [await sdk.send(to=f"+44163296081{n}") for n in range(3)]
        for message in messages:
            await sdk.reaches(message.sid, "sent")
        assert gateway.pipeline.acceptor.available
    finally:
        server.close()


async def test_callbacks_beyond_what_memory_holds_are_posted_all_the_same(
    sdk: Sdk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes and retries overflow; what was let go of is read from the rows again."""
    for name, value in (("LANE_BOUND", 20), ("RETRY_BOUND", 10), ("SWEEP_BELOW", 15)):
        monkeypatch.setattr(lanes_module, name, value)
    monkeypatch.setattr(lanes_module, "SWEEP_EVERY_S", 0.05)
    refused = 0

    async def answer(form: dict[str, str]) -> int:
        nonlocal refused
        if refused < 150:
            refused += 1
            return 503
        await asyncio.sleep(0.01)
        return 200

    receiver.answer = answer
    client = Client50(sdk)
    await client.send(300, StatusCallback=receiver.url)
    await receiver.has(client.sids)
    assert {tuple(receiver.statuses[sid]) for sid in client.sids} == {
        ("queued", "sent", "delivered")
    }


async def test_a_number_that_went_while_its_mail_waited_is_replaced_in_the_row_too(
    database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    process = GatewayProcess(database_url, port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    message = await sdk.send()
    before = (await sdk.fetch(message.sid)).from_
    numbers = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=before)
    await sdk.call(sdk.client.incoming_phone_numbers(numbers[0].sid).delete)
    await process.kill()

    smsc = Smsc(Scenario(), seed=4)
    await smsc.start(port=port)
    try:
        await process.start()
        final = await sdk.reaches(message.sid, "delivered")
        [entry] = [json.loads(line) for line in smsc.ledger.lines()]
        assert final.from_ == "+" + entry["source"] != before
        await process.stop()
    finally:
        await smsc.stop()


async def test_readyz_tells_that_the_database_went(
    gateway: GatewayUnderTest, postgres: str
) -> None:
    """An idle gateway notices by itself, and comes back by itself."""
    name = urlsplit(gateway.database_url).path[1:]
    server = await asyncpg.connect(postgres)
    async with aiohttp.ClientSession() as session:

        async def status() -> int:
            async with session.get(f"{gateway.base_url}/readyz") as response:
                return response.status

        assert await status() == 200
        await server.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            name,
        )
        async with asyncio.timeout(WAIT_S):
            while await status() != 503:
                await asyncio.sleep(0.02)
        await server.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        async with asyncio.timeout(WAIT_S):
            while await status() != 200:
                await asyncio.sleep(0.02)
    await server.close()


async def test_a_database_that_is_gone_is_told_though_nothing_waits(
    start_gateway: Start, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By one line in the log while the stages try again, and by an Alert that is stored later."""
    monitoring = {"every_s": 0.05, "stuck_s": 0.5, "slow_s": 600.0, "lost_s": 60.0}
    gateway = await start_gateway(free_port(), watchdog=monitoring)
    sdk = await Sdk.provisioned(gateway.base_url)
    name = urlsplit(gateway.database_url).path[1:]
    refusal = f'database "{name}" is not currently accepting connections'
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    handler.addFilter(OUTAGE)
    logging.getLogger().addHandler(handler)
    server = await asyncpg.connect(postgres)
    watchdog = gateway.inner.watch.watchdog
    try:
        await server.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )

        def said() -> list[logging.LogRecord]:
            ours = [record for record in caplog.records if record.name.startswith("gateway")]
            return [our for our in ours if refusal in our.getMessage()]

        await until(lambda: len(said()) >= 10)
        await until(lambda: bool(watchdog.episodes))
        [episode] = watchdog.episodes.values()
        assert (episode.group.where, episode.group.reason) == ("database", Reason.DATABASE)
        assert (episode.group.account_id, episode.waiting) == (0, 0)
        assert {getattr(line, "event", None) for line in said()} == {EVENT}
        assert shown.getvalue().count(refusal) <= 1
        assert gateway.pipeline.runtime.alerts.raised > 0
    finally:
        logging.getLogger().removeHandler(handler)
        await server.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        await server.close()
    async with asyncio.timeout(WAIT_S):
        codes: list[str] = []
        told = ("99002", "99001")
        while tuple(codes) != told:
            await asyncio.sleep(0.02)
            with contextlib.suppress(TwilioException):  # its pool comes back when it is asked
                listed = await sdk.call(sdk.client.monitor.v1.alerts.list)
                codes = [one.error_code for one in listed if one.error_code in told]
    assert any("sends+are+answered+with+503" in one.alert_text for one in listed)
    await until(lambda: any("the database is back" in text for text in caplog.messages))


async def test_a_message_that_ends_every_connection_is_given_up(
    start_gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The carrier drops the session on each submit: so many copies, and no more."""
    monkeypatch.setattr("gateway.submission.submitter.REST_S", 0.01)
    smsc = Smsc(Scenario(carriers=(CarrierScenario(faults=Faults(disconnect_every=1)),)), seed=3)
    await smsc.start()
    try:
        waits = {"first_s": 0.05, "most_s": 0.1}
        gateway = await start_gateway(
            smsc.port, carriers=(carrier(smsc.port, refusal_waits=waits),)
        )
        sdk = await gateway.sdk()
        message = await sdk.send()
        final = await sdk.reaches(message.sid, "failed")
        assert final.error_code == 30410
        assert seen(smsc)[TO[1:]] == MOST_UNANSWERED
    finally:
        await smsc.stop()


async def test_what_waits_follows_its_number_to_another_carrier(
    start_gateway: Start,
) -> None:
    """The operator's failover: the number is moved off a dead carrier."""
    smsc = Smsc(Scenario(), seed=3)
    await smsc.start()
    try:
        dead = carrier(free_port(), name="dead")
        gateway = await start_gateway(smsc.port, carriers=(dead, carrier(smsc.port)))
        await asyncio.wait_for(_one_up(gateway), WAIT_S)
        sdk = await Sdk.provisioned(gateway.base_url)
        sids = [(await sdk.send(str(n), from_=sdk.numbers[0])).sid for n in range(3)]
        [number] = await sdk.call(
            sdk.client.incoming_phone_numbers.list, phone_number=sdk.numbers[0]
        )
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}"
                f"/IncomingPhoneNumbers/{number.sid}.json",
                data={"CarrierName": "simulator"},
                headers={"Authorization": basic(sdk.account_sid, sdk.auth_token)},
            ) as response,
        ):
            assert response.status == 200
        for sid in sids:
            await sdk.reaches(sid, "delivered")
        assert [json.loads(line)["text"] for line in smsc.ledger.lines()] == ["0", "1", "2"]
    finally:
        await smsc.stop()


async def _one_up(gateway: GatewayUnderTest) -> None:
    while not any(one.up for one in gateway.pipeline.connectors.by_id.values()):
        await asyncio.sleep(0.01)

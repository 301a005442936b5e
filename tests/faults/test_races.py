"""Two gateways on one database: what must hold whichever of them is faster."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import asyncpg
import pytest
from testing import BOTH, NUMBERS, WAIT_S, GatewayProcess, Sdk, basic, free_port, sdk_client, until

from gateway.messages.message import Status
from gateway.opt_out.keywords import default_entries
from smpp.smsc import CarrierScenario, Scenario, Smsc

ROUNDS = 200
EACH_ROUND = 4  # recipients
RECIPIENTS = 1_000
SENDS = 10_000
STOP_REPLY = next(entry.reply for entry in default_entries() if entry.keyword.name == "STOP")


@pytest.fixture
async def carrier() -> AsyncIterator[Smsc]:
    smsc = Smsc(Scenario(carriers=(CarrierScenario(),), ledger_limit=50_000), seed=5)
    await smsc.start()
    yield smsc
    await smsc.stop()


@pytest.fixture
async def pair(database_url: str, carrier: Smsc, tmp_path: Path) -> AsyncIterator[list[Sdk]]:
    """The same account at two gateway processes."""
    async with AsyncExitStack() as stack:
        ports = [free_port(), free_port()]
        for number, port in enumerate(ports):
            folder = tmp_path / str(number)
            folder.mkdir()
            # What holds is the database's doing alone.
            process = GatewayProcess(database_url, carrier.port, folder, port, allow_unsafe=BOTH)
            await process.start()
            stack.push_async_callback(process.kill)
        await until(lambda: len(carrier.carriers[0].connections) == 2)
        numbers = (*NUMBERS, "+447700900103", "+447700900104")
        first = await Sdk.provisioned(f"http://127.0.0.1:{ports[0]}", numbers)
        yield [first, await known_to(first, f"http://127.0.0.1:{ports[1]}")]


async def known_to(sdk: Sdk, base_url: str) -> Sdk:
    """The account at another process, once that has heard of its service."""
    client = sdk_client(base_url, sdk.account_sid, sdk.auth_token)
    other = Sdk(base_url, client, sdk.service_sid, sdk.numbers)
    service = client.messaging.v1.services(sdk.service_sid)
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                members = await other.call(service.phone_numbers.list)
            except Exception:
                members = []
            if len(members) == len(sdk.numbers):
                return other
            await asyncio.sleep(0.05)


class Sender:
    """Plain requests, since the SDK's own cost would hide the race."""

    def __init__(self, session: aiohttp.ClientSession, sdk: Sdk) -> None:
        self._session = session
        self._sdk = sdk

    async def send(self, to: str, body: str) -> str:
        async with self._session.post(
            f"{self._sdk.base_url}/2010-04-01/Accounts/{self._sdk.account_sid}/Messages.json",
            data=urlencode({"To": to, "MessagingServiceSid": self._sdk.service_sid, "Body": body}),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Authorization": basic(self._sdk.account_sid, self._sdk.auth_token),
            },
        ) as response:
            answer = await response.json()
            assert response.status == 201, answer
            return str(answer["sid"])


async def test_two_first_messages_to_a_recipient_get_one_sender(
    pair: list[Sdk], carrier: Smsc
) -> None:
    async with aiohttp.ClientSession() as session:
        senders = [Sender(session, sdk) for sdk in pair]
        for number in range(ROUNDS):
            recipients = [f"+4479{number * EACH_ROUND + n:08d}" for n in range(EACH_ROUND)]
            await asyncio.gather(
                *(sender.send(to, "first") for to in recipients for sender in senders)
            )
    expected = 2 * ROUNDS * EACH_ROUND
    await until(lambda: len(carrier.ledger.entries) >= expected)
    sources = defaultdict(set)
    used: dict[str, int] = defaultdict(int)
    for line in carrier.ledger.lines():
        row = json.loads(line)
        sources[row["destination"]].add(row["source"])
        used[row["source"]] += 1
    assert len(sources) == ROUNDS * EACH_ROUND
    assert all(len(source) == 1 for source in sources.values())
    assert len(used) == 4, "every sender of the pool had its share"


async def ended(database_url: str) -> dict[str, int]:
    """How many API sends ended in which way, while none is open."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT status, error_code, count(*) AS n FROM messages WHERE direction = 1"
        " GROUP BY status, error_code"
    )
    await connection.close()
    if any(not Status(row["status"]).final for row in rows):
        return {}
    return {
        f"{Status(row['status']).shown} {row['error_code'] or ''}".strip(): row["n"] for row in rows
    }


async def test_no_message_leaves_after_a_stop_was_answered(
    pair: list[Sdk], carrier: Smsc, database_url: str
) -> None:
    recipients = [f"+4478{n:08d}" for n in range(RECIPIENTS)]
    sids: list[str] = []

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=80)) as session:
        senders = [Sender(session, sdk) for sdk in pair]

        async def send_all(worker: int) -> None:
            for n in range(worker, SENDS, 40):
                sender = senders[n % 2]
                sids.append(await sender.send(recipients[n * 7 % RECIPIENTS], f"{n}"))

        async def stop_all() -> None:
            for n, recipient in enumerate(recipients):
                carrier.carriers[0].mobile_originated(recipient, NUMBERS[n % 2], "STOP")
                if n % 10 == 9:  # spread over the time that the sends take
                    await until(lambda n=n: len(sids) * RECIPIENTS >= n * SENDS)

        await asyncio.gather(stop_all(), *(send_all(worker) for worker in range(40)))
    await until(lambda: all(one.answered is not None for one in carrier.ledger.inbound))
    await until(lambda: _confirmations(carrier) >= RECIPIENTS)

    async with asyncio.timeout(WAIT_S):
        while not (ends := await ended(database_url)) or sum(ends.values()) < SENDS:
            await asyncio.sleep(0.1)
    stopped = {one.source: one.answered or 0.0 for one in carrier.ledger.inbound}
    assert len(stopped) == RECIPIENTS
    late, left = [], 0
    for line in carrier.ledger.lines():
        row = json.loads(line)
        if row["text"] == STOP_REPLY:
            continue
        left += 1
        if row["time"] > stopped["+" + row["destination"].lstrip("+")]:
            late.append(row)
    assert late == []
    assert 0 < left < SENDS, "the STOPs came in the middle of it"
    assert ends == {"delivered": left, "failed 21610": SENDS - left}


def _confirmations(carrier: Smsc) -> int:
    return sum(json.loads(line)["text"] == STOP_REPLY for line in carrier.ledger.lines())

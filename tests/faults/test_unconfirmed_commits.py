"""A commit that no standby has: the server says so in a warning, and answers as if all were well.

A fail-over may take it back. So it counts as one whose answer was lost.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from chaos.database import Server
from testing import GatewayUnderTest, Sdk, basic, until

from gateway.messages.message import Flag, Status
from smpp.smsc import CarrierScenario, ScenarioRule, Smsc
from storage.database import Database, Unconfirmed, confirm, open_connection

Start = Callable[..., Awaitable[GatewayUnderTest]]
StartSmsc = Callable[..., Awaitable[Smsc]]

PATIENCE_S = 120.0
TO = "+447700900200"


class Standby:
    """The standby that commits wait for, or that they do not; there is none."""

    def __init__(self, connection: Any, url: str) -> None:
        self._connection = connection
        self._url = url

    async def wanted(self, wanted: bool) -> None:
        names = "nobody" if wanted else ""
        await self._connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await self._connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(PATIENCE_S):
            while await self._connection.fetchval("SHOW synchronous_standby_names") != names:
                await asyncio.sleep(0.01)
            if wanted:
                await self._in_force()

    async def _in_force(self) -> None:
        """Return when a commit waits: the setting is shown before the server's checkpointer, which
        tells all sessions, has read it.
        """
        probe = await asyncpg.connect(self._url)
        await self._connection.execute("CREATE TABLE IF NOT EXISTS probes (n int)")
        waits = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1"
        pid = probe.get_server_pid()
        while True:
            commit = asyncio.create_task(probe.execute("INSERT INTO probes VALUES (1)"))
            while not commit.done():
                if await self._connection.fetchval(waits, pid):
                    await self._connection.execute("SELECT pg_cancel_backend($1)", pid)
                    await commit
                    await probe.close()
                    return
                await asyncio.sleep(0.01)

    async def given_up(self, stage: str) -> None:
        """A commit of this stage waits, and somebody ends its wait."""
        waiting = (
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event = 'SyncRep' AND application_name LIKE 'tandem/%/' || $1"
        )
        async with asyncio.timeout(PATIENCE_S):
            while not await self._connection.fetchval(waiting, stage):
                await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="tandem-unconfirmed-") as name:
        one = Server(Path(name))
        await one.start()
        yield one
        await one.stop()


@pytest.fixture
async def database_url(server: Server) -> AsyncIterator[str]:
    """A database of a server of its own, whose settings are ours to change."""
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE DATABASE unconfirmed")
    yield server.url.replace("/tandem?", "/unconfirmed?")
    await connection.execute("DROP DATABASE unconfirmed WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    one = await asyncpg.connect(database_url)
    await one.execute("SET synchronous_commit = local")
    yield one
    await one.close()


@pytest.fixture
async def standby(connection: Any, database_url: str) -> AsyncIterator[Standby]:
    one = Standby(connection, database_url)
    yield one
    await one.wanted(False)


async def post(sdk: Sdk, to: str = TO) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
            data={"To": to, "Body": "hello", "MessagingServiceSid": sdk.service_sid},
            headers={"Authorization": basic(sdk.account_sid, sdk.auth_token)},
        ) as response,
    ):
        return response.status


def submits(smsc: Smsc, to: str) -> int:
    entries = map(json.loads, smsc.ledger.lines())
    return sum(entry["destination"] == to.lstrip("+") for entry in entries)


@pytest.mark.parametrize("how", ["statement", "transaction", "copy"])
async def test_a_session_hears_it_before_whoever_waits_goes_on(
    database_url: str, connection: Any, standby: Standby, how: str
) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    session = await open_connection(database_url, "test")
    confirm(session)
    await standby.wanted(True)

    async def commit() -> None:
        if how == "copy":
            await session.copy_records_to_table("t", records=[(1,)])
        elif how == "transaction":
            async with session.transaction():
                await session.execute("INSERT INTO t VALUES (1)")
        else:
            await session.execute("INSERT INTO t VALUES (1)")
        confirm(session)

    committing = asyncio.create_task(commit())
    await standby.given_up("test")
    with pytest.raises(Unconfirmed):
        await committing
    confirm(session)  # told once
    assert await connection.fetchval("SELECT count(*) FROM t") == 1  # it is there all the same
    await session.close()


@pytest.mark.parametrize("how", ["at once", "on a session", "in a transaction"])
async def test_whoever_works_by_the_pool_hears_it_too(
    database_url: str, connection: Any, standby: Standby, how: str
) -> None:
    """What the API changes is answered as if the database were away: nobody knows."""
    await connection.execute("CREATE TABLE t (n int)")
    pool = await Database(database_url, 1, lambda: True).open_pool(most=2)
    await standby.wanted(True)

    async def commit() -> None:
        if how == "at once":
            await pool.execute("INSERT INTO t VALUES (1)")
            return
        async with pool.acquire() as session:
            if how == "on a session":
                await session.execute("INSERT INTO t VALUES (1)")
            else:
                async with session.transaction():
                    await session.execute("INSERT INTO t VALUES (1)")

    committing = asyncio.create_task(commit())
    await standby.given_up("pool")
    with pytest.raises(Unconfirmed):
        await committing
    await standby.wanted(False)
    assert await pool.fetchval("SELECT count(*) FROM t") == 1
    await pool.close()


async def test_another_warning_is_none_of_it(database_url: str) -> None:
    session = await open_connection(database_url, "test")
    await session.execute("DO $$ BEGIN RAISE WARNING 'of an operator''s trigger'; END $$")
    await asyncio.sleep(0)
    confirm(session)
    await session.close()


async def test_a_send_whose_commit_is_on_no_standby_is_refused_and_taken_back(
    start_gateway: Start, smsc: Smsc, connection: Any, standby: Standby
) -> None:
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    await standby.wanted(True)
    sending = asyncio.create_task(post(sdk))
    await standby.given_up("accept")
    assert await sending == 503
    await standby.wanted(False)
    await until(lambda: gateway.pipeline.acceptor.available, seconds=PATIENCE_S)
    assert await connection.fetchval("SELECT count(*) FROM messages") == 0
    assert submits(smsc, TO) == 0
    assert await post(sdk) == 201
    await until(lambda: submits(smsc, TO) == 1, seconds=PATIENCE_S)


async def test_a_claim_that_is_on_no_standby_is_not_written_before_one_has_it(
    start_gateway: Start, smsc: Smsc, connection: Any, standby: Standby
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=0.25)
    sdk = await gateway.sdk()
    some = [f"+44770090020{n}" for n in range(4)]  # two numbers: at least two wait for four seconds
    for to in some:
        assert await post(sdk, to) == 201
    await standby.wanted(True)
    await standby.given_up("claim")
    rows = await connection.fetch(
        "SELECT recipient FROM messages WHERE status = $1 AND waiting IS NULL", int(Status.SENDING)
    )
    claimed = [row["recipient"] for row in rows if submits(smsc, row["recipient"]) == 0]
    assert claimed
    await standby.wanted(False)
    await until(lambda: all(submits(smsc, to) == 1 for to in some), seconds=PATIENCE_S)
    await gateway.pipeline.writer.drained()  # a batch under way is not pending any more
    marked = "SELECT flags FROM messages WHERE recipient = ANY($1)"
    for row in await connection.fetch(marked, claimed):
        assert row["flags"] & Flag.POSSIBLE_DUPLICATE
    assert not gateway.pipeline.submitter._unconfirmed


async def test_what_was_written_behind_and_is_on_no_standby_is_written_again(
    start_gateway: Start, start_smsc: StartSmsc, connection: Any, standby: Standby
) -> None:
    rule = ScenarioRule(receipt_after_s=0.3)
    smsc = await start_smsc(CarrierScenario(rules=(rule,)))
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    assert await post(sdk) == 201
    await standby.wanted(True)
    [message] = gateway.pipeline.runtime.live.values()
    before = message.committed
    await standby.given_up("write")
    await standby.given_up("write")  # it waits again
    assert message.committed is before
    await standby.wanted(False)
    status = "SELECT status FROM messages"
    async with asyncio.timeout(PATIENCE_S):
        while await connection.fetchval(status) != Status.DELIVERED:
            await asyncio.sleep(0.02)


async def test_an_inbound_message_on_no_standby_is_answered_when_one_has_it(
    start_gateway: Start, smsc: Smsc, connection: Any, standby: Standby
) -> None:
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    await standby.wanted(True)
    smsc.carrier().mobile_originated(TO, sdk.numbers[0], "hello")
    await standby.given_up("inbound")
    [entry] = smsc.ledger.inbound
    assert entry.answered is None
    await standby.wanted(False)
    await until(lambda: entry.answered is not None, seconds=PATIENCE_S)
    stored = "SELECT count(*) FROM messages WHERE direction = 0"
    assert await connection.fetchval(stored) == 1

"""Lists of rows: so many of an account at once, each with its time, and nobody else waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from conftest import Smsc, StartGateway
from testing import TO, WAIT_S, GatewayUnderTest, Sdk

LOCKED = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
   AND application_name LIKE 'tandem/%/pool'
"""
# By table: the lists that are read from it.
KINDS = {
    "messages": (
        "/2010-04-01/Accounts/{account}/Messages.json?To=%2B441632000000",
        "/2010-04-01/Accounts/{account}/Messages.json",
        "/messaging/v1/Services/{service}/Messages",
        "/comms/v1/Messages",
    ),
    "alerts": ("/monitor/v1/Alerts",),
    "conversations": ("/conversations/v1/Conversations",),
    "opt_outs": ("/tandem/v1/OptOuts/Recipients",),
    "opt_out_log": ("/tandem/v1/OptOuts/Log",),
    "sticky": ("/messaging/v1/Services/{service}/StickySenders",),
    "inventory": ("/2010-04-01/Accounts/{account}/AvailablePhoneNumbers/US/Local.json",),
    "kept_deliveries": ("/tandem/v1/Carriers/simulator/Deliveries",),
}


async def _get(sdk: Sdk, path: str, **more: Any) -> tuple[int, Any]:
    where = path.format(account=sdk.account_sid, service=sdk.service_sid)
    return await sdk.operate("GET", where, **more)


async def test_a_list_that_takes_too_long_is_answered_and_ended(
    start_gateway: StartGateway, smsc: Smsc, database_url: str
) -> None:
    """Of every kind of list that may have to look at much."""
    sdk = await (await start_gateway(smsc.port, limits={"list_s": 0.1})).sdk()
    holder = await asyncpg.connect(database_url)
    for table, paths in KINDS.items():
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            for path in paths:
                status, body = await _get(sdk, path)
                assert (status, body["code"]) == (503, 20503), (path, body)
                assert "0.1 s" in body["message"], path
    for path in [path for paths in KINDS.values() for path in paths]:
        status, body = await _get(sdk, path)
        assert status == 200, (path, body)
    await holder.close()


async def test_two_lists_of_an_account_are_read_at_once_and_nobody_else_waits(
    start_gateway: StartGateway, smsc: Smsc, database_url: str
) -> None:
    limits = {"list_s": WAIT_S, "lists_waiting": 6}
    sdk = await (await start_gateway(smsc.port, limits=limits)).sdk()
    other = await sdk.call(sdk.client.api.accounts.create)
    holder, watcher = [await asyncpg.connect(database_url) for _ in range(2)]
    async with holder.transaction():
        await holder.execute("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE")
        asked = [asyncio.create_task(_get(sdk, "/monitor/v1/Alerts")) for _ in range(8)]
        async with asyncio.timeout(WAIT_S):
            while await watcher.fetchval(LOCKED) < 2:
                await asyncio.sleep(0.01)
            while True:  # those that wait fill the line by and by
                status, _ = await _get(sdk, "/monitor/v1/Alerts")
                if status == 429:
                    break
        path = f"/2010-04-01/Accounts/{other.sid}/Messages.json?PageSize=1"
        status, _ = await sdk.operate("GET", path, other.sid, other.auth_token)
        assert status == 200
        assert await watcher.fetchval(LOCKED) == 2
    assert {status for status, _ in await asyncio.gather(*asked)} == {200}
    for connection in (holder, watcher):
        await connection.close()


async def test_yesterday_gets_its_indexes_beside_what_is_written(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    today = datetime.now(UTC).date()
    await gateway.pipeline.housekeeping.index_past_days()
    sent = await sdk.send("hello")
    pool = gateway.pipeline.runtime.pool
    found = await pool.fetch(
        "SELECT indexname FROM pg_indexes WHERE indexname ~ '^messages_[0-9]+_(recipient|sender)$'"
    )
    names = {row["indexname"] for row in found}
    for column in ("recipient", "sender"):
        assert f"messages_{today - timedelta(days=1):%Y%m%d}_{column}" in names
        assert f"messages_{today + timedelta(days=1):%Y%m%d}_{column}" not in names
    listed = await sdk.call(sdk.client.messages.list, to=TO)
    assert [message.sid for message in listed] == [sent.sid]

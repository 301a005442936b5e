"""Rows that wait in nobody's memory: whoever stored them is gone, and whoever works read before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from testing import ALLOWED, NUMBERS, GatewayUnderTest, Sdk, until

from gateway.backlog.recovery import STRANDED_S
from gateway.backlog.takeover import STRANDED
from gateway.loadtest.reconcile import Reconciliation, read_held, reconcile
from gateway.messages.message import Status
from smpp.smsc import Smsc
from storage.ids import Id, id_at, id_from_bytes

Start = Callable[..., Awaitable[GatewayUnderTest]]
PATIENCE_S = 120.0


@pytest.fixture
async def gateway(start_gateway: Start, smsc: Smsc) -> GatewayUnderTest:
    """One that has the database for itself."""
    return await start_gateway(smsc.port, allow_unsafe=ALLOWED)


@pytest.fixture
async def connection(gateway: GatewayUnderTest) -> Any:
    one = await asyncpg.connect(gateway.database_url)
    yield one
    await one.close()


async def strand(connection: Any, sid: str, age_s: float, **changes: Any) -> Id:
    """A copy of a delivered message, as a row that waits since then and that nobody read."""
    [now] = await connection.fetchrow("SELECT extract(epoch FROM now())::float8")
    id = id_from_bytes(id_at(now - age_s).bytes[:8] + b"stranded")
    values = {"id": id, "status": Status.QUEUED, "waiting": 0, "sent_at": None, "done_at": None}
    values |= {"recipient": "+447700900299"} | changes
    names = [
        row["attname"]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'messages'::regclass"
            " AND attnum > 0 AND NOT attisdropped"
        )
    ]
    chosen = ", ".join(f"${list(values).index(n) + 2}" if n in values else n for n in names)
    await connection.execute(
        f"INSERT INTO messages ({', '.join(names)}) SELECT {chosen} FROM messages WHERE id = $1",
        sid[2:],
        *values.values(),
    )
    return id


async def swept(gateway: GatewayUnderTest) -> None:
    """Return once a sweep is over."""
    takeover = gateway.pipeline.takeover
    takeover.sweep_soon()
    await until(lambda: takeover._sweep_at > 0.0, seconds=PATIENCE_S)


async def alerts(gateway: GatewayUnderTest, connection: Any) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM alerts WHERE code = $1", STRANDED)
    return found


@pytest.mark.parametrize("status", [Status.QUEUED, Status.ACCEPTED])
async def test_what_waits_in_nobodys_memory_is_taken_up_and_told(
    sdk: Sdk, gateway: GatewayUnderTest, smsc: Smsc, connection: Any, status: Status
) -> None:
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    changes = {"sender_id": None, "carrier_id": None} if status is Status.ACCEPTED else {}
    id = await strand(connection, sid, STRANDED_S + 10, status=status, **changes)
    await swept(gateway)
    await sdk.reaches(f"SM{id.hex}", "delivered")
    async with asyncio.timeout(PATIENCE_S):
        while not await alerts(gateway, connection):
            await asyncio.sleep(0.02)
    text = await connection.fetchval("SELECT text FROM alerts WHERE code = $1", STRANDED)
    assert text.startswith("1 messages waited in no gateway's memory")


async def test_what_is_young_or_scheduled_or_in_memory_is_let_be(
    start_gateway: Start, sdk: Sdk, gateway: GatewayUnderTest, connection: Any
) -> None:
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    young = await strand(connection, sid, 0.0)
    scheduled = await strand(connection, sid, STRANDED_S + 20, status=Status.SCHEDULED)
    [message] = gateway.pipeline.runtime.live.values()
    held = await strand(connection, sid, STRANDED_S + 10)
    gateway.pipeline.runtime.live[held] = message  # whatever it is: it is there
    await swept(gateway)
    rows = await connection.fetch("SELECT id FROM messages WHERE waiting IS NOT NULL")
    assert {row["id"] for row in rows} == {young, scheduled, held}
    assert not await alerts(gateway, connection)


async def test_with_another_gateway_on_the_database_what_it_holds_is_its_own(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port)  # both allowed
    sdk = await gateway.sdk()
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    connection = await asyncpg.connect(gateway.database_url)
    await strand(connection, sid, STRANDED_S + 10)
    await swept(gateway)
    assert await connection.fetchval("SELECT count(*) FROM messages WHERE waiting IS NOT NULL") == 1
    await connection.close()


async def test_reconcile_tells_what_waits_in_no_gateways_memory(
    start_gateway: Start, smsc: Smsc, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await start_gateway(smsc.port)  # it does not sweep
    sdk = await gateway.sdk()
    sid = (await sdk.send(body="x", from_=NUMBERS[0])).sid
    await sdk.reaches(sid, "delivered")
    ledger = f"http://127.0.0.1:{smsc.control_port}"

    async def asked(*gateways: str) -> tuple[int, str]:
        settings = gateway.inner.settings
        capsys.readouterr()
        status = await reconcile(settings, ledger, pauses_s=(0.1,), gateways=gateways)
        return status, capsys.readouterr().out

    assert await asked(gateway.base_url) == (0, (await asked(gateway.base_url))[1])
    connection = await asyncpg.connect(gateway.database_url)
    await strand(connection, sid, STRANDED_S + 10)
    await strand(connection, sid, STRANDED_S + 20)
    status, said = await asked(gateway.base_url)
    assert status == 1
    assert "stranded 2: waiting for over 30 s, but in no gateway's memory" in said
    # Whoever can't be asked may have them.
    status, said = await asked(gateway.base_url, "http://127.0.0.1:1")
    assert (status, "stranded" in said) == (0, False)
    assert "http://127.0.0.1:1 can't be asked what it holds" in said
    assert (await asked())[0] == 0  # as ever, where nobody is named
    await connection.close()


def test_what_several_workers_hold_is_held_by_the_gateway() -> None:
    text = (
        '# TYPE tandem_held_messages gauge\ntandem_held_messages{worker="0"} 3.0\n'
        'tandem_held_messages{worker="1"} 4.0\ntandem_other 9.0\n'
    )
    assert read_held(text) == 7
    assert read_held("tandem_held_messages 1.5e+06\n") == 1_500_000
    with pytest.raises(ValueError, match="no tandem_held_messages"):
        read_held("tandem_other 1.0\n")


def test_what_was_stranded_at_one_look_only_is_on_its_way() -> None:
    first, second = Reconciliation(stranded=3), Reconciliation(stranded=5)
    second.still(first)
    assert second.stranded == 3
    third = Reconciliation(stranded=0)
    third.still(second)
    assert third.clean

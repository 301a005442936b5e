"""`tandem reconcile` on a gateway that lives: deletions, traffic, and what an app was told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from commands import Command
from testing import WAIT_S, Client50, GatewayUnderTest, Receiver, Sdk, until

from gateway.loadtest.reconcile import read_sids, reconcile
from gateway.settings import Settings
from smpp.smsc import Smsc


class Reconciled:
    """The command, on the database and the simulator of the test."""

    def __init__(self, gateway: GatewayUnderTest, smsc: Smsc, out: pytest.CaptureFixture) -> None:
        self._settings = Settings(database_url=gateway.database_url)
        self._control = f"http://127.0.0.1:{smsc.control_port}"
        self._out = out
        self.said = ""

    async def run(self, told: list[str] | None = None, pauses_s: tuple[float, ...] = ()) -> int:
        self._out.readouterr()
        status = await reconcile(
            self._settings, self._control, None, read_sids(told or ()), pauses_s
        )
        self.said = self._out.readouterr().out
        return status


@pytest.fixture
def reconciled(
    gateway: GatewayUnderTest, smsc: Smsc, capsys: pytest.CaptureFixture[str]
) -> Reconciled:
    return Reconciled(gateway, smsc, capsys)


async def delivered(sdk: Sdk, receiver: Receiver, count: int) -> list[str]:
    client = Client50(sdk, connections=4)
    await client.send(count, StatusCallback=receiver.url)
    await receiver.has(client.sids)
    return client.sids


async def delete(sdk: Sdk, sid: str) -> None:
    await sdk.call(sdk.client.messages(sid).delete)


async def test_what_was_deleted_is_counted_and_agrees(
    sdk: Sdk, receiver: Receiver, reconciled: Reconciled, gateway: GatewayUnderTest
) -> None:
    sids = await delivered(sdk, receiver, 6)
    for sid in sids[:2]:
        await delete(sdk, sid)
    assert await reconciled.run(sids) == 0, reconciled.said
    assert "deleted 2, foreign 0" in reconciled.said
    assert "vanished 0" in reconciled.said
    # A row that goes without a word is foreign at the carrier, and told to the app in vain.
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("DELETE FROM messages WHERE id = $1", sids[2][2:])
    await connection.close()
    assert await reconciled.run(sids) == 1
    assert "deleted 2, foreign 1" in reconciled.said
    assert f"vanished 1\n{sids[2]}: told 201, and there is no row" in reconciled.said


async def test_a_row_that_never_left_is_missed_all_the_same(
    sdk: Sdk, receiver: Receiver, reconciled: Reconciled
) -> None:
    """The carrier knows nothing of it: without the app's list both sides agree."""
    await delivered(sdk, receiver, 1)
    told = ["SM" + "0" * 32]
    assert await reconciled.run() == 0
    assert await reconciled.run(told) == 1
    assert "vanished 1" in reconciled.said


async def test_under_traffic_what_is_on_its_way_is_no_difference(
    sdk: Sdk, receiver: Receiver, reconciled: Reconciled
) -> None:
    stop = asyncio.Event()
    client = Client50(sdk, connections=8)

    async def send() -> None:
        while not stop.is_set():
            await client.send(200, StatusCallback=receiver.url)

    sending = asyncio.create_task(send())
    await until(lambda: len(client.sids) > 50)
    try:
        for _ in range(3):
            assert await reconciled.run(pauses_s=(0.5, 0.5, 1.0, 2.0)) == 0, reconciled.said
    finally:
        stop.set()
        await sending
    await receiver.has(client.sids)


async def test_a_deletion_is_forgotten_with_the_journal(
    sdk: Sdk, receiver: Receiver, reconciled: Reconciled, gateway: GatewayUnderTest
) -> None:
    one, other = await delivered(sdk, receiver, 2)
    for sid in (one, other):
        await delete(sdk, sid)
    connection = await asyncpg.connect(gateway.database_url)
    age = "UPDATE deleted_messages SET deleted_at = now() - $2::interval WHERE message_id = $1"
    await connection.execute(age, one[2:], timedelta(hours=24))
    await connection.execute(age, other[2:], timedelta(hours=23))
    async with asyncio.timeout(WAIT_S):
        while await connection.fetchval("SELECT count(*) FROM deleted_messages") == 2:
            await asyncio.sleep(0.05)
    assert (await connection.fetchval("SELECT message_id FROM deleted_messages")).hex == other[2:]
    await connection.close()
    assert await reconciled.run() == 1
    assert "deleted 1, foreign 1" in reconciled.said


async def test_the_command_reads_the_list_of_an_app(
    sdk: Sdk,
    receiver: Receiver,
    gateway: GatewayUnderTest,
    smsc: Smsc,
    command: Command,
    tmp_path: Path,
) -> None:
    sids = await delivered(sdk, receiver, 3)
    file = tmp_path / "accepted"
    command.environment["TANDEM_DATABASE_URL"] = gateway.database_url
    options = ("--ledger", f"http://127.0.0.1:{smsc.control_port}", "--api", str(file))
    assert await command.run("reconcile", *options) == 2  # there is no such file
    file.write_text("\n".join(sids))
    assert await command.run("reconcile", *options) == 0, command.said
    file.write_text("\n".join([*sids, "SM" + "0" * 32]))
    assert await command.run("reconcile", *options) == 1
    assert "vanished 1" in command.said
    file.write_text("nothing")
    assert await command.run("reconcile", *options) == 2

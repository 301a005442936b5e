"""`tandem restore`: what may have been sent since a backup is held, listed, released, closed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit, urlunsplit

import asyncpg
import pytest
from carriers import StartSmsc
from testing import (
    ACCOUNT_SID,
    NUMBERS,
    TO,
    GatewayUnderTest,
    Receiver,
    Sdk,
    carrier,
    free_port,
)

from gateway.commands.main import main
from gateway.messages.message import Status
from smpp.smsc import Smsc
from storage import messages
from storage.ids import Id, id_from_hex

SECOND = timedelta(seconds=1)
LATER = timedelta(minutes=10)

Run = Callable[..., Awaitable[str]]


class Places:
    """Gateways on databases of ours, and the carrier that they all use: away, until it comes."""

    def __init__(self, stack: AsyncExitStack, start_smsc: StartSmsc, folder: Path) -> None:
        self._stack = stack
        self._start_smsc = start_smsc
        self._folder = folder
        self._port = free_port()

    async def gateway(self, database_url: str) -> GatewayUnderTest:
        waits = {"first_s": 0.05, "most_s": 0.1}
        settings = {
            "carriers": (carrier(self._port, refusal_waits=waits),),
            "scheduling": {"least_s": 0},
        }
        one = GatewayUnderTest(database_url, self._port, self._folder, settings)
        return await self._stack.enter_async_context(one)

    async def carrier_comes(self) -> Smsc:
        return await self._start_smsc(port=self._port)


@pytest.fixture
async def places(start_smsc: StartSmsc, tmp_path: Path, database_url: str) -> AsyncIterator[Places]:
    """Ended before the database is."""
    async with AsyncExitStack() as stack:
        yield Places(stack, start_smsc, tmp_path)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the operator's."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def run(tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """`tandem restore …`: what it printed, or its error."""

    async def run(*words: str, status: int = 0, url: str = database_url) -> str:
        file = tmp_path / "restore.toml"
        file.write_text(f'database_url = "{url}"\ndata_dir = "{tmp_path}"\n')
        arguments = ["restore", *words, "--config", str(file)]
        assert await asyncio.to_thread(main, arguments) == status, capsys.readouterr()
        printed = capsys.readouterr()
        assert not (status == 0 and printed.err)
        return printed.err if status else printed.out

    return run


def now() -> str:
    return datetime.now(UTC).isoformat()


def texts(smsc: Smsc) -> list[str]:
    return sorted(json.loads(line)["text"] for line in smsc.ledger.lines())


def id_of(sid: str) -> Id:
    return id_from_hex(sid[2:])


async def turn(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    """The SDK goes on with another gateway."""
    sdk.base_url = gateway.base_url
    for product in ("api", "messaging", "monitor"):
        getattr(sdk.client, product).base_url = f"{gateway.base_url}/{product}"
    await gateway.bound()


async def held_by_alerts(sdk: Sdk) -> list[int]:
    """The number in each alert about what is held, the latest first."""
    alerts = await sdk.call(sdk.client.monitor.v1.alerts.list)
    texts = [unquote_plus(alert.alert_text) for alert in alerts if alert.error_code == "99004"]
    return [
        int(number) for text in texts for number in re.findall(r"(\d+) messages are held", text)
    ]


async def explained(sdk: Sdk, sid: str) -> Any:
    path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}/Explain.json"
    status, body = await sdk.operate("GET", path)
    assert status == 200
    return body


async def test_what_is_held_leaves_only_when_it_is_released(
    places: Places,
    run: Run,
    receiver: Receiver,
    database_url: str,
    database: asyncpg.Connection[asyncpg.Record],
) -> None:
    # Accepted before the backup, and not sent: the carrier is away.
    first = await places.gateway(database_url)
    sdk = await Sdk.provisioned(first.base_url)
    told = {"status_callback": receiver.url}
    number = {"from_": NUMBERS[0]}
    service = (await sdk.send("service", **told)).sid
    direct = (await sdk.send("direct", **number)).sid
    claimed = (await sdk.send("claimed", **number, **told)).sid
    overdue = (await sdk.send("overdue", **number, **told)).sid
    closed = (await sdk.send("closed", **told)).sid
    soon, later = [
        (await sdk.send(text, schedule_type="fixed", send_at=datetime.now(UTC) + LATER)).sid
        for text in ("soon", "later")
    ]
    await first.stop()
    assert await messages.claim(database, [id_of(claimed)], Status.SENDING) == {id_of(claimed)}
    await database.execute("UPDATE messages SET send_at = now() WHERE id = $1", id_of(soon))
    await database.execute("UPDATE messages SET expires_at = now() WHERE id = $1", id_of(overdue))
    heard = len(receiver.forms)

    held = {service, direct, claimed, overdue, closed, soon}
    said = await run("--as-of", now())
    assert said.startswith("held as of ")
    assert ": 6 messages (" in said
    assert "1 sending" in said
    assert "not held, their time has not come: 1 scheduled" in said
    assert "held before" in await run("hold", "--as-of", "2026-11-24T21:00:00Z")

    listed = json.loads(await run("list", "--format", "json"))
    assert {one["sid"] for one in listed["held"]} == held
    assert sum(listed["counts"].values()) == 6
    shown = {one["sid"]: one for one in listed["held"]}
    assert shown[claimed] | {"accepted_at": "", "valid_until": ""} == {
        "sid": claimed,
        "account_sid": ACCOUNT_SID,
        "messaging_service_sid": None,
        "from": NUMBERS[0],
        "to": TO[:-4] + "****",
        "status": "sending",
        "accepted_at": "",
        "valid_until": "",
        "segments": 1,
    }
    assert shown[service]["messaging_service_sid"] == sdk.service_sid
    table = await run("list")
    assert table.splitlines()[0].split()[:4] == ["SID", "ACCOUNT", "SERVICE", "FROM"]
    assert all(sid in table for sid in held)
    assert table.splitlines()[-1].startswith("6 messages (")
    for secret in (TO, "direct", "claimed"):
        assert secret not in table

    # The carrier is there, a new message goes through, and nothing else does.
    smsc = await places.carrier_comes()
    second = await places.gateway(database_url)
    await turn(sdk, second)
    for text, sender in (("fresh", {}), ("fresh too", number)):
        await sdk.reaches((await sdk.send(text, **sender)).sid, "delivered")
    assert texts(smsc) == ["fresh", "fresh too"]
    pipeline = second.pipeline
    assert len(pipeline.pacer) == len(pipeline.overflow) == len(pipeline.router.unassigned) == 0
    assert len(receiver.forms) == heard
    assert (await sdk.fetch(later)).status == "scheduled"
    assert (await sdk.fetch(claimed)).status == "queued"
    assert await held_by_alerts(sdk) == [6, 6]

    # Decided while the gateway runs; followed at its next start.
    assert "released 2 messages" in await run("release", claimed, overdue)
    assert "closed 1 message: failed, 30410" in await run("close", closed)
    assert (await sdk.fetch(closed)).error_code == 30410
    await second.stop()
    third = await places.gateway(database_url)
    await turn(sdk, third)
    await receiver.has([claimed])
    await receiver.has([closed, overdue], last="failed")
    assert (await sdk.fetch(claimed)).status == "delivered"
    assert (await sdk.fetch(overdue)).error_code == 30036
    assert receiver.statuses[closed][-2:] in (["queued", "failed"], ["failed"])
    assert {form.get("ErrorCode") for form in receiver.forms if form["MessageSid"] == closed} >= {
        "30410"
    }
    assert (await explained(sdk, claimed))["possible_duplicate"] is True
    assert texts(smsc) == ["claimed", "fresh", "fresh too"]

    await third.stop()
    assert "released 3 messages" in await run("release", "--all")
    assert await run("list") == "0 messages\n"
    fourth = await places.gateway(database_url)
    await turn(sdk, fourth)
    for sid in (service, direct, soon):
        await sdk.reaches(sid, "delivered")
    await receiver.has([service])
    assert texts(smsc) == ["claimed", "direct", "fresh", "fresh too", "service", "soon"]
    assert (await sdk.fetch(later)).status == "scheduled"
    assert await held_by_alerts(sdk) == [3, 6, 6]


async def test_nothing_that_left_after_the_backup_leaves_again(
    places: Places, run: Run, database_url: str, postgres: str
) -> None:
    """A backup, two messages sent since, and the backup put in the place of what was lost."""
    first = await places.gateway(database_url)
    sdk = await Sdk.provisioned(first.base_url)
    sids = [(await sdk.send(f"message {number}")).sid for number in range(2)]
    await first.stop()
    backup = urlsplit(database_url)._replace(path=urlsplit(database_url).path + "_backup")
    server = await asyncpg.connect(postgres)
    await server.execute(
        f'CREATE DATABASE "{backup.path[1:]}" TEMPLATE "{urlsplit(database_url).path[1:]}"'
    )
    as_of = now()
    smsc = await places.carrier_comes()
    lost = await places.gateway(database_url)
    await turn(sdk, lost)
    for sid in sids:
        await sdk.reaches(sid, "delivered")
    await lost.stop()

    url = urlunsplit(backup)
    assert "held as of" in await run("hold", "--as-of", as_of, url=url)
    restored = await places.gateway(url)
    await turn(sdk, restored)
    await sdk.reaches((await sdk.send("fresh")).sid, "delivered")
    assert texts(smsc) == ["fresh", "message 0", "message 1"]
    # The journal is no part of the database: it still knows what left.
    pdus = (await explained(sdk, sids[0]))["pdus"]
    assert pdus[0]["summary"].startswith("submit_sm ")
    assert "closed 2 messages" in await run("close", "--before", now(), url=url)
    assert {(await sdk.fetch(sid)).status for sid in sids} == {"failed"}
    await restored.stop()
    await server.execute(f'DROP DATABASE "{backup.path[1:]}" WITH (FORCE)')
    await server.close()


async def test_what_is_decided_beside_a_gateway_is_heard_of_at_once(
    places: Places, run: Run, database_url: str, receiver: Receiver
) -> None:
    first = await places.gateway(database_url)
    sdk = await Sdk.provisioned(first.base_url)
    sids = [
        (await sdk.send(f"message {number}", status_callback=receiver.url)).sid
        for number in range(2)
    ]
    await first.stop()
    assert "held as of" in await run("hold", "--as-of", now())
    await places.carrier_comes()
    second = await places.gateway(database_url)
    await turn(sdk, second)
    assert "released 1 message" in await run("release", sids[0])
    await sdk.reaches(sids[0], "delivered")
    assert "closed 1 message" in await run("close", sids[1])
    await receiver.has(sids[:1])
    await receiver.has(sids[1:], "failed")
    await second.stop()


async def test_it_is_not_held_beside_a_gateway(
    places: Places, run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.backlog.backup_hold.LEAVES_S", 0.0)
    gateway = await places.gateway(database_url)
    assert "a gateway is using this database" in await run("hold", "--as-of", now(), status=2)
    await gateway.stop()
    monkeypatch.undo()
    assert ": 0 messages\n" in await run("hold", "--as-of", now())


async def test_what_makes_no_sense_is_refused_and_says_why(
    run: Run, empty_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "say --as-of TIME" in await run(status=2)
    assert "say --as-of TIME" in await run("hold", status=2)
    future = (datetime.now(UTC) + LATER).isoformat()
    assert "has not come" in await run("hold", "--as-of", future, status=2)
    unknown = "SM" + "0" * 32
    for action in ("release", "close"):
        for words in ((), (unknown, "--all"), ("--all", "--before", now())):
            assert "say which" in await run(action, *words, status=2)
        assert f"not held: {unknown}" in await run(action, unknown, status=2)
        assert "is not the SID" in await run(action, "hello", status=2)
        assert " 0 messages" in await run(action, "--all")
    empty = {"url": empty_database_url, "status": 2}
    assert "no Tandem tables" in await run("hold", "--as-of", now(), **empty)
    assert "no Tandem tables" in await run("list", **empty)
    nowhere = f"postgresql://127.0.0.1:{free_port()}/tandem"
    assert "the database can't be asked" in await run("list", url=nowhere, status=2)
    with pytest.raises(SystemExit):
        await run("hold", "--as-of", "yesterday")
    assert "invalid moment value: 'yesterday'" in capsys.readouterr().err


async def test_without_a_database_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n')
    arguments = ["restore", "--config", str(file), "list"]
    assert await asyncio.to_thread(main, arguments) == 2
    assert "there is no database" in capsys.readouterr().err
    assert not (tmp_path / "postgres").exists()

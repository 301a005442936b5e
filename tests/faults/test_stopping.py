"""SIGTERM ends a gateway in ten seconds, whatever it is in the middle of."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

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
    free_port,
    until,
)

from gateway.api import fastlane
from gateway.server import HTTP_DRAIN_S
from smpp.smsc import CarrierScenario, ScenarioRule, Smsc


@pytest.fixture
async def smsc(start_smsc: Callable[..., Awaitable[Smsc]]) -> Smsc:
    """A carrier that takes its time."""
    return await start_smsc(CarrierScenario(rules=(ScenarioRule(answer_after_s=0.1),)))


async def test_under_load_everything_that_was_answered_is_kept(
    database_url: str, smsc: Smsc, receiver: Receiver, tmp_path: Path
) -> None:
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    client = Client50(await Sdk.provisioned(process.base_url))
    loading = asyncio.create_task(client.send(3_000, StatusCallback=receiver.url))
    await until(lambda: len(client.sids) >= 500)
    async with asyncio.timeout(WAIT_S):
        assert await process.stop() == 0
    await loading
    accepted = len(client.sids)
    assert 500 <= accepted < 3_000
    assert "Traceback" not in process.log
    assert "not written" not in process.log

    await process.start()
    for sid in client.sids[-5:]:
        await client._sdk.reaches(sid, "delivered")
    await until(lambda: len(smsc.ledger.entries) >= accepted)
    await process.stop()
    seen = Counter(json.loads(line)["destination"] for line in smsc.ledger.lines())
    assert len(seen) >= accepted
    assert set(seen.values()) == {1}, "a graceful end leaves nothing in doubt"


async def test_with_a_carrier_that_went_deaf(database_url: str, smsc: Smsc, tmp_path: Path) -> None:
    """No answer to what is in the window comes, and none to the unbind."""
    process = GatewayProcess(database_url, smsc.port, tmp_path, free_port())
    await process.start()
    sdk = await Sdk.provisioned(process.base_url)
    await until(lambda: len(smsc.connections) == 1)
    for connection in smsc.connections:
        connection.go_deaf()
    sid = (await sdk.send()).sid
    async with asyncio.timeout(WAIT_S):
        assert await process.stop() == 0
    assert "does not answer to unbind" in process.log
    await process.start()
    assert (await sdk.reaches(sid, "delivered")).error_code is None
    await process.stop()


class RawClient:
    """One connection that is kept alive, as an app's."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> RawClient:
        place = urlsplit(self._sdk.base_url)
        self._reader, self._writer = await asyncio.open_connection(place.hostname, place.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    def send(self) -> None:
        sdk = self._sdk
        body = urlencode({"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": "hello"})
        self._writer.write(
            f"POST /2010-04-01/Accounts/{sdk.account_sid}/Messages.json HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {basic(sdk.account_sid, sdk.auth_token)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    async def answer(self) -> tuple[int, str]:
        """The status, and what becomes of the connection."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        [length] = re.findall(r"content-length: (\d+)", head)
        await self._reader.readexactly(int(length))
        return int(head.split()[1]), "".join(re.findall(r"\r\nconnection: (\w+)", head))

    async def ends(self) -> bool:
        return await self._reader.read() == b""


async def stopping(gateway: GatewayUnderTest) -> None:
    """Return when it has closed its port and spoken to its connections."""
    gateway.inner.stop.set()
    place = urlsplit(gateway.base_url)
    while True:
        try:
            _, writer = await asyncio.open_connection(place.hostname, place.port)
        except ConnectionError:  # refused, or reset in the queue of the port
            return
        writer.close()
        await asyncio.sleep(0)


async def test_a_client_that_sends_just_as_the_port_closes_has_its_answer(
    gateway: GatewayUnderTest, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "LAST_S", WAIT_S)
    async with RawClient(sdk) as client:
        client.send()
        assert await client.answer() == (201, "")
        await stopping(gateway)
        client.send()
        assert await client.answer() == (201, "close")
        assert await client.ends()


async def test_a_client_that_sends_nothing_holds_up_no_stop(
    gateway: GatewayUnderTest, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "LAST_S", 0.01)
    async with RawClient(sdk) as idle:
        idle.send()
        assert await idle.answer() == (201, "")
        await stopping(gateway)
        async with asyncio.timeout(HTTP_DRAIN_S):
            assert await idle.ends()

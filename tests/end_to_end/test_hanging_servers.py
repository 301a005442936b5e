"""Servers of one account that take connections and say nothing, while other accounts go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from testing import TO, WAIT_S, GatewayProcess, GatewayUnderTest, Receiver, basic, until

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


class Hanging:
    """Listens on all loopback addresses, so it is as many hosts as one likes."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.port = 0

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._take, "0.0.0.0", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    def url(self, number: int) -> str:
        return f"http://127.1.{number // 250}.{number % 250 + 1}:{self.port}/status"


async def sends(
    gateway: GatewayUnderTest | GatewayProcess, sid: str, token: str, forms: list[dict[str, str]]
) -> None:
    """Twenty at a time."""
    rest = iter(forms)
    headers = {"Authorization": basic(sid, token)}
    url = f"{gateway.base_url}/2010-04-01/Accounts/{sid}/Messages.json"

    async def some(session: aiohttp.ClientSession) -> None:
        for form in rest:
            async with session.post(url, data=form, headers=headers) as response:
                assert response.status == 201, await response.text()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(some(session))


@pytest.mark.parametrize(
    ("limits", "most"),
    [({}, 100), ({"connections": 12, "connections_per_account": 5}, 5)],
)
async def test_hundreds_of_hanging_hosts_of_one_account_leave_the_others_all_they_need(
    start_gateway: Start, smsc: Smsc, limits: dict[str, int], most: int
) -> None:
    webhooks = {"allow_private": True, "timeout_s": 600, **limits}
    gateway = await start_gateway(smsc.port, webhooks=webhooks)
    sdk = await gateway.sdk()
    other = await sdk.call(sdk.client.api.v2010.accounts.create)
    path = f"/2010-04-01/Accounts/{other.sid}/IncomingPhoneNumbers.json"
    form = {"PhoneNumber": "+447700900777"}
    status, body = await sdk.operate("POST", path, data=form)
    assert status == 201, body
    hanging = Hanging()
    async with hanging.listen(), Receiver() as receiver:
        forms = [
            {"To": TO, "From": form["PhoneNumber"], "Body": "x", "StatusCallback": hanging.url(n)}
            for n in range(300)
        ]
        await sends(gateway, other.sid, other.auth_token, forms)
        await until(lambda: hanging.open == most)
        sids = [(await sdk.send(status_callback=receiver.url)).sid for _ in range(10)]
        async with asyncio.timeout(WAIT_S):
            await receiver.has(sids)
        assert hanging.most == most

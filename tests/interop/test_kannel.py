"""Kannel, the gateway most of the field runs, as an ESME bound to our simulator.

Skipped unless `install.sh` has put it there: TANDEM_INTEROP_DIR=DIR.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from smpp.smsc import Smsc

KANNEL = Path(os.environ.get("TANDEM_INTEROP_DIR", "")).resolve() / "kannel"
PATIENCE_S = 120.0

pytestmark = pytest.mark.skipif(
    not (KANNEL / "usr/sbin/bearerbox").exists(),
    reason="Kannel is not there: see tests/interop/install.sh",
)

CONFIGURATION = """
group = core
admin-port = {admin}
admin-password = x
smsbox-port = {box}
box-allow-ip = 127.0.0.1
log-level = 1

group = smsc
smsc = smpp
smsc-id = tandem
host = 127.0.0.1
port = {smpp}
smsc-username = tandem
smsc-password = secret
system-type = ""
transceiver-mode = true
enquire-link-interval = 1
my-number = 15550001111

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {send}
log-level = 1

group = sendsms-user
username = u
password = p
max-messages = 5
concatenation = true

group = sms-service
keyword = default
max-messages = 0
get-url = "http://127.0.0.1:{web}/mo?from=%p&to=%P&text=%b"
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Application:
    """What Kannel calls: delivery reports and messages."""

    def __init__(self) -> None:
        self.reports: list[dict[str, str]] = []
        self.messages: list[dict[str, str]] = []
        self.changed = asyncio.Event()

    async def report(self, request: web.Request) -> web.Response:
        self.reports.append(dict(request.query))
        self.changed.set()
        return web.Response()

    async def message(self, request: web.Request) -> web.Response:
        self.messages.append(dict(request.query))
        self.changed.set()
        return web.Response()

    async def until(self, condition) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def box(name: str, configuration: Path):
    libraries = [KANNEL / "usr/lib/x86_64-linux-gnu", KANNEL / "lib/x86_64-linux-gnu"]
    process = await asyncio.create_subprocess_exec(
        str(KANNEL / "usr/sbin" / name),
        str(configuration),
        env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)  # a process that has no other way to say it is ready
            else:
                writer.close()
                return


async def test_kannel_sends_gets_receipts_and_gets_messages(tmp_path):
    application = Application()
    async with AsyncExitStack() as stack:
        smsc = Smsc(seed=1)
        await smsc.start()
        stack.push_async_callback(smsc.stop)
        app = web.Application()
        app.add_routes([web.get("/dlr", application.report), web.get("/mo", application.message)])
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        web_port = runner.addresses[0][1]
        send_port, box_port = free_port(), free_port()
        configuration = tmp_path / "kannel.conf"
        configuration.write_text(
            CONFIGURATION.format(
                admin=free_port(), box=box_port, smpp=smsc.port, send=send_port, web=web_port
            )
        )
        await stack.enter_async_context(box("bearerbox", configuration))
        await listening(box_port)
        await stack.enter_async_context(box("smsbox", configuration))
        await listening(send_port)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        long_text = "A long message, cut by Kannel in parts. " * 8
        for text in ("short", long_text):
            query = {
                "username": "u",
                "password": "p",
                "from": "15550001111",
                "to": "441632960675",
                "text": text,
                "dlr-mask": "31",
                "dlr-url": f"http://127.0.0.1:{web_port}/dlr?kind=%d&smsc={len(text)}",
            }
            async with http.get(f"http://127.0.0.1:{send_port}/cgi-bin/sendsms", params=query) as r:
                assert r.status == 202, await r.text()
        await application.until(
            lambda: (
                {report["smsc"] for report in application.reports if report["kind"] == "1"}
                == {"5", str(len(long_text))}
            )
        )
        smsc.carrier().mobile_originated("+447700900123", "+15550001111", "hello " * 50)
        await application.until(lambda: bool(application.messages))
        rows = [json.loads(line) for line in smsc.ledger.lines()]
    assert rows[0]["text"] == "short"
    parts = sorted(rows[1:], key=lambda row: row["segment"])
    assert {row["total"] for row in parts} == {len(parts)}
    assert "".join(row["text"] for row in parts) == long_text
    assert application.messages[0]["text"].split() == ["hello"] * 50
    assert smsc.counters.malformed_received == 0
    assert smsc.counters.deliveries_refused == 0

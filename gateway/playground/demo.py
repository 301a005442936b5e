"""`tandem demo`: one message through everything, watched, judged by an exit status.

The account, the numbers, the service and the message are made with the official SDK; the
callbacks are checked with its own `RequestValidator`. Exit status 0 means: delivered, and
every callback's signature was right.

What is shown is put in order by when it happened, not by when we heard of it. The states have
the times of the message's row; but of `sending`, which the row keeps no time of: that one is
when the gateway wrote the first submit_sm, which it does right after the claim.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.messages.message import Status
from gateway.playground.provision import Provisioned, sdk_client
from gateway.playground.world import HOST, Ports, World, check_port, port_of
from storage import messages as message_rows
from storage.database import open_connection
from storage.ids import id_from_hex

BODY = "Revenge of the Sith was clearly the best of the prequel trilogy."
TO = "+441632960675"
EXPECTED = ["queued", "sent", "delivered"]
DELIVERY_S = 30.0
INTERRUPTED = 130
FIRST = 1e-6  # seconds: so that a state stands before the PDU that gave it its time


class DemoTrace:
    """Collects what happens to the message, and prints it in the order in which it happened."""

    def __init__(self) -> None:
        self._start = 0.0
        self._events: list[tuple[float, str, str]] = []
        self._open = False
        self.sending_at: float | None = None

    def begin(self) -> None:
        self._start, self._open = time.time(), True

    def event(self, kind: str, text: str, at: float | None = None) -> None:
        """Something happened, at the time `at` (seconds since 1970; default: now)."""
        if self._open:
            self._events.append((time.time() if at is None else at, kind, text))

    def show(self) -> None:
        for at, kind, text in sorted(self._events, key=lambda event: event[0]):
            since = max(at - self._start, 0.0)  # a time in whole milliseconds may be cut below 0
            print(f"  {since:7.3f} s  {kind:<9} {text}", flush=True)
        self._events.clear()

    def gateway_line(self, line: str) -> None:
        """A log line of the gateway: PDUs are the show, trouble is shown too."""
        try:
            record = json.loads(line)
            level, message = record["level"], record["message"]
        except (ValueError, TypeError, KeyError):
            print(f"  gateway: {line}", file=sys.stderr, flush=True)
            return
        if record.get("event") == "pdu":
            _, direction, text = message.split(" ", 2)
            at = datetime.fromisoformat(record["time"]).timestamp()
            if self._open and self.sending_at is None and text.startswith("submit_sm "):
                self.sending_at = at
            self.event("PDU " + ("→" if direction == "out" else "←"), text, at)
        elif level in ("warning", "error"):
            print(f"  gateway: {message}", file=sys.stderr, flush=True)
            if "exception" in record:
                print(record["exception"], file=sys.stderr, flush=True)


class DemoApp:
    """The app's side: takes status callbacks, and checks that they are signed."""

    def __init__(self, port: int, stage: DemoTrace) -> None:
        self.url = f"http://{HOST}:{port}/status"
        self.statuses: list[str] = []
        self.bad_signatures = 0
        self.done = asyncio.Event()
        self.auth_token = ""
        self._port = port
        self._stage = stage
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> DemoApp:
        app = web.Application()
        app.router.add_post("/status", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        from twilio.request_validator import RequestValidator

        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        signature = request.headers.get("X-Twilio-Signature", "")
        genuine = RequestValidator(self.auth_token).validate(self.url, form, signature)
        status = form["MessageStatus"]
        self.statuses.append(status)
        self.bad_signatures += not genuine
        self._stage.event("callback", f"{status}  signature {'verified' if genuine else 'WRONG'}")
        if status in ("delivered", "undelivered", "failed"):
            self.done.set()
        return web.Response(status=204)


async def send_a_message() -> int:
    """The exit status. Raises ConfigurationError."""
    stage = DemoTrace()
    port = port_of("TANDEM_CALLBACK_PORT", 8081)
    check_port(port, "TANDEM_CALLBACK_PORT")
    world = World(
        Ports.from_environment(),
        tell=lambda line: print(f"  {line}", flush=True),
        on_gateway_line=stage.gateway_line,
        gateway_environment={
            "TANDEM_LOG__PDUS": "true",
            "TANDEM_LOG__MASK": "false",
            "TANDEM_LOG__FORM": "json",
        },
    )
    print("Starting a database, a carrier simulator and the gateway:")
    async with world, DemoApp(port, stage) as receiver:
        facts = world.provisioned
        assert facts is not None
        receiver.auth_token = facts.auth_token
        print(f"  account    {facts.account_sid}, made with the twilio SDK {_sdk_version()}")
        print(f"  numbers    {', '.join(facts.numbers)}")
        print(f"  service    {facts.messaging_service_sid}\n")
        return await _send(world, facts, receiver, stage)


async def _send(world: World, facts: Provisioned, receiver: DemoApp, stage: DemoTrace) -> int:
    print(f"client.messages.create(to={TO!r}, messaging_service_sid=…,\n    body={BODY!r})\n")
    client = sdk_client(world.base_url, facts.account_sid, facts.auth_token)
    stage.begin()
    message = await asyncio.to_thread(
        client.messages.create,
        to=TO,
        messaging_service_sid=facts.messaging_service_sid,
        body=BODY,
        status_callback=receiver.url,
    )
    stage.event("HTTP 201", f"{message.status}  {message.sid}")
    try:
        async with asyncio.timeout(DELIVERY_S):
            await receiver.done.wait()
    except TimeoutError:
        print(f"\nno final status after {DELIVERY_S:.0f} s", file=sys.stderr)
    await _show_states(world.database_url, message.sid, stage)
    stage.show()
    final: Any = await asyncio.to_thread(client.messages(message.sid).fetch)
    print(
        f"\nThe message now: status {final.status}, from {final.from_},"
        f" {final.num_segments} segment, error_code {final.error_code}"
    )
    problems = []
    if final.status != "delivered":
        problems.append(f"the message is {final.status}, not delivered")
    if receiver.statuses != EXPECTED:
        problems.append(f"callbacks were {receiver.statuses}, not {EXPECTED}")
    if receiver.bad_signatures:
        problems.append(f"{receiver.bad_signatures} callbacks had a wrong signature")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    if not problems:
        print("Delivered; every callback arrived in order with a verified signature.")
    return 1 if problems else 0


async def _show_states(url: str, sid: str, stage: DemoTrace) -> None:
    """Add the states that the message went through, with the times of its row."""
    connection = await open_connection(url)
    try:
        id = id_from_hex(sid[2:])
        [row] = await message_rows.by_ids(connection, [id])
    finally:
        await connection.close()
    stage.event("state", "accepted", (id.int >> 80) / 1000)  # an id begins with its milliseconds
    if row["queued_at"] is not None:
        text = f"queued, from {row['sender']} of the service's pool"
        stage.event("state", text, row["queued_at"].timestamp())
    if stage.sending_at is not None:
        stage.event("state", "sending", stage.sending_at - FIRST)
    if row["sent_at"] is not None:
        stage.event("state", "sent", row["sent_at"].timestamp())
    if row["done_at"] is not None:
        status = Status(row["status"]).shown
        stage.event("state", status, row["done_at"].timestamp())


def _sdk_version() -> str:
    import twilio

    return str(twilio.__version__)

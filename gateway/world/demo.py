"""`tandem demo`: one message through everything, watched, judged by an exit status.

The account, the numbers, the service and the message are made with the official SDK; the
callbacks are checked with its own `RequestValidator`. Exit status 0 means: delivered, and
every callback's signature was right.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.settings import ConfigurationError
from gateway.world.provision import Provisioned, sdk_client
from gateway.world.world import HOST, Ports, World, check_port, port_of, until_terminated

BODY = "Revenge of the Sith was clearly the best of the prequel trilogy."
TO = "+441632960675"
EXPECTED = ["queued", "sent", "delivered"]
DELIVERY_S = 30.0


class Stage:
    """Prints what happens, with the time since the send."""

    def __init__(self) -> None:
        self._start = 0.0
        self._open = False

    def begin(self) -> None:
        self._start, self._open = time.monotonic(), True

    def event(self, kind: str, text: str) -> None:
        if self._open:
            print(f"  {time.monotonic() - self._start:7.3f} s  {kind:<9} {text}", flush=True)

    def gateway_line(self, line: str) -> None:
        """A log line of the gateway: PDUs are the show, trouble is shown too."""
        try:
            record = json.loads(line)
        except ValueError:
            print(f"  gateway: {line}", file=sys.stderr, flush=True)
            return
        if record.get("event") == "pdu":
            _, direction, text = record["message"].split(" ", 2)
            if text.startswith("submit_sm "):
                self.event("state", "sending")
            self.event("PDU " + ("→" if direction == "out" else "←"), text)
        elif record["level"] in ("warning", "error"):
            print(f"  gateway: {record['message']}", file=sys.stderr, flush=True)


class Receiver:
    """The app's side: takes status callbacks, and checks that they are signed."""

    def __init__(self, port: int, stage: Stage) -> None:
        self.url = f"http://{HOST}:{port}/status"
        self.statuses: list[str] = []
        self.bad_signatures = 0
        self.done = asyncio.Event()
        self.auth_token = ""
        self._port = port
        self._stage = stage
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Receiver:
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
        self._stage.event("state", f"{status}  from {form.get('From')}")
        self._stage.event("callback", f"{status}  signature {'verified' if genuine else 'WRONG'}")
        if status in ("delivered", "undelivered", "failed"):
            self.done.set()
        return web.Response(status=204)


def run_demo() -> int:
    try:
        return asyncio.run(until_terminated(_demo()))
    except ConfigurationError as error:
        print(f"tandem demo: {error}", file=sys.stderr)
        return 2


async def _demo() -> int:
    stage = Stage()
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
    async with world, Receiver(port, stage) as receiver:
        facts = world.provisioned
        assert facts is not None
        receiver.auth_token = facts.auth_token
        print(f"  account    {facts.account_sid}, made with the twilio SDK {_sdk_version()}")
        print(f"  numbers    {', '.join(facts.numbers)}")
        print(f"  service    {facts.messaging_service_sid}\n")
        return await _send(world, facts, receiver, stage)


async def _send(world: World, facts: Provisioned, receiver: Receiver, stage: Stage) -> int:
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


def _sdk_version() -> str:
    import twilio

    return str(twilio.__version__)

"""Tools of the suite: a gateway under test, the SDK pointed at it, a callback receiver."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from gateway.app import Gateway
from gateway.observe.alerts import Alerts
from gateway.settings import Settings
from storage.safety import Unsafe

ACCOUNT_SID = "AC" + "0" * 31 + "1"
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
TO = "+441632960675"
NUMBERS = ("+447700900101", "+447700900102")
WAIT_S = 120.0  # an upper bound: it costs nothing where all is well, on a busy machine neither
ALLOWED = ("fsync", "full_page_writes")  # what the suite's own server is without (conftest)
# A campaign (Usa2p) with everything that it must have.
CAMPAIGN: dict[str, Any] = {
    "brand_registration_sid": "BN" + "0" * 32,
    "description": "Appointment reminders for patients of the clinic.",
    "message_flow": "Patients tick a box on the registration form at the desk.",
    "message_samples": ["Your appointment is at 10.", "See you tomorrow at 11."],
    "us_app_to_person_usecase": "MIXED",
    "has_embedded_links": False,
    "has_embedded_phone": True,
}

BOTH = (*ALLOWED, "two_gateways")

T = TypeVar("T")


def carrier(port: int, **options: Any) -> dict[str, Any]:
    """A carrier's configuration for the simulator on this port."""
    return {
        "name": "simulator",
        "hosts": (f"127.0.0.1:{port}",),
        "system_id": "tandem",
        "password": "secret",
        **options,
    }


def settings_of(
    database_url: str, smsc_port: int, folder: Path, changes: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "port": 0,
        "database_url": database_url,
        "data_dir": folder,
        "account": {"sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN},
        "carriers": (carrier(smsc_port),),
        "default_rate_per_second": 10_000,
        "webhooks": {"allow_private": True},
        "allow_unsafe": ALLOWED,
        **changes,
    }


class _Gateway(Gateway):
    """One that says nothing of what the suite's server is without: no test would expect it."""

    def _warn_of(self, unsafe: Sequence[Unsafe], alerts: Alerts) -> None:
        super()._warn_of([one for one in unsafe if one.danger not in ALLOWED], alerts)


class GatewayUnderTest:
    """A gateway in the test's own event loop."""

    def __init__(
        self, database_url: str, smsc_port: int, folder: Path, changes: Mapping[str, Any]
    ) -> None:
        changes = {"allow_unsafe": BOTH, **changes}  # some tests have two in one database
        self.inner = _Gateway(Settings(**settings_of(database_url, smsc_port, folder, changes)))
        self.database_url = database_url
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.inner.run())
        started = asyncio.create_task(self.inner.started.wait())
        both = (self._task, started)
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
        assert done, "it does not start: does another have the database?"
        if self._task.done():
            started.cancel()
            self._task.result()
        await until(lambda: self.pipeline.acceptor.available)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        self.inner.stop.set()
        if self._task is not None:
            await self._task

    @property
    def pipeline(self) -> Any:
        return self.inner.pipeline

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.inner.port}"

    async def bound(self) -> None:
        """Return when every carrier's bind is up."""
        await until(lambda: all(c.up for c in self.pipeline.connectors.by_id.values()))

    async def sdk(self) -> Sdk:
        await self.bound()
        return await Sdk.provisioned(self.base_url)


class GatewayProcess:
    """A gateway as a process of its own, to be killed."""

    module = "gateway.commands.main"

    def __init__(
        self, database_url: str, smsc_port: int, folder: Path, port: int, **changes: Any
    ) -> None:
        given = settings_of(database_url, smsc_port, folder, {"port": port, **changes})
        self._environment = {
            f"TANDEM_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in ((n, _plain(v)) for n, v in given.items())
        }
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.base_url = f"http://127.0.0.1:{port}"

    async def start(self, *, patience_s: float = WAIT_S) -> None:
        with (self._folder / "gateway.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                "serve",
                env={**os.environ, **self._environment},
                stderr=log,
            )
        ready = asyncio.create_task(self.ready(patience_s))
        ended = asyncio.create_task(self.ended())
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise RuntimeError(f"the gateway ended at its start, with {ended.result()}")
        ended.cancel()
        ready.result()

    async def ready(self, patience_s: float = WAIT_S) -> None:
        await until_answers(f"{self.base_url}/readyz", seconds=patience_s)

    async def ended(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def kill(self) -> None:
        """As the machine would: SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()

    @property
    def log(self) -> str:
        file = self._folder / "gateway.log"
        return file.read_text() if file.exists() else ""


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@dataclass
class Sdk:
    """The official SDK for one account, with what was provisioned through it."""

    base_url: str
    client: Client
    service_sid: str
    numbers: tuple[str, ...] = NUMBERS

    @property
    def account_sid(self) -> str:
        return str(self.client.username)

    @property
    def auth_token(self) -> str:
        return str(self.client.password)

    @classmethod
    async def provisioned(cls, base_url: str, numbers: Sequence[str] = NUMBERS) -> Sdk:
        client = sdk_client(base_url, ACCOUNT_SID, AUTH_TOKEN)

        def make() -> str:
            service = client.messaging.v1.services.create("Test")
            for text in numbers:
                number = client.incoming_phone_numbers.create(phone_number=text)
                client.messaging.v1.services(service.sid).phone_numbers.create(number.sid)
            return str(service.sid)

        return cls(base_url, client, await asyncio.to_thread(make), tuple(numbers))

    async def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """The SDK blocks: call it in a thread."""
        return await asyncio.to_thread(function, *arguments, **named)

    async def send(self, body: str = "hello", to: str = TO, **named: Any) -> Any:
        if "from_" not in named:
            named.setdefault("messaging_service_sid", self.service_sid)
        return await self.call(self.client.messages.create, to=to, body=body, **named)

    async def refused(
        self, code: int, status: int, function: Callable[..., Any], *args: Any, **named: Any
    ) -> None:
        """The call must raise; the SDK's list calls keep the answer itself in their exception."""
        with pytest.raises(TwilioException) as caught:
            await self.call(function, *args, **named)
        error = caught.value
        if isinstance(error, TwilioRestException):
            assert (error.code, error.status) == (code, status)
        else:
            response = error.args[1]
            assert (json.loads(response.text)["code"], response.status_code) == (code, status)

    async def operate(
        self, method: str, path: str, user: str = "", secret: str = "", **request: Any
    ) -> tuple[int, Any]:
        """A call that the SDK has not; its status and its JSON, None when it has no body."""
        credentials = basic(user or self.account_sid, secret or self.auth_token)
        async with (
            aiohttp.ClientSession(headers={"Authorization": credentials}) as session,
            session.request(method, self.base_url + path, **request) as response,
        ):
            return response.status, await response.json() if response.status != 204 else None

    async def add_short_code(self, code: str, country: str, **more: str) -> str:
        """Register a short code, as an operator does; its SID."""
        path = f"/2010-04-01/Accounts/{self.account_sid}/SMS/ShortCodes.json"
        form = {"ShortCode": code, "IsoCountryCode": country, **more}
        status, body = await self.operate("POST", path, data=form)
        assert status == 201, body
        return str(body["sid"])

    async def fetch(self, sid: str) -> Any:
        return await self.call(self.client.messages(sid).fetch)

    async def reaches(self, sid: str, status: str) -> Any:
        """The message once it has this status."""
        async with asyncio.timeout(WAIT_S):
            while (message := await self.fetch(sid)).status != status:
                await asyncio.sleep(0.02)
        return message


def sdk_client(base_url: str, account_sid: str, auth_token: str) -> Client:
    client = Client(account_sid, auth_token, http_client=TwilioHttpClient(timeout=WAIT_S))
    for product in ("api", "accounts", "content", "messaging", "conversations", "monitor"):
        getattr(client, product).base_url = f"{base_url}/{product}"
    return client


@dataclass
class Receiver:
    """Takes status callbacks, checks each signature, and remembers their order."""

    auth_token: str = AUTH_TOKEN
    statuses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    forms: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    bad_signatures: int = 0
    answer: Callable[[dict[str, str]], Awaitable[int]] | None = None
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/status", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = site._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}/status"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        if self.answer is not None and (status := await self.answer(form)) != 200:
            return web.Response(status=status)
        validator = RequestValidator(self.auth_token)
        signature = request.headers["X-Twilio-Signature"]
        self.bad_signatures += not validator.validate(self.url, form, signature)
        self.tokens.append(request.headers["I-Twilio-Idempotency-Token"])
        self.forms.append(form)
        self.statuses[form["MessageSid"]].append(form["MessageStatus"])
        return web.Response()

    async def has(self, sids: Sequence[str], last: str = "delivered") -> None:
        """Return when the last callback of every message says `last`."""
        await until(lambda: all(self.statuses[sid][-1:] == [last] for sid in sids))


class Client50:
    """Many sends over many keep-alive connections at once."""

    def __init__(self, sdk: Sdk, *, connections: int = 50) -> None:
        self._sdk = sdk
        self._connections = connections
        self.sids: list[str] = []
        """Of messages that got a 201."""
        self.refused: list[int] = []
        self.broken = 0
        """Requests that ended without an answer."""

    def form(self, number: int) -> dict[str, str]:
        """One send; each to a recipient of its own."""
        return {
            "To": f"+4479{number:08d}",
            "MessagingServiceSid": self._sdk.service_sid,
            "Body": f"message {number}",
        }

    async def send(self, count: int, **parameters: str) -> None:
        """Send `count` messages, each to a recipient of its own."""
        numbers = iter(range(count))
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(
                *(self._work(session, numbers, parameters) for _ in range(self._connections))
            )

    async def _work(
        self, session: aiohttp.ClientSession, numbers: Any, parameters: dict[str, str]
    ) -> None:
        for number in numbers:
            form = self.form(number) | parameters
            try:
                async with session.post(
                    f"{self._sdk.base_url}/2010-04-01/Accounts/{self._sdk.account_sid}/Messages.json",
                    data=urlencode(form),
                    headers={
                        "Content-Type": "application/x-www-form-urlencoded",
                        "Authorization": basic(self._sdk.account_sid, self._sdk.auth_token),
                    },
                ) as response:
                    answer = await response.json()
            except (aiohttp.ClientError, OSError):
                self.broken += 1
                continue
            if response.status == 201:
                self.sids.append(answer["sid"])
            else:
                self.refused.append(response.status)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def until(condition: Callable[[], bool], *, seconds: float = WAIT_S) -> None:
    """Return when `condition` holds; the test fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def until_answers(url: str, *, seconds: float = WAIT_S) -> None:
    async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


FIRST_PORT, PORTS = 20_000, 3_000  # below those that a system gives to outgoing connections
_ports = itertools.count(random.randrange(PORTS))


def free_port() -> int:
    """For a process that is about to be started: no other test, and no connection, takes it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4
    while True:
        port = FIRST_PORT + worker * PORTS + next(_ports) % PORTS
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port

"""The gateway, its floor and Kannel: how each is run, asked, and what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import aiohttp

from bench.load.processes import cpu_s
from bench.load.requests import BODY, Turns, Who, Work, message_of, sends_of
from bench.load.stage import HOST, PASSWORD, POLL_S, READY_S, BenchError, Stage, free_port
from gateway.loadtest.sends import RECIPIENTS, Recipients, Sends

WINDOW: Final = 500
NUMBER: Final = "+447700900101"
POOL: Final = ("+447700900102", "+447700900103", "+447700900104", "+447700900105")
# The sub-accounts' senders are the numbers after these.
ACCOUNTS_AFTER: Final = "+447700901100"
AT_ONCE: Final = 8  # accounts that are made
RATE_PER_SECOND: Final = 100_000  # of a number: the carrier's window is what limits


class Side(Protocol):
    name: str
    base_url: str

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""

    def sends(self, work: Work, recipients: Recipients) -> Sends | None:
        """The requests of this work; None where it can't do it."""


async def _post(session: aiohttp.ClientSession, path: str, **form: str) -> dict[str, Any]:
    async with session.post(path, data=form) as response:
        body: dict[str, Any] = await response.json()
        if response.status != 201:
            raise BenchError(f"{path}: {response.status} {body}")
        return body


def quiet(line: str) -> None:
    """Nothing is shown of a process that works."""


def loud(line: str) -> None:
    """What a gateway that logs only warnings has to say is worth seeing."""
    print(f"    {line}", file=sys.stderr, flush=True)


class Tandem:
    """`tandem serve`, with the defaults of the product but for the rates of its numbers."""

    def __init__(
        self,
        stage: Stage,
        name: str = "tandem",
        *,
        carrier: str = "tandem",
        binds: int = 1,
        program: tuple[str, ...] | None = None,
    ) -> None:
        """`program` is the `tandem` of another checkout."""
        self.name = name
        self._program = program
        self._carrier = carrier
        self._binds = binds
        self.base_url = ""
        self.account_sid = "AC" + secrets.token_hex(16)
        self.token = secrets.token_hex(16)
        self.service_sid = ""
        self.pid = 0
        self.database_url = ""  # one that is filled already; else it gets a new one
        # Sub-accounts, and the sender of each.
        self._accounts: list[tuple[Who, str]] = []
        self._stage = stage

    async def start(self, *, pool: Sequence[str] = POOL, **more: str) -> None:
        stage, port = self._stage, free_port()
        carrier = {
            "name": "simulator",
            "hosts": [f"{HOST}:{stage.smsc_port}"],
            "system_id": self._carrier,
            "password": PASSWORD,
            "window": WINDOW,
            "binds": self._binds,
        }
        self.database_url = self.database_url or await stage.database(f"bench_{self.name}")
        environment = {
            "TANDEM_HOST": HOST,
            "TANDEM_PORT": str(port),
            "TANDEM_DATABASE_URL": self.database_url,
            "TANDEM_DATA_DIR": str(stage.folder / self.name),
            "TANDEM_ACCOUNT__SID": self.account_sid,
            "TANDEM_ACCOUNT__AUTH_TOKEN": self.token,
            "TANDEM_CARRIERS": json.dumps([carrier]),
            "TANDEM_DEFAULT_RATE_PER_SECOND": str(RATE_PER_SECOND),
            "TANDEM_WEBHOOKS__ALLOW_PRIVATE": "true",
            "TANDEM_LOG__LEVEL": "warning",
            **more,
        }
        child = await stage.child("gateway", ["serve"], environment, loud, self._program)
        self.pid = child.pid
        self.base_url = f"http://{HOST}:{port}"
        await stage.until_answers(f"{self.base_url}/readyz", child)
        await bound(stage, self._carrier, self._binds)
        async with self.session() as session:
            await self._register(session, NUMBER)
            self.service_sid = await self.pool(session, "bench", pool)

    def session(self) -> aiohttp.ClientSession:
        """For calls of the API, as the parent account."""
        return aiohttp.ClientSession(
            self.base_url, auth=aiohttp.BasicAuth(self.account_sid, self.token)
        )

    async def pool(
        self, session: aiohttp.ClientSession, name: str, numbers: Sequence[str], **more: str
    ) -> str:
        """Make a service with these numbers, which are registered for it; its SID."""
        service = await _post(session, "/messaging/v1/Services", FriendlyName=name)
        for text in numbers:
            number = await self._register(session, text, **more)
            path = f"/messaging/v1/Services/{service['sid']}/PhoneNumbers"
            await _post(session, path, PhoneNumberSid=number)
        return str(service["sid"])

    async def add_accounts(self, accounts: int) -> None:
        """Make sub-accounts, each with credentials and a sender of its own."""
        left = iter([f"+{int(ACCOUNTS_AFTER) + at}" for at in range(1, accounts + 1)])

        async def make(session: aiohttp.ClientSession) -> None:
            for number in left:
                made = await _post(session, "/2010-04-01/Accounts.json")
                await self._register(session, number, made["sid"])
                who = (self.base_url, str(made["sid"]), str(made["auth_token"]))
                self._accounts.append((who, number))

        async with self.session() as session, asyncio.TaskGroup() as makers:
            for _ in range(AT_ONCE):
                makers.create_task(make(session))

    async def _register(
        self, session: aiohttp.ClientSession, text: str, account_sid: str = "", **more: str
    ) -> str:
        path = f"/2010-04-01/Accounts/{account_sid or self.account_sid}/IncomingPhoneNumbers.json"
        return str((await _post(session, path, PhoneNumber=text, **more))["sid"])

    def cpu_s(self) -> float:
        return cpu_s(self.pid, self._stage.postmaster)

    def sends(self, work: Work, recipients: Recipients) -> Sends:
        url = self._stage.callback_url
        if work.accounts:
            return Turns(
                [
                    sends_of(who, work, message_of(work, number, None, url), recipients)
                    for who, number in self._accounts[: work.accounts]
                ]
            )
        who = (self.base_url, self.account_sid, self.token)
        sender, service = (None, self.service_sid) if work.through_service else (NUMBER, None)
        return sends_of(who, work, message_of(work, sender, service, url), recipients)


class Floor:
    """`python -m bench.floor`, in a database of its own on the same server."""

    name = "floor"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._account, self._token = "AC" + "0" * 32, secrets.token_hex(16)
        self._pid = 0
        self.base_url = ""

    async def start(self) -> None:
        stage, port = self._stage, free_port()
        arguments = {
            "port": port,
            "database-url": await stage.database("bench_floor"),
            "smsc-port": stage.smsc_port,
            "system-id": "floor",
            "password": PASSWORD,
            "window": WINDOW,
            "callbacks": stage.callback_url,
            "account": self._account,
            "token": self._token,
        }
        options = [f"--{name}={value}" for name, value in arguments.items()]
        program = (sys.executable, "-m", "bench.floor")
        child = await stage.child("floor", options, {}, quiet_unless_traceback, program)
        self._pid = child.pid
        self.base_url = f"http://{HOST}:{port}"
        await bound(stage, "floor")

    def cpu_s(self) -> float:
        return cpu_s(self._pid, self._stage.postmaster)

    def sends(self, work: Work, recipients: Recipients) -> Sends | None:
        if work.through_service or work.accounts:
            return None
        who = (self.base_url, self._account, self._token)
        message = message_of(work, NUMBER, None, self._stage.callback_url)
        return sends_of(who, work, message, recipients)


def quiet_unless_traceback(line: str) -> None:
    if line != "bound":
        loud(line)


KANNEL: Final = """
group = core
admin-port = {admin}
admin-password = x
smsbox-port = {box}
box-allow-ip = 127.0.0.1
log-level = 3
store-type = spool
store-location = {spool}
dlr-storage = internal

group = smsc
smsc = smpp
smsc-id = bench
host = 127.0.0.1
port = {smpp}
smsc-username = kannel
smsc-password = {password}
system-type = ""
transceiver-mode = true
max-pending-submits = {window}

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {send}
log-level = 3

group = sendsms-user
username = u
password = p
"""
KANNEL_DLR_MASK: Final = 1 | 2 | 8 | 16  # the carrier took or refused it; delivered or not


class Kannel:
    """Debian's bearerbox and smsbox, with its spool on disk: what it accepted survives a kill."""

    name = "kannel"

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._pids: tuple[int, ...] = ()
        self.base_url = ""

    @staticmethod
    def unpacked(interop: Path) -> Path | None:
        """Where `tests/interop/install.sh` has put it, if it has."""
        folder = (interop / "kannel").resolve()
        return folder if (folder / "usr/sbin/bearerbox").exists() else None

    async def start(self) -> None:
        stage = self._stage
        spool = stage.folder / "kannel-spool"
        spool.mkdir()
        send, box = free_port(), free_port()
        configuration = stage.folder / "kannel.conf"
        configuration.write_text(
            KANNEL.format(
                admin=free_port(),
                box=box,
                spool=spool,
                smpp=stage.smsc_port,
                password=PASSWORD,
                window=WINDOW,
                send=send,
            )
        )
        libraries = (
            self._folder / "usr/lib/x86_64-linux-gnu",
            self._folder / "lib/x86_64-linux-gnu",
        )
        environment = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}
        options = ["-v", "3", str(configuration)]  # else it logs each message to stderr
        pids = []
        for name, port in (("bearerbox", box), ("smsbox", send)):
            program = (str(self._folder / "usr/sbin" / name),)
            child = await stage.child(name, options, environment, quiet, program)
            pids.append(child.pid)
            await listening(port)
        self._pids = tuple(pids)
        self.base_url = f"http://{HOST}:{send}"
        await bound(stage, "kannel")

    def cpu_s(self) -> float:
        return cpu_s(*self._pids)

    def sends(self, work: Work, recipients: Recipients) -> Sends | None:
        own = work.own_header or work.own_text or work.own_query
        if work.bulk > 1 or work.through_service or work.accounts or own:
            return None
        return KannelSends(
            self.base_url, recipients, self._stage.callback_url if work.callbacks else None
        )


class KannelSends:
    """`GET /cgi-bin/sendsms`."""

    bulk = 1

    def __init__(self, base_url: str, recipients: Recipients, callback: str | None) -> None:
        query = {"username": "u", "password": "p", "from": NUMBER, "text": BODY}
        if callback is not None:
            query |= {"dlr-mask": str(KANNEL_DLR_MASK), "dlr-url": f"{callback}?status=%d"}
        host = base_url.removeprefix("http://")
        before = f"GET /cgi-bin/sendsms?{urlencode(query)}&to={recipients.prefix}"
        # "%" of the escapes is doubled, so that the number can be put in by "%".
        self._request = (
            before.replace("%", "%%") + f"%08d HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ).encode()
        self._start = recipients.start

    def render(self, first: int, messages: int) -> bytes:
        return self._request % ((self._start + first) % RECIPIENTS)

    def accepted(self, status: int) -> bool:
        return status == 202


async def listening(port: int) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(POLL_S)
            else:
                writer.close()
                return


async def bound(stage: Stage, carrier: str, binds: int = 1) -> None:
    try:
        async with asyncio.timeout(READY_S):
            while await stage.binds(carrier) < binds:  # noqa: ASYNC110 - asked of another process
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise BenchError(f"{carrier} has no bind to the simulator") from None

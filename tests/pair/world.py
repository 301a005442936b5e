"""The two gateways, their database, the carrier, and somebody who sends to whichever is ready."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from chaos.database import Server
from testing import Sdk, basic, carrier, until
from workers import WorkersProcess

from gateway.loadtest.reconcile import compare, read_ledger
from gateway.messages.message import Direction, Status
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc, mobile
from storage import messages as message_rows
from storage.database import open_connection
from storage.ids import id_from_bytes

from .outcome import Outcome

SERVERS: Final = ("127.0.0.2", "127.0.0.3")  # where each gateway finds the server
OWN: Final = "127.0.0.1"  # and we
PORT: Final = 5432
NUMBERS: Final = ("+447700900101", "+447700900102")
RATE: Final = 120  # sends a second
TIMED_OUT_S: Final = 10.0
LOOK_S: Final = 0.05
PATIENCE_S: Final = 90.0
STRANDED: Final = 99010
AFTER_STOP: Final = "after STOP"
NOTHING: Final = id_from_bytes(bytes(16))


class TcpServer(Server):
    """The embedded server, by TCP."""

    async def listen(self) -> None:
        """On an address for each gateway, and one for us."""
        with (self._folder / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.0/8 trust\n")
        addresses = ",".join((OWN, *SERVERS))
        place = Path(self.socket).parent
        await asyncio.to_thread(
            self._pg_ctl,
            ["-w", "-m", "fast", "-o", f"-h {addresses} -p {PORT} -k {place}", "restart"],
        )


class Side(WorkersProcess):
    """One of the two."""

    def __init__(self, address: str, smsc_port: int, folder: Path, workers: int) -> None:
        super().__init__(
            f"postgresql://postgres@{address}:{PORT}/tandem",
            smsc_port,
            folder,
            workers,
            allow_unsafe=(),
            journal={"keep_hours": 0},
            default_rate_per_second=1_000,
            carriers=(carrier(smsc_port, binds=2, window=30, response_timeout_s=3.0),),
        )
        self.up = False
        """As a load balancer sees it."""

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class World:
    """All of it, under load from `begin` to `settle`."""

    def __init__(self, row: str, workers: int, folder: Path, server: TcpServer) -> None:
        self.outcome = Outcome(row)
        self.server = server
        rule = ScenarioRule(answer_after_s=0.02, receipt_after_s=0.05)
        self.smsc = Smsc(Scenario(carriers=(CarrierScenario(rules=(rule,)),)), seed=1)
        self._folder = folder
        self._workers = workers
        self.first: Side
        self.second: Side
        self.sdk: Sdk
        self.sids: list[str] = []
        self._numbers = itertools.count(1)
        self._stopping = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self._sends: set[asyncio.Task[None]] = set()
        self._fault_at = 0.0
        self._binds_before: set[int] = set()

    # Its beginning and its end -------------------------------------------------------------

    async def begin(self) -> None:
        await self.smsc.start()
        sides = []
        for name, address in zip("ab", SERVERS, strict=True):
            folder = self._folder / name
            folder.mkdir()
            sides.append(Side(address, self.smsc.port, folder, self._workers))
        self.first, self.second = sides
        await self.first.start(patience_s=PATIENCE_S)
        self.sdk = await Sdk.provisioned(self.first.base_url, NUMBERS)
        # It does not listen before it has the right; so its start is not waited for.
        starting = asyncio.create_task(self.second.start(patience_s=PATIENCE_S * 2))
        self._background.append(starting)
        await until(lambda: "standing by" in self.second.log, seconds=PATIENCE_S)
        for side in sides:
            self._background.append(asyncio.create_task(self._watch(side)))
        await until(lambda: self.first.up, seconds=PATIENCE_S)
        self._background.append(asyncio.create_task(self._load()))
        await until(lambda: len(self.sids) > RATE, seconds=PATIENCE_S)

    def fault(self) -> None:
        """Now it happens."""
        self._binds_before = {connection.number for connection in self.smsc.carrier().connections}
        self._fault_at = time.monotonic()

    async def taken_over(self) -> None:
        """Return when the second is ready."""
        await until(lambda: self.second.up, seconds=PATIENCE_S)

    async def stop_at_second(self, recipients: list[str]) -> None:
        """These write STOP, to the second's bind; return when they were answered."""
        smsc = self.smsc.carrier()

        def theirs() -> list[Any]:
            return [
                connection
                for connection in smsc.connections
                if connection.number not in self._binds_before
            ]

        await until(lambda: any(their.can_deliver for their in theirs()), seconds=PATIENCE_S)
        entries = []
        for recipient in recipients:
            [bind, *_] = [their for their in theirs() if their.can_deliver]
            bodies = mobile.bodies(recipient, NUMBERS[0], "STOP", "udh8", next(self._numbers) % 255)
            smsc._note_inbound(recipient, NUMBERS[0], "STOP", bodies)
            entries.append(self.smsc.ledger.inbound[-1])
            for body in bodies:
                smsc.deliver(body, bind)
        self.outcome.stops += len(entries)
        await until(
            lambda: all(entry.answered is not None for entry in entries), seconds=PATIENCE_S
        )
        self.outcome.stops_answered += len(entries)
        self._note("STOP answered at B")
        for recipient in recipients:
            await self.send_to(self.second, recipient, AFTER_STOP)

    async def first_ends(self) -> None:
        """Return when the first process has ended."""
        async with asyncio.timeout(PATIENCE_S):
            self.outcome.ended = await self.first.ended()
        self._note("A ended")

    async def settle(self) -> Outcome:
        """Send no more, wait until all is at rest, and hold every ledger against the others."""
        self._stopping.set()
        if self._sends:
            await asyncio.wait(self._sends)
        connection = await open_connection(f"postgresql://postgres@{OWN}:{PORT}/tandem")
        outcome = self.outcome
        outcome.accepted = len(self.sids)
        unfinished = "SELECT count(*) FROM messages WHERE status < $1"
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await connection.fetchval(unfinished, int(Status.DELIVERED)):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            outcome.notes.append(f"not at rest after {PATIENCE_S:.0f} s")
        rows = await message_rows.outbound(connection, inbound=Direction.INBOUND, since=NOTHING)
        outcome.stranded = await connection.fetchval(
            "SELECT count(*) FROM messages WHERE waiting IS NOT NULL"
        ) + await connection.fetchval("SELECT count(*) FROM alerts WHERE code = $1", STRANDED)
        await connection.close()
        lines = [json.loads(line) for line in self.smsc.ledger.lines()]
        outcome.sent_after_stop = sum(entry["text"] == AFTER_STOP for entry in lines)
        submits = read_ledger(self.smsc.ledger.lines())
        verdict = compare(rows, submits)
        known = {row["id"].hex for row in rows}
        missing = [sid for sid in self.sids if sid[2:] not in known]
        outcome.lost = len(missing) + verdict.lost
        outcome.doubled = verdict.doubled + verdict.foreign
        outcome.marked = verdict.marked_duplicates + verdict.in_doubt
        outcome.notes += [*missing[:3], *verdict.differences[:3]]
        return outcome

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        for side in (self.first, self.second):
            with contextlib.suppress(ProcessLookupError, AssertionError):
                side.signal(signal.SIGCONT)
                await side.kill()
        await self.smsc.stop()

    # The load ------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Open loop, to those that are ready in turn."""
        while not self._stopping.is_set():
            task = asyncio.create_task(self._send(f"+4479{next(self._numbers):08d}"))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)
            await asyncio.sleep(1 / RATE)

    async def _send(self, to: str) -> None:
        """One message to one that is ready, without a second try."""
        sides = [side for side in (self.first, self.second) if side.up]
        if sides:
            await self.send_to(sides[next(self._numbers) % len(sides)], to, "hello")
        else:
            self.outcome.refused += 1

    async def send_to(self, side: Side, to: str, body: str) -> int:
        """One message to one of them. The status of its answer; 0: none."""
        sdk = self.sdk
        form = {"To": to, "Body": body, "MessagingServiceSid": sdk.service_sid}
        begun = time.monotonic()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMED_OUT_S)) as session,
                session.post(
                    f"{side.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
                    data=urlencode(form),
                    headers={
                        "Content-Type": "application/x-www-form-urlencoded",
                        "Authorization": basic(sdk.account_sid, sdk.auth_token),
                    },
                ) as response,
            ):
                answer = await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.outcome.unanswered += 1
            return 0
        if self._fault_at and side is self.first:
            took = time.monotonic() - begun
            longest = self.outcome.times.get("longest answer of A", 0.0)
            self.outcome.times["longest answer of A"] = max(longest, took)
        if response.status == 201:
            self.sids.append(answer["sid"])
        else:
            self.outcome.refused += 1
            if self._fault_at and side is self.first and response.status == 503:
                self._note("first 503 of A")
        return response.status

    async def _watch(self, side: Side) -> None:
        """As a load balancer does."""
        timeout = aiohttp.ClientTimeout(total=1.0)
        name = "A" if side is self.first else "B"
        while True:
            try:
                async with (
                    aiohttp.ClientSession(timeout=timeout) as session,
                    session.get(f"{side.base_url}/readyz") as response,
                ):
                    side.up = response.status == 200
            except (aiohttp.ClientError, OSError, TimeoutError):
                side.up = False
            if self._fault_at and side.up is (side is self.second):
                self._note(f"/readyz of {name} {200 if side.up else 'not 200'}")
            await asyncio.sleep(LOOK_S)

    def _note(self, what: str) -> None:
        self.outcome.times.setdefault(what, round(time.monotonic() - self._fault_at, 2))


@contextlib.asynccontextmanager
async def world(row: str, workers: int) -> AsyncIterator[World]:
    """A world under load."""
    with tempfile.TemporaryDirectory(prefix="tandem-pair-") as name:
        server = TcpServer(Path(name))
        await server.start()
        await server.listen()
        one = World(row, workers, Path(name), server)
        try:
            await one.begin()
            yield one
        finally:
            await one.close()
            await asyncio.to_thread(server.kill)

"""One round's world: a gateway that is started again when it dies, its load, and every ledger."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp
import asyncpg
from testing import Receiver, Sdk, basic, carrier, free_port, until
from workers import WorkersProcess

from gateway.loadtest.reconcile import Reconciliation, compare, read_ledger
from gateway.messages.message import Direction, Status
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc
from storage import messages as message_rows
from storage.ids import id_from_bytes

from .database import Server, Wire
from .victim import CLOCK, OFFSET, VARIABLE

TESTS: Final = Path(__file__).parents[1]
NUMBERS: Final = tuple(f"+44770090010{n}" for n in range(4))
SERVICES: Final = 2  # each with every other number: with two workers, each has one
RULE: Final = ScenarioRule(
    answer_after_s=0.02, receipt_after_s=0.05
)  # so that windows are never empty
LATER: Final = "chat scheduled"  # how a text begins that is not to leave with the load
RATE: Final = 150  # segments per second and number
WORKERS: Final = 16
CHATS: Final = 5  # recipients that are written to again and again, in order
CHAT_LENGTH: Final = 30
BURST: Final = 8
LEAVERS: Final = 5  # recipients that opt out in the middle
WRITERS: Final = 10  # of inbound messages
INBOUND_S: Final = 0.004  # per message that is sent: as long as those are
BEGINS_S: Final = 5.0  # what stops later was not stopped by the fault
PAUSE_S: Final = 0.05  # after an answer that says no
QUIET_S: Final = 90.0
NOTHING: Final = id_from_bytes(bytes(16))
FINAL: Final = frozenset({"delivered", "undelivered", "failed"})
OPTED_OUT: Final = 21610
UNKNOWN: Final = 502  # a worker died with the request
GONE: Final = "gone"


class Victim(WorkersProcess):
    """A gateway with a step at which it dies, and a clock that can be set."""

    module = "chaos.victim"

    def __init__(
        self, database_url: str, smsc_port: int, folder: Path, workers: int, **changes: Any
    ) -> None:
        super().__init__(database_url, smsc_port, folder, workers, **changes)
        self._clock = folder / "clock"
        self.set_clock(0.0)
        self._environment["PYTHONPATH"] = str(TESTS)
        self._environment[CLOCK] = str(self._clock)

    def set_clock(self, offset_s: float) -> None:
        """Its wall clock is so far from ours from now on, and after a restart, too."""
        with self._clock.open("wb" if not self._clock.exists() else "r+b") as file:
            file.write(OFFSET.pack(offset_s))

    def arm(self, step: str, at: int) -> None:
        """The next start dies there, once."""
        self._environment[VARIABLE] = f"{step}:{at}"

    def disarm(self) -> None:
        self._environment.pop(VARIABLE, None)


class Ledgers(NamedTuple):
    """What a round left behind, for a fault's own check."""

    carried: list[dict[str, Any]]
    """What the carrier saw."""
    ends: dict[str, tuple[int, int]]
    """The status and the error code of each message, by SID."""


@dataclass
class Outcome:
    """What a round ended with."""

    fault: str
    seed: int
    accepted: int = 0
    lost: int = 0
    doubled: int = 0
    marked: int = 0
    """Doubled, or failed and yet taken, inside the documented window; marked as that."""
    opted_out: int = 0
    disordered: int = 0
    callbacks: int = 0
    """Messages whose callbacks are missing, or out of order."""
    inbound: int = 0
    """Inbound messages that are missing, or there twice."""
    differing: int = 0
    pause_s: float = 0.0
    """The longest pause of what the carrier took, of those that the fault began."""
    notes: list[str] = field(default_factory=list)
    """What is wrong."""
    remarks: list[str] = field(default_factory=list)
    """What is worth knowing."""

    @property
    def counts(self) -> dict[str, int]:
        """All that must be 0."""
        return {
            "lost": self.lost,
            "doubled": self.doubled,
            "out of order": self.disordered,
            "opted-out sent": self.opted_out,
            "callbacks": self.callbacks,
            "inbound": self.inbound,
            "differing": self.differing,
        }

    @property
    def clean(self) -> bool:
        return not (any(self.counts.values()) or self.notes)


class World:
    """Everything but the database server, which rounds share."""

    def __init__(
        self,
        server: Server,
        database: str,
        folder: Path,
        seed: int,
        count: int,
        workers: int = 1,
    ) -> None:
        self.workers = workers
        self.server = server
        self.wire = Wire(server.socket)
        self.random = random.Random(seed)
        self.count = count
        self.folder = folder
        self.sids: list[str] = []
        """Of every message that was answered with 201."""
        self.inbound: list[str] = []
        """What subscribers wrote."""
        self.begun_queued: set[str] = set()
        """Those of them that the 201 said to be queued: no callback says it again."""
        self.fault_at = 0.0
        """On the wall clock."""
        self.receiver = Receiver()
        self.smsc = Smsc(
            Scenario(
                carriers=(
                    CarrierScenario(
                        rules=(ScenarioRule(answer_after_s=0.02, receipt_after_s=0.05),)
                    ),
                )
            ),
            seed=seed,
        )
        self.gateway: Victim
        self.gateways: list[Victim] = []
        """It, and those that stand by."""
        self._database = database
        self._keeping: asyncio.Task[None] | None = None
        self._stack = contextlib.AsyncExitStack()
        self._sdks: list[Sdk] = []
        self._port = free_port()
        self.deaths = 0
        self.leaves_no_doubt = False
        """Whether the fault is none: nothing may be sent twice, not even marked."""
        self.problems: list[str] = []
        """What a fault found by itself."""
        self.aside: set[str] = set()
        """SIDs that a fault looks after itself: of these there need be no end, and no callbacks."""
        self.unanswered = 0
        """Requests that ended without an answer."""
        self.remarks: list[str] = []
        self.checks: list[Callable[[Ledgers], None]] = []
        """What a fault wants to look at when all is at rest."""
        self.most_pause_s = float("inf")
        """The longest pause that the fault may make."""

    @property
    def url(self) -> str:
        """Of the round's database, by the wire."""
        return f"postgresql://postgres@127.0.0.1:{self.wire.port}/{self._database}"

    async def __aenter__(self) -> World:
        await self.wire.start()
        self._stack.push_async_callback(self.wire.stop)
        await self.smsc.start()
        self._stack.push_async_callback(self.smsc.stop)
        await self._stack.enter_async_context(self.receiver)
        self.gateway = self.another()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        for gateway in self.gateways:
            with contextlib.suppress(ProcessLookupError):
                await gateway.kill()
        await self._stack.aclose()

    def another(self) -> Victim:
        """A gateway on this database and this port, not started."""
        folder = self.folder / f"gateway-{len(self.gateways)}"
        folder.mkdir()
        one = Victim(
            self.url,
            self.smsc.port,
            folder,
            self.workers,
            port=self._port,
            default_rate_per_second=RATE,
            allow_unsafe=(),
            journal={"keep_hours": 0},
            carriers=(
                carrier(
                    self.smsc.port,
                    binds=2,
                    window=30,
                    response_timeout_s=3.0,
                    enquire_interval_s=1.0,
                    refusal_waits={"first_s": 0.2, "most_s": 1.0, "system_s": 0.5},
                ),
            ),
        )
        self.gateways.append(one)
        return one

    async def start(self) -> None:
        """Start the gateway, and again whenever it dies."""
        await self.gateway.start(patience_s=60.0)
        self._keeping = asyncio.create_task(self._keep())
        for n in range(SERVICES):
            sdk = await Sdk.provisioned(self.gateway.base_url, NUMBERS[n::SERVICES])
            self._sdks.append(sdk)

    async def _keep(self) -> None:
        while True:
            await self.gateway.ended()
            self.deaths += 1
            self.gateway.disarm()
            self.on_death()
            # Its database may be away still: a supervisor tries again, too.
            with contextlib.suppress(TimeoutError, RuntimeError):
                await self.gateway.start(patience_s=60.0)

    def on_death(self) -> None:
        """For a fault that has more to do."""

    async def restarted_with(self, step: str, at: int) -> None:
        """Stop in peace, and start armed: the step is passed under load."""
        self.gateway.arm(step, at)
        before = self.deaths
        keep = self.gateway.disarm
        self.gateway.disarm = lambda: None  # type: ignore[method-assign]
        await self.gateway.stop()
        await until(lambda: self.deaths > before)
        self.gateway.disarm = keep  # type: ignore[method-assign]
        await self.gateway.ready()

    # The load -------------------------------------------------------------------------------

    async def load(self) -> None:
        """Send everything, whatever happens; return when every message has its answer."""
        plain = iter(range(self.count))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            await asyncio.gather(
                *(self._worker(session, plain) for _ in range(WORKERS)),
                *(self._chat(session, n) for n in range(CHATS)),
                *(self._leaver(session, n) for n in range(LEAVERS)),
                self._inbound(),
            )

    async def _worker(self, session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:
            body = f"plain {number} " + "x" * (200 if number % 10 == 0 else 0)
            await self._send(session, f"+4479{number:08d}", body, service=number % SERVICES)

    async def _chat(self, session: aiohttp.ClientSession, chat: int) -> None:
        for turn in range(CHAT_LENGTH):
            await self._send(
                session,
                f"+44780000000{chat}",
                f"chat {chat} {turn:03d}",
                sender=NUMBERS[chat % len(NUMBERS)],
            )
            await asyncio.sleep(self.random.uniform(0.0, 0.02))  # faster than the carrier answers

    async def _leaver(self, session: aiohttp.ClientSession, leaver: int) -> None:
        """Somebody who is written to, says STOP, and is still written to."""
        recipient, service = f"+44760000000{leaver}", leaver % SERVICES
        for turn in range(12):
            await self._send(session, recipient, f"leaver {leaver} {turn}", service=service)
            if turn == 4 + leaver % 3:
                self.smsc.carrier().mobile_originated(recipient, NUMBERS[service], "STOP")
            await asyncio.sleep(0.1)

    async def _inbound(self) -> None:
        for _ in range(WRITERS):
            self.write_in()
            await asyncio.sleep(INBOUND_S * self.count / WRITERS)

    def write_in(self) -> None:
        """A subscriber writes."""
        text = f"mo {len(self.inbound)}"
        self.inbound.append(text)
        self.smsc.carrier().mobile_originated(
            f"+4475000000{len(self.inbound):02d}", NUMBERS[len(self.inbound) % len(NUMBERS)], text
        )

    async def conversation(
        self, name: str, turns: range, *, service: int = 0, **more: str
    ) -> list[str]:
        """Write to one recipient, as fast as we are answered; the SIDs.

        The carrier is slower: what is written waits. Its order is checked as that of the chats.
        """
        recipient = f"+447810{zlib.crc32(name.encode()) % 1_000_000:06d}"
        async with aiohttp.ClientSession() as session:
            return [
                await self._send(
                    session, recipient, f"chat {name} {turn:03d}", service=service, **more
                )
                for turn in turns
            ]

    async def bursts(self, until: asyncio.Event) -> None:
        """Write to one recipient, some at once and again: all but the first must wait."""
        numbers = count()
        async with aiohttp.ClientSession() as session:
            while not until.is_set():
                some = [f"burst {next(numbers)}" for _ in range(BURST)]
                await asyncio.gather(*(self._send(session, "+447820000000", one) for one in some))

    async def cancel(self, sid: str) -> None:
        """Cancel a scheduled message."""
        sdk = self._sdks[0]
        await sdk.call(sdk.client.messages(sid).update, status="canceled")

    async def _send(
        self,
        session: aiohttp.ClientSession,
        to: str,
        body: str,
        *,
        sender: str = "",
        service: int = 0,
        **more: str,
    ) -> str:
        """One message, until there is an answer that is no *later*; one without answer is let be:
        it may be stored, and to send it again would be the app's own doubling. Its SID, or "".
        """
        sdk = self._sdks[service]
        form = {"To": to, "Body": body, "StatusCallback": self.receiver.url, **more}
        form |= {"From": sender} if sender else {"MessagingServiceSid": sdk.service_sid}
        while True:
            try:
                async with session.post(
                    f"{sdk.base_url}/2010-04-01/Accounts/{sdk.account_sid}/Messages.json",
                    data=urlencode(form),
                    headers={
                        "Content-Type": "application/x-www-form-urlencoded",
                        "Authorization": basic(sdk.account_sid, sdk.auth_token),
                    },
                ) as response:
                    answer = await response.json()
            except aiohttp.ClientConnectorError:  # nothing was sent
                await asyncio.sleep(PAUSE_S)
                continue
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.unanswered += 1
                return ""
            if response.status == 201:
                self.sids.append(answer["sid"])
                if answer["status"] != "accepted":
                    self.begun_queued.add(answer["sid"])
                return str(answer["sid"])
            if response.status in (429, 503):
                await asyncio.sleep(PAUSE_S)
                continue
            known = response.status != UNKNOWN or self.workers == 1
            if known and answer.get("code") != OPTED_OUT:
                self.problems.append(f"answered with {response.status}: {answer}")
            return ""

    # The ledgers ------------------------------------------------------------------------------

    async def settle(self) -> Outcome:
        """Wait for the end of everything, then compare."""
        outcome = Outcome("", 0, accepted=len(self.sids))
        await self._quiet(outcome)
        connection = await asyncpg.connect(self.url)
        try:
            rows = await message_rows.outbound(connection, inbound=Direction.INBOUND, since=NOTHING)
            ends = await connection.fetch(
                "SELECT CASE WHEN flags & 2 = 2 THEN 'MM' ELSE 'SM' END"
                " || replace(id::text, '-', '') AS sid, status, error_code AS error FROM messages"
            )
            statuses = {row["sid"]: row["status"] for row in ends}
            inbound = await connection.fetch(
                "SELECT body FROM messages WHERE direction = $1",
                int(Direction.INBOUND),
            )
        finally:
            await connection.close()
        entries = [json.loads(line) for line in self.smsc.ledger.lines()]
        if self.workers > 1 and not self._divided(entries):
            self.problems.append("the workers did not divide the services between them")
        for check in self.checks:
            check(
                Ledgers(entries, {row["sid"]: (row["status"], row["error"] or 0) for row in ends})
            )
        verdict = compare(rows, read_ledger(self.smsc.ledger.lines()))
        self._count(outcome, verdict, statuses)
        outcome.disordered = self._disordered(entries)
        outcome.opted_out = self._opted_out(entries)
        outcome.callbacks = self._bad_callbacks(outcome, statuses)
        outcome.inbound = self._bad_inbound(outcome, [row["body"] for row in inbound])
        outcome.pause_s = self._pause(entries)
        return outcome

    async def _quiet(self, outcome: Outcome) -> None:
        """Everything has its final state, and every callback was taken."""
        try:
            async with asyncio.timeout(QUIET_S):
                while not await self._is_quiet():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            outcome.notes.append(f"not at rest after {QUIET_S:.0f} s")

    async def _is_quiet(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url)
        except (OSError, asyncpg.PostgresError):
            return False
        try:
            waiting = await connection.fetchval(
                "SELECT count(*) FROM messages WHERE status < $1", int(Status.DELIVERED)
            )
        finally:
            await connection.close()
        if waiting:
            return False
        told = self.receiver.statuses
        sids = [sid for sid in self.sids if sid not in self.aside]
        return all(not FINAL.isdisjoint(told[sid]) for sid in sids) and all(
            entry.answered is not None for entry in self.smsc.ledger.inbound
        )

    def _count(self, outcome: Outcome, verdict: Reconciliation, statuses: dict[str, int]) -> None:
        missing = [sid for sid in self.sids if sid not in statuses]
        outcome.lost = verdict.lost + len(missing)
        outcome.doubled = verdict.doubled + verdict.foreign
        outcome.marked = verdict.marked_duplicates + verdict.in_doubt
        outcome.differing = len(verdict.differences)
        outcome.notes += [f"answered 201, and not stored: {sid}" for sid in missing[:3]]
        outcome.notes += verdict.differences[:3]

    def _disordered(self, entries: list[dict[str, Any]]) -> int:
        """Messages of a chat that were taken after a later one.

        Two in a row may be in the window: one whose answer was not written yet, and the next. Both
        are sent again then, so it is the first copies that must be in order, and the last ones.
        """
        chats: defaultdict[str, list[str]] = defaultdict(list)
        for entry in entries:
            if entry["text"].startswith("chat ") and not entry["outcome"].startswith("ESME_"):
                chats[entry["destination"]].append(entry["text"])
        wrong = 0
        for texts in chats.values():
            first = list(dict.fromkeys(texts))
            last = list(dict.fromkeys(reversed(texts)))[::-1]
            wrong += sum(a > b for order in (first, last) for a, b in pairwise(order))
        return wrong

    def _divided(self, entries: list[dict[str, Any]]) -> bool:
        """Whether each service left by binds of its own, up to the fault."""
        binds: list[set[str]] = []
        for n in range(SERVICES):
            sources = {number.lstrip("+") for number in NUMBERS[n::SERVICES]}
            binds.append(
                {
                    entry["bind"]
                    for entry in entries
                    if entry["source"] in sources and entry["time"] < self.fault_at
                }
            )
        return all(binds) and not set.intersection(*binds)

    @property
    def under_way(self) -> bool:
        """Whether each service has had something carried."""
        sources = {json.loads(line)["source"] for line in self.smsc.ledger.lines()}
        return all(
            sources & {number.lstrip("+") for number in NUMBERS[n::SERVICES]}
            for n in range(SERVICES)
        )

    def _pause(self, entries: list[dict[str, Any]]) -> float:
        """Seconds in which nothing of a service was carried, from the fault on."""
        longest = 0.0
        for numbers in (NUMBERS[n::SERVICES] for n in range(SERVICES)):
            sources = {number.lstrip("+") for number in numbers}
            times = sorted(
                entry["time"]
                for entry in entries
                if entry["source"] in sources and not entry["text"].startswith(LATER)
            )
            for before, after in pairwise(times):
                if after > self.fault_at and before < self.fault_at + BEGINS_S:
                    longest = max(longest, after - before)
        return longest

    def _opted_out(self, entries: list[dict[str, Any]]) -> int:
        """Messages that left after the answer to their recipient's STOP."""
        stopped = {
            one.source.lstrip("+"): one.answered
            for one in self.smsc.ledger.inbound
            if one.text == "STOP" and one.answered is not None
        }
        return sum(
            entry["text"].startswith("leaver")
            and entry["time"] > stopped.get(entry["destination"], float("inf"))
            for entry in entries
        )

    def _bad_callbacks(self, outcome: Outcome, statuses: dict[str, int]) -> int:
        bad = 0
        for sid in self.sids:
            if sid in self.aside:
                continue
            told = list(dict.fromkeys(self.receiver.statuses[sid]))
            final = Status(statuses[sid]).shown if sid in statuses else GONE
            wanted = ["sent", "delivered"] if final == "delivered" else [final]
            if sid not in self.begun_queued and final == "delivered":
                wanted.insert(0, "queued")
            if told == wanted or (final != "delivered" and told[-1:] == wanted):
                continue
            bad += 1
            if bad <= 3:
                outcome.notes.append(f"{sid} is {final}, its callbacks: {told}")
        return bad

    def _bad_inbound(self, outcome: Outcome, bodies: list[str]) -> int:
        times: defaultdict[str, int] = defaultdict(int)
        for body in bodies:
            times[body] += 1
        bad = [text for text in self.inbound if times[text] != 1]
        outcome.notes += [f"{one!r} is there {times[one]} times" for one in bad[:3]]
        return len(bad)

"""`tandem bench URL`: load on a gateway, at a rate or at its maximum, and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated, BinaryIO, Final, Literal

import uvloop
from typer import Argument, Option

from gateway.commands.options import new_app, refuses, taking
from gateway.loadtest import ledger, report, schedule
from gateway.loadtest.generator import Generator, LoadError, Plan, Result
from gateway.loadtest.schedule import MOST_REQUESTS
from gateway.loadtest.sends import (
    MOST_BULK,
    RECIPIENTS,
    BulkSends,
    LoadMessage,
    Recipients,
    Sends,
    SingleSends,
)

FAILED: Final = 1
BODY: Final = "Revenge of the Sith was clearly the best of the prequel trilogy."
DEFAULT_COUNT: Final = 10_000
MOST_CONNECTIONS: Final = 10_000
PROGRESS_S: Final = 0.5
SID: Final = re.compile(rb'"sid": ?"([SM]M[0-9a-f]{32})"')

app = new_app()
whose = partial(Option, rich_help_panel="Whose messages")
what = partial(Option, rich_help_panel="What is sent")
load = partial(Option, rich_help_panel="How much, how fast")
outcome = partial(Option, rich_help_panel="The result")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What `tandem bench` is told; a field is an option of its name."""

    url: Annotated[str, Argument(help="Where the gateway is, as http://127.0.0.1:8080.")]
    account: Annotated[str | None, whose(metavar="SID", help="Default: TWILIO_ACCOUNT_SID.")] = None
    token: Annotated[str | None, whose(help="Default: TWILIO_AUTH_TOKEN.")] = None
    sender: Annotated[str | None, whose("--from", metavar="NUMBER")] = None
    messaging_service: Annotated[str | None, whose(metavar="SID")] = None
    facts: Annotated[
        Path | None, whose(metavar="FILE", help="All of these from a demo.json of `tandem world`.")
    ] = None
    body: Annotated[str, what(metavar="TEXT")] = BODY
    status_callback: Annotated[str | None, what(metavar="URL")] = None
    recipients: Annotated[str, what(metavar="PREFIX", help="Eight digits follow.")] = "4479"
    bulk: Annotated[
        int | None, what(metavar="N", help="Recipients per request (POST /comms/v1/Messages).")
    ] = None
    rate: Annotated[str, load(metavar="N", help="Messages per second (open loop), or max.")] = "max"
    arrivals: Annotated[Literal["poisson", "even"], load(help="Of requests at a rate.")] = "poisson"
    count: Annotated[int | None, load(metavar="N", help=f"Messages. Default: {DEFAULT_COUNT}.")] = (
        None
    )
    duration: Annotated[float | None, load(metavar="SECONDS", help="Instead of a count.")] = None
    connections: Annotated[int, load(metavar="N")] = 64
    timeout: Annotated[float, load(metavar="SECONDS")] = 10.0
    seed: Annotated[int | None, load(help="Of the arrivals and the recipients.")] = None
    ledger: Annotated[
        str | None,
        outcome(
            metavar="URL",
            help="Of the carrier simulator's control: every accepted message must be there, once.",
        ),
    ] = None
    json: Annotated[Path | None, outcome(metavar="FILE", help="Write it there, too.")] = None
    accepted: Annotated[
        Path | None,
        outcome(
            metavar="FILE",
            help="The SIDs of what was answered with 201, for `tandem reconcile --api`.",
        ),
    ] = None


@app.command()
@refuses("bench", LoadError, OSError)
@taking(BenchOptions)
def bench(told: BenchOptions) -> int:
    """Put load on a gateway, and tell what came of it.

    Exit status 0: everything was accepted, and found. 1: not everything. 2: it could not be run.
    """
    return uvloop.run(_run(told))


async def _run(told: BenchOptions) -> int:
    random = Random(told.seed)
    recipients = _recipients(told, random)
    url = told.url.rstrip("/")
    sends = _sends(told, url, recipients)
    plan = _plan(told, sends.bulk, random)
    before = await ledger.submits_so_far(told.ledger) if told.ledger else 0
    progress = Progress(plan.messages)
    with contextlib.ExitStack() as stack:
        note = None
        if told.accepted is not None:
            if told.bulk is not None:
                raise LoadError("--accepted: the answer to a bulk request names no messages")
            note = _Accepted(stack.enter_context(told.accepted.open("wb")))
        result = await Generator(url, plan, sends, progress, note).run()
    progress.clear()
    found = None
    if told.ledger:
        submits = await ledger.fetch(told.ledger, result.accepted, before)
        found = ledger.check(result.taken[: result.messages], recipients, submits)
    print(report.table(result, found))
    if told.json is not None:
        told.json.write_text(json.dumps(report.document(result, found), indent=1) + "\n")
    return 0 if result.clean and (found is None or found.clean) else FAILED


class _Accepted:
    """Writes the SID in each answer to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, body: bytes) -> None:
        sid = SID.search(body)
        # An answer without one stands there as it is: who reads the file says so.
        self._file.write((sid[1] if sid is not None else body[:200].replace(b"\n", b" ")) + b"\n")


class Progress:
    """A line that is written over, on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown_at = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, result: Result) -> None:
        now = time.monotonic()
        if not self._terminal or now - self._shown_at < PROGRESS_S:
            return
        self._shown_at = now
        line = report.progress(result, self._total, now - result.started_at)
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# The options, checked ---------------------------------------------------------------------


def _recipients(told: BenchOptions, random: Random) -> Recipients:
    prefix = told.recipients.lstrip("+")
    if not prefix.isdecimal() or not prefix.isascii() or not 1 <= len(prefix) <= 7:
        raise LoadError("--recipients must be 1 to 7 digits")
    return Recipients(prefix, random.randrange(RECIPIENTS))


def _sends(told: BenchOptions, url: str, recipients: Recipients) -> Sends:
    facts = _facts(told.facts) if told.facts is not None else {}
    account = told.account or facts.get("account_sid") or os.environ.get("TWILIO_ACCOUNT_SID")
    token = told.token or facts.get("auth_token") or os.environ.get("TWILIO_AUTH_TOKEN")
    service = told.messaging_service
    if service is None and told.sender is None:
        service = facts.get("messaging_service_sid")
    if not account or not token:
        raise LoadError("give --account and --token, or set TWILIO_ACCOUNT_SID and _AUTH_TOKEN")
    if service is None and told.sender is None:
        raise LoadError("give --from or --messaging-service")
    message = LoadMessage(told.body, told.sender, service, told.status_callback)
    if told.bulk is None:
        return SingleSends(url, account, token, message, recipients)
    if not 1 <= told.bulk <= MOST_BULK:
        raise LoadError(f"--bulk must be between 1 and {MOST_BULK}")
    if service is not None and told.sender is not None:
        raise LoadError("a bulk request has --from or --messaging-service, not both")
    return BulkSends(url, account, token, message, recipients, told.bulk)


def _facts(file: Path) -> dict[str, str]:
    try:
        facts = json.loads(file.read_text())
        names = ("account_sid", "auth_token", "messaging_service_sid")
        return {name: str(facts[name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"{file} can't be used: {error!r}") from None


def _plan(told: BenchOptions, bulk: int, random: Random) -> Plan:
    rate = _rate(told.rate)
    duration, count = told.duration, told.count
    if duration is not None and not 0 < duration <= 86_400:
        raise LoadError("--duration must be above 0, and at most a day")
    if not 1 <= told.connections <= MOST_CONNECTIONS:
        raise LoadError(f"--connections must be between 1 and {MOST_CONNECTIONS}")
    if told.timeout <= 0:
        raise LoadError("--timeout must be above 0")
    if count is None:
        if duration is None:
            count = DEFAULT_COUNT
        elif rate is not None:
            count = max(round(rate * duration), 1)
        else:
            count = MOST_REQUESTS  # until the time is over
    if not 1 <= count <= RECIPIENTS:
        raise LoadError(f"--count must be between 1 and {RECIPIENTS}")
    requests = -(-count // bulk)
    times = None
    if rate is not None:
        if requests > MOST_REQUESTS:
            raise LoadError(f"at a rate, at most {MOST_REQUESTS} requests can be planned")
        if told.arrivals == "even":
            times = schedule.even(rate / bulk, requests)
        else:
            times = schedule.poisson(rate / bulk, requests, random)
    return Plan(count, told.connections, times, duration, told.timeout)


def _rate(text: str) -> float | None:
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1_000_000:
        raise LoadError("--rate must be a number above 0, or max")
    return rate

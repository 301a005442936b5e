"""`tandem bench URL`: load on a gateway, at a rate or at its maximum, and what came of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path
from random import Random
from typing import BinaryIO, Final

import uvloop

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

WRONG_USE: Final = 2
FAILED: Final = 1
BODY: Final = "Revenge of the Sith was clearly the best of the prequel trilogy."
DEFAULT_COUNT: Final = 10_000
MOST_CONNECTIONS: Final = 10_000
PROGRESS_S: Final = 0.5
SID: Final = re.compile(rb'"sid": ?"([SM]M[0-9a-f]{32})"')


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="where the gateway is, as http://127.0.0.1:8080")
    who = parser.add_argument_group("whose messages")
    who.add_argument("--account", metavar="SID", help="default: TWILIO_ACCOUNT_SID")
    who.add_argument("--token", help="default: TWILIO_AUTH_TOKEN")
    who.add_argument("--from", dest="sender", metavar="NUMBER")
    who.add_argument("--messaging-service", metavar="SID")
    who.add_argument(
        "--facts", type=Path, metavar="FILE", help="all of these from a demo.json of `tandem world`"
    )
    what = parser.add_argument_group("what is sent")
    what.add_argument("--body", default=BODY, metavar="TEXT")
    what.add_argument("--status-callback", metavar="URL")
    what.add_argument(
        "--recipients", default="4479", metavar="PREFIX", help="eight digits follow; default: 4479"
    )
    what.add_argument(
        "--bulk", type=int, metavar="N", help="recipients per request (POST /comms/v1/Messages)"
    )
    load = parser.add_argument_group("how much, how fast")
    load.add_argument(
        "--rate", default="max", metavar="N", help="messages per second (open loop), or max"
    )
    load.add_argument(
        "--arrivals", choices=("poisson", "even"), default="poisson", help="of requests at a rate"
    )
    load.add_argument("--count", type=int, metavar="N", help=f"messages; default {DEFAULT_COUNT}")
    load.add_argument("--duration", type=float, metavar="SECONDS", help="instead of a count")
    load.add_argument("--connections", type=int, default=64, metavar="N")
    load.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    load.add_argument("--seed", type=int, help="of the arrivals and the recipients")
    result = parser.add_argument_group("the result")
    result.add_argument(
        "--ledger",
        metavar="URL",
        help="of the carrier simulator's control: every accepted message must be there, once",
    )
    result.add_argument("--json", type=Path, metavar="FILE", help="write it there, too")
    result.add_argument(
        "--accepted",
        type=Path,
        metavar="FILE",
        help="the SIDs of what was answered with 201, one a line, for `tandem reconcile --api`",
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """0: everything was accepted, and found. 1: not everything. 2: it could not be run."""
    try:
        return uvloop.run(_run(parsed))
    except (LoadError, OSError) as error:
        print(f"tandem bench: {error}", file=sys.stderr)
        return WRONG_USE


async def _run(parsed: argparse.Namespace) -> int:
    random = Random(parsed.seed)
    recipients = _recipients(parsed, random)
    url = parsed.url.rstrip("/")
    sends = _sends(parsed, url, recipients)
    plan = _plan(parsed, sends.bulk, random)
    before = await ledger.submits_so_far(parsed.ledger) if parsed.ledger else 0
    progress = Progress(plan.messages)
    with contextlib.ExitStack() as stack:
        note = None
        if parsed.accepted is not None:
            if parsed.bulk is not None:
                raise LoadError("--accepted: the answer to a bulk request names no messages")
            note = _Accepted(stack.enter_context(parsed.accepted.open("wb")))
        result = await Generator(url, plan, sends, progress, note).run()
    progress.clear()
    found = None
    if parsed.ledger:
        submits = await ledger.fetch(parsed.ledger, result.accepted, before)
        found = ledger.check(result.taken[: result.messages], recipients, submits)
    print(report.table(result, found))
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(report.document(result, found), indent=1) + "\n")
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


def _recipients(parsed: argparse.Namespace, random: Random) -> Recipients:
    prefix = parsed.recipients.lstrip("+")
    if not prefix.isdecimal() or not prefix.isascii() or not 1 <= len(prefix) <= 7:
        raise LoadError("--recipients must be 1 to 7 digits")
    return Recipients(prefix, random.randrange(RECIPIENTS))


def _sends(parsed: argparse.Namespace, url: str, recipients: Recipients) -> Sends:
    facts = _facts(parsed.facts) if parsed.facts is not None else {}
    account = parsed.account or facts.get("account_sid") or os.environ.get("TWILIO_ACCOUNT_SID")
    token = parsed.token or facts.get("auth_token") or os.environ.get("TWILIO_AUTH_TOKEN")
    service = parsed.messaging_service
    if service is None and parsed.sender is None:
        service = facts.get("messaging_service_sid")
    if not account or not token:
        raise LoadError("give --account and --token, or set TWILIO_ACCOUNT_SID and _AUTH_TOKEN")
    if service is None and parsed.sender is None:
        raise LoadError("give --from or --messaging-service")
    message = LoadMessage(parsed.body, parsed.sender, service, parsed.status_callback)
    if parsed.bulk is None:
        return SingleSends(url, account, token, message, recipients)
    if not 1 <= parsed.bulk <= MOST_BULK:
        raise LoadError(f"--bulk must be between 1 and {MOST_BULK}")
    if service is not None and parsed.sender is not None:
        raise LoadError("a bulk request has --from or --messaging-service, not both")
    return BulkSends(url, account, token, message, recipients, parsed.bulk)


def _facts(file: Path) -> dict[str, str]:
    try:
        facts = json.loads(file.read_text())
        names = ("account_sid", "auth_token", "messaging_service_sid")
        return {name: str(facts[name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"{file} can't be used: {error!r}") from None


def _plan(parsed: argparse.Namespace, bulk: int, random: Random) -> Plan:
    rate = _rate(parsed.rate)
    duration, count = parsed.duration, parsed.count
    if duration is not None and not 0 < duration <= 86_400:
        raise LoadError("--duration must be above 0, and at most a day")
    if not 1 <= parsed.connections <= MOST_CONNECTIONS:
        raise LoadError(f"--connections must be between 1 and {MOST_CONNECTIONS}")
    if parsed.timeout <= 0:
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
        if parsed.arrivals == "even":
            times = schedule.even(rate / bulk, requests)
        else:
            times = schedule.poisson(rate / bulk, requests, random)
    return Plan(count, parsed.connections, times, duration, parsed.timeout)


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

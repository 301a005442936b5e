"""`tandem reconcile`: what the gateway says of its messages, against what the carrier saw.

Three ledgers must agree (design §9): the rows, the carrier simulator's ledger, and (through the
rows) the API. `compare` is pure, so that the tests of faults use the same code as an operator.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import aiohttp
import orjson

from gateway.carriers.references import message_reference
from gateway.carriers.results import TIMEOUT, receipt_result, submit_result
from gateway.dispatch.message import Direction, Flag, Status
from gateway.dispatch.recover import id_at
from gateway.settings import Settings
from smpp.receipt import Receipt, state_of
from smpp.vocabulary import STATUS_NAMES
from storage import messages as message_rows
from storage.embedded import EmbeddedPostgres
from storage.pool import open_connection

NO_RECEIPT = "NO_RECEIPT"
NOTHING = "not submitted"
UNDER_WAY = "under way"
SHOWN_DIFFERENCES = 20

Key = tuple[str, str, int]
"""Source, destination (digits as on the wire), and the message's reference."""


class Submit(NamedTuple):
    """One line of the carrier's ledger."""

    source: str
    destination: str
    reference: int
    segment: int
    total: int
    outcome: str


@dataclass(slots=True)
class Verdict:
    """What both sides say, and where they differ."""

    ours: Counter[str] = field(default_factory=Counter)  # state → messages
    theirs: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    lost: int = 0  # we say it went out, the carrier never saw it
    doubled: int = 0  # a segment taken twice, and not marked a possible duplicate
    marked_duplicates: int = 0  # … and marked (design §3.3)
    in_doubt: int = 0  # failed when its answer was lost, and the carrier had taken it
    foreign: int = 0  # the carrier saw what we know nothing of

    @property
    def clean(self) -> bool:
        return not (self.differences or self.lost or self.doubled or self.foreign)

    def table(self) -> str:
        """Both sides by state, the difference, and what it is made of."""
        states = sorted(self.ours.keys() | self.theirs.keys())
        lines = [f"{'state':<16}{'gateway':>10}{'carrier':>10}{'difference':>12}"]
        lines += [
            f"{state:<16}{self.ours[state]:>10}{self.theirs[state]:>10}"
            f"{self.ours[state] - self.theirs[state]:>12}"
            for state in states
        ]
        lines += [
            "",
            f"lost {self.lost}, doubled {self.doubled}, marked possible duplicates"
            f" {self.marked_duplicates}, failed in doubt {self.in_doubt}, foreign {self.foreign},"
            f" differing {len(self.differences)}",
            *self.differences[:SHOWN_DIFFERENCES],
        ]
        return "\n".join(lines)


async def reconcile(settings: Settings, control_url: str, since: datetime | None = None) -> int:
    """Compare once, print both sides, and return 0 when they agree.

    `since` leaves out messages accepted before: a simulator that was started later cannot know
    them. Raises OSError when the ledger can't be read, ConfigurationError without a database.
    """
    url = settings.database_url
    if url is None:
        embedded = EmbeddedPostgres(settings.data_dir / "postgres")
        url = await embedded.start()
    connection = await open_connection(url)
    try:
        rows = await message_rows.outbound(
            connection, inbound=Direction.INBOUND, since=id_at(since.timestamp() if since else 0)
        )
    finally:
        await connection.close()
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        try:
            async with session.get(f"{control_url.rstrip('/')}/ledger") as response:
                submits = read_ledger((await response.read()).splitlines())
        except aiohttp.ClientError as error:
            raise OSError(f"the ledger can't be read: {error}") from None
    verdict = compare(rows, submits)
    print(verdict.table())
    return 0 if verdict.clean else 1


def read_ledger(lines: Iterable[bytes | str]) -> list[Submit]:
    """The simulator's `GET /ledger`. Needs the TLV user_message_reference on every submit."""
    submits = []
    for line in lines:
        if not line.strip():
            continue
        entry = orjson.loads(line)
        reference = entry["tlvs"].get("user_message_reference")
        submits.append(
            Submit(
                entry["source"],
                entry["destination"],
                int(reference, 16) if reference else entry["reference"] or 0,
                entry["segment"],
                entry["total"],
                entry["outcome"],
            )
        )
    return submits


def compare(rows: Iterable[Mapping[str, Any] | Any], submits: Iterable[Submit]) -> Verdict:
    """Hold outbound message rows against the carrier's ledger."""
    verdict = Verdict()
    seen: defaultdict[Key, list[Submit]] = defaultdict(list)
    for submit in submits:
        seen[submit.source, submit.destination, submit.reference].append(submit)
    for row in rows:
        status = Status(row["status"])
        reference = message_reference(row["reference"] or 0)
        key = ((row["sender"] or "").lstrip("+"), row["recipient"].lstrip("+"), reference)
        group = seen.pop(key, [])
        ours, theirs = _our_state(status), their_state(group)
        if status is Status.FAILED and theirs == NOTHING:
            ours = NOTHING  # stopped here: opted out, expired, no sender
        verdict.ours[ours] += 1
        verdict.theirs[theirs] += 1
        if ours != theirs and _in_doubt(row, status):
            verdict.in_doubt += 1
        elif ours != theirs:
            verdict.lost += theirs == NOTHING
            verdict.differences.append(
                f"{row['id'].hex} to {row['recipient']}: gateway {ours}, carrier {theirs}"
                f" ({', '.join(submit.outcome for submit in group) or 'nothing'})"
            )
        if _taken_twice(group):
            if row["flags"] & Flag.POSSIBLE_DUPLICATE:
                verdict.marked_duplicates += 1
            else:
                verdict.doubled += 1
    verdict.foreign = len(seen)
    return verdict


def _our_state(status: Status) -> str:
    if status in (Status.ACCEPTED, Status.SCHEDULED, Status.QUEUED, Status.CANCELED):
        return NOTHING
    if status is Status.SENDING:
        return UNDER_WAY
    return status.shown


def _in_doubt(row: Mapping[str, Any] | Any, status: Status) -> bool:
    """Whether it ended as failed after an answer was lost: nobody could know what the carrier did,
    and it was not to be sent again (given up, opted out or expired meanwhile).
    """
    if status is not Status.FAILED:
        return False
    return bool(row["flags"] & Flag.POSSIBLE_DUPLICATE) or row["error_code"] == TIMEOUT


def their_state(group: list[Submit]) -> str:
    """The state that a message must have, given what the carrier took and said."""
    if not group:
        return NOTHING
    by_segment: defaultdict[int, list[str]] = defaultdict(list)
    for submit in group:
        by_segment[submit.segment].append(submit.outcome)
    results = [_segment_state(outcomes) for outcomes in by_segment.values()]
    if "failed" in results:
        return "failed"
    if len(results) < group[0].total or UNDER_WAY in results:
        return UNDER_WAY
    for state in ("undelivered", "sent"):
        if state in results:
            return state
    return "delivered"


def _segment_state(outcomes: list[str]) -> str:
    for outcome in outcomes:
        status = _refusal(outcome)
        if status is not None:
            if not submit_result(status).retry:
                return "failed"
            continue
        if outcome == NO_RECEIPT:
            return "sent"
        result = receipt_result(Receipt("", state_of(outcome), outcome))
        if not result.final:
            return "sent"
        return "delivered" if result.delivered else "undelivered"
    return UNDER_WAY  # only told to come back later so far


def _refusal(outcome: str) -> int | None:
    """The command_status of a submit that was refused; None for one that was taken."""
    if outcome.startswith("0x"):
        return int(outcome, 16)
    return _STATUSES.get(outcome)


def _taken_twice(group: list[Submit]) -> bool:
    taken = Counter(submit.segment for submit in group if _refusal(submit.outcome) is None)
    return any(times > 1 for times in taken.values())


_STATUSES = {name: status for status, name in STATUS_NAMES.items()}

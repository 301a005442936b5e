"""`tandem reconcile`: what the gateway says of its messages, against what the carrier saw.

Three ledgers must agree (docs/reliability.md#invariants): the rows, the carrier simulator's ledger,
and what an app was told 201 for (`--api`). The first two are not read at one moment: what differs
is looked at again, and only what still does is told. `compare` is pure, so that the tests of faults
use the same code as an operator.

A row that waits and that no gateway has in its memory differs from nothing: both ledgers agree that
it was not sent. So the gateways are asked how many they hold (`--gateway`).
"""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

import aiohttp
import orjson

from gateway.backlog.recovery import STRANDED_S
from gateway.channels.connector import TIMEOUT
from gateway.channels.smpp.result_codes import receipt_result, submit_result
from gateway.content.references import message_reference
from gateway.messages.message import Direction, Flag, Status
from gateway.settings import ConfigurationError, Settings
from smpp.receipt import Receipt, state_of
from smpp.vocabulary import STATUS_NAMES
from storage import credentials, deletions
from storage import messages as message_rows
from storage.database import Connection, open_connection
from storage.embedded import EmbeddedPostgres
from storage.ids import Id, id_at, id_from_hex

NO_RECEIPT = "NO_RECEIPT"
NOTHING = "not submitted"
UNDER_WAY = "under way"
SHOWN_DIFFERENCES = 20
PAUSES_S: Final = (1.0, 2.0, 4.0)  # before each further look at what differs
CHUNK: Final = 10_000  # SIDs asked for at once
ASKED_S: Final = 10.0  # for a gateway to say what it holds
HELD: Final = re.compile(r"^tandem_held_messages(?:\{[^}\n]*\})? ([0-9.e+]+)$", re.MULTILINE)
MESSAGE_SID: Final = re.compile(r"[SM]M([0-9a-f]{32})", re.IGNORECASE)

# Source, destination (digits as on the wire), and the message's reference.
SegmentKey = tuple[str, str, int]


class Submit(NamedTuple):
    """One line of the carrier's ledger."""

    source: str
    destination: str
    reference: int
    segment: int
    total: int
    outcome: str
    carrier_id: str = ""  # the carrier's own; "" for one that was refused


class DifferenceKind(Enum):
    """What can be wrong."""

    DIFFERS = "differing"  # the two sides say different things of its state
    LOST = "lost"  # we say it went out, the carrier never saw it
    DOUBLED = "doubled"  # a segment taken twice, and not marked a possible duplicate
    FOREIGN = "foreign"  # the carrier saw what we know nothing of


@dataclass(slots=True)
class Reconciliation:
    """What both sides say, and where they differ."""

    ours: Counter[str] = field(default_factory=Counter)  # state → messages
    theirs: Counter[str] = field(default_factory=Counter)
    # What is wrong with what, in words.
    findings: dict[tuple[DifferenceKind, Id | SegmentKey], str] = field(default_factory=dict)
    # a segment taken twice, and marked (docs/reliability.md#the-one-ambiguity)
    marked_duplicates: int = 0
    in_doubt: int = 0  # failed when its answer was lost, and the carrier had taken it
    deleted: int = 0  # the carrier saw it, and it was deleted through the API
    in_transit: int = 0  # differed at the last look, and not at all of them
    vanished: list[str] = field(default_factory=list)  # SIDs: told 201, and there is no row
    stranded: int = 0  # rows that wait, in no gateway's memory
    unasked: list[str] = field(default_factory=list)  # gateways that did not say what they hold

    @property
    def differences(self) -> list[str]:
        return [text for (kind, _), text in self.findings.items() if kind is DifferenceKind.DIFFERS]

    def _waiting(self) -> Iterator[str]:
        if self.stranded:
            yield f"stranded {self.stranded}: waiting for over 30 s, but in no gateway's memory"
        yield from self.unasked

    @property
    def lost(self) -> int:
        return self._count(DifferenceKind.LOST)

    @property
    def doubled(self) -> int:
        return self._count(DifferenceKind.DOUBLED)

    @property
    def foreign(self) -> int:
        return self._count(DifferenceKind.FOREIGN)

    def _count(self, wanted: DifferenceKind) -> int:
        return sum(kind is wanted for kind, _ in self.findings)

    @property
    def clean(self) -> bool:
        return not (self.findings or self.vanished or self.stranded)

    def still(self, before: Reconciliation) -> None:
        """Keep only what was wrong `before`, too: the rest is on its way."""
        found = {what for _, what in self.findings}
        self.findings = {key: text for key, text in self.findings.items() if key in before.findings}
        self.in_transit = len(found - {what for _, what in self.findings})
        self.stranded = min(self.stranded, before.stranded)

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
            f" {self.marked_duplicates}, failed in doubt {self.in_doubt}, deleted {self.deleted},"
            f" foreign {self.foreign}, in transit {self.in_transit},"
            f" differing {len(self.differences)}, vanished {len(self.vanished)}",
            *self.differences[:SHOWN_DIFFERENCES],
            *(f"{sid}: told 201, and there is no row" for sid in self.vanished[:SHOWN_DIFFERENCES]),
            *self._waiting(),
        ]
        return "\n".join(lines)


async def reconcile(
    settings: Settings,
    control_url: str,
    since: datetime | None = None,
    told: Mapping[Id, str] | None = None,
    pauses_s: Sequence[float] = PAUSES_S,
    gateways: Sequence[str] = (),
) -> int:
    """Compare, print both sides, and return 0 when they agree.

    `since` leaves out messages accepted before: a simulator that was started later cannot know
    them. `told`: the SIDs that were answered with 201. `gateways`: the URLs of all that work with
    this database, which say what they hold. Raises OSError when the ledger can't be
    read, ConfigurationError without a database.
    """
    ids = told or {}
    url = settings.database_url
    if url is None:
        embedded = EmbeddedPostgres(settings.data_dir / "postgres")
        url = await embedded.start()
    first = id_at(since.timestamp() if since else 0)
    connection = await open_connection(url)
    try:
        verdict = await _look(connection, control_url, first, gateways)
        for pause_s in pauses_s:
            if verdict.clean:
                break
            await asyncio.sleep(pause_s)
            again = await _look(connection, control_url, first, gateways)
            again.still(verdict)
            verdict = again
        wanted = list(ids)
        for at in range(0, len(wanted), CHUNK):
            gone = await deletions.vanished(connection, wanted[at : at + CHUNK])
            verdict.vanished += [ids[id] for id in gone]
    finally:
        await connection.close()
    print(verdict.table())
    return 0 if verdict.clean else 1


async def _look(
    connection: Connection, control_url: str, first: Id, gateways: Sequence[str]
) -> Reconciliation:
    """Both sides, as they are about now."""
    rows = await message_rows.outbound(connection, inbound=Direction.INBOUND, since=first)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        try:
            async with session.get(f"{control_url.rstrip('/')}/ledger") as response:
                submits = read_ledger((await response.read()).splitlines())
        except aiohttp.ClientError as error:
            raise OSError(f"the ledger can't be read: {error}") from None
    # Read last, so that what was deleted meanwhile is known; its row counts as well.
    verdict = compare(rows, submits, await deletions.since(connection, first))
    if gateways:
        await _count_stranded(connection, gateways, verdict)
    return verdict


async def _count_stranded(
    connection: Connection, gateways: Sequence[str], verdict: Reconciliation
) -> None:
    """How many rows wait beyond those that the gateways hold, if all of them say."""
    before = id_at(time.time() - STRANDED_S)
    waiting = await message_rows.count_old_waiting(
        connection, before=before, scheduled_status=Status.SCHEDULED
    )
    login = await credentials.operators(connection)
    held = 0
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"
    async with aiohttp.ClientSession(
        headers=headers, raise_for_status=True, timeout=aiohttp.ClientTimeout(total=ASKED_S)
    ) as session:
        for url in gateways:
            try:
                async with session.get(f"{url.rstrip('/')}/metrics") as response:
                    held += read_held(await response.text())
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                verdict.unasked.append(f"{url} can't be asked what it holds: {error}")
    if not verdict.unasked:
        verdict.stranded = max(0, waiting - held)


def read_held(metrics: str) -> int:
    """What a gateway holds, all its workers together. Raises ValueError where it does not say."""
    found = HELD.findall(metrics)
    if not found:
        raise ValueError("its /metrics has no tandem_held_messages")
    return sum(int(float(number)) for number in found)


def read_sids(lines: Iterable[str]) -> dict[Id, str]:
    """Message SIDs, one a line: bare, or the `sid` of a JSON object. Raises ConfigurationError."""
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if text.startswith("{"):
            try:
                text = str(orjson.loads(text)["sid"])
            except (ValueError, KeyError) as error:
                raise ConfigurationError(f"line {number} has no sid: {error}") from None
        match = MESSAGE_SID.fullmatch(text)
        if match is None:
            raise ConfigurationError(f"line {number} is not the SID of a message: {text[:60]}")
        found[id_from_hex(match[1])] = text
    return found


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
                entry.get("carrier_id") or "",
            )
        )
    return submits


def compare(
    rows: Iterable[message_rows.OutboundRow],
    submits: Iterable[Submit],
    deleted: Iterable[deletions.DeletedMessageRow] = (),
) -> Reconciliation:
    """Hold outbound rows, and what is known of `deleted` ones, against the carrier's ledger."""
    verdict = Reconciliation()
    seen: defaultdict[SegmentKey, list[Submit]] = defaultdict(list)
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
            verdict.findings[DifferenceKind.DIFFERS, row["id"]] = text = (
                f"{row['id'].hex} to {row['recipient']}: gateway {ours}, carrier {theirs}"
                f" ({', '.join(submit.outcome for submit in group) or 'nothing'})"
            )
            if theirs == NOTHING:
                verdict.findings[DifferenceKind.LOST, row["id"]] = text
        if _taken_twice(group):
            if row["flags"] & Flag.POSSIBLE_DUPLICATE:
                verdict.marked_duplicates += 1
            else:
                verdict.findings[DifferenceKind.DOUBLED, row["id"]] = (
                    f"{row['id'].hex}: taken twice"
                )
    graves = _Deleted(deleted)
    for key, group in seen.items():
        if graves.has(group):
            verdict.deleted += 1
        else:
            verdict.findings[DifferenceKind.FOREIGN, key] = f"from {key[0]} to {key[1]}: no row"
    return verdict


class _Deleted:
    """Messages of which only a reference is left, and what the carrier called their parts."""

    def __init__(self, rows: Iterable[deletions.DeletedMessageRow]) -> None:
        self._by_reference: defaultdict[int, list[frozenset[str]]] = defaultdict(list)
        for row in rows:
            reference = message_reference(row["reference"] or 0)
            self._by_reference[reference].append(frozenset(row["carrier_ids"]))

    def has(self, group: list[Submit]) -> bool:
        """Whether these submits are of one of them, which then explains no others.

        One whose parts the carrier named must have one of these names; of one that was refused,
        or whose answer was lost, the reference is all there is.
        """
        names = {submit.carrier_id for submit in group if submit.carrier_id}
        candidates = self._by_reference.get(group[0].reference, [])
        for candidate in candidates:
            if candidate & names or not candidate:
                candidates.remove(candidate)
                return True
        return False


def _our_state(status: Status) -> str:
    if status in (Status.ACCEPTED, Status.SCHEDULED, Status.QUEUED, Status.CANCELED):
        return NOTHING
    if status is Status.SENDING:
        return UNDER_WAY
    return status.shown


def _in_doubt(row: message_rows.OutboundRow, status: Status) -> bool:
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

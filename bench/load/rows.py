"""The rows of the table: what is sent, and what we have promised of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.load.measure import Run

BULK: Final = 1_000
CONNECTIONS: Final = 64
BULK_CONNECTIONS: Final = 4

# The runs of a row by side, a run of each round.
Rounds = dict[str, list[Run]]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work."""

    name: str
    title: str
    bulk: int = 1
    callbacks: bool = False
    through_service: bool = False
    # What no other request of the run has.
    own_header: bool = False
    own_text: bool = False
    own_query: bool = False
    # Recipients who come again and again, so many; 0: each comes once.
    returning: int = 0
    # Accounts that take turns, each with a sender; 0: the one.
    accounts: int = 0
    # Of the run's count, so that each row takes about as long.
    share: float = 1.0
    connections: int = CONNECTIONS


SINGLE: Final = Row("single", "single sends, no callbacks")
SERVICE: Final = Row("service", "single sends through a Messaging Service", through_service=True)
CALLBACKS: Final = Row("callbacks", "receipts and two callbacks", callbacks=True, share=0.5)
BULK_ROW: Final = Row(
    *("bulk", "bulk of 1,000, no callbacks"), bulk=BULK, share=2.0, connections=BULK_CONNECTIONS
)
LATENCY: Final = Row("latency", "single sends at half of the maximum")

CARRYING: Final = (SINGLE, SERVICE, CALLBACKS, BULK_ROW)
# What flatters no cache. Nothing was promised of these.
ACCOUNTS: Final = Row("accounts", "single sends of 500 accounts in turn", accounts=500)
RATE: Final = Row("rate", "single sends at a rate", connections=2 * CONNECTIONS)
UNFLATTERED: Final = (
    Row("header", "a header of its own each", own_header=True),
    Row("text", "a text of its own each", own_text=True),
    Row(
        "query",
        "two callbacks, a URL of its own each",
        callbacks=True,
        own_query=True,
        share=0.5,
    ),
    ACCOUNTS,
    Row("sticky", "service, 4,000 recipients who return", through_service=True, returning=4_000),
    Row("connections", "single sends, 256 connections", connections=256),
)
MEMORY, GROWTH, WORKERS = "memory", "growth", "workers"
QUICK: Final = (*(row.name for row in CARRYING), LATENCY.name)
TABLED: Final = (*CARRYING, *UNFLATTERED, RATE)
UNJUDGED: Final = (*(row.name for row in UNFLATTERED), RATE.name)
NAMES: Final = (*QUICK, *UNJUDGED, MEMORY, GROWTH, WORKERS)
MEMORY_MB: Final = 600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A promise, the figure, and the verdict."""

    row: str
    what: str
    figure: float | None
    limit: float
    at_most: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """None where there is no figure."""
        if self.figure is None:
            return None
        return self.figure <= self.limit if self.at_most else self.figure >= self.limit

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        if self.met:
            return "met"
        worse = self.figure / self.limit if self.at_most else self.limit / max(self.figure, 1e-9)
        return f"missed by {worse:.2f}x"


def cpu_ratio(ours: Sequence[Run] | None, theirs: Sequence[Run] | None) -> float | None:
    """Median over the rounds of our CPU per message over theirs."""
    return _ratio(ours, theirs, "cpu_us")


def rate_ratio(ours: Sequence[Run] | None, theirs: Sequence[Run] | None) -> float | None:
    """Median over the rounds of what we carried per second over what they did."""
    return _ratio(ours, theirs, "carried_per_second")


def _ratio(ours: Sequence[Run] | None, theirs: Sequence[Run] | None, name: str) -> float | None:
    if not ours or not theirs:
        return None
    # Round by round: only what ran side by side can be compared.
    pairs = zip(ours, theirs, strict=False)
    return median(getattr(a, name) / getattr(b, name) for a, b in pairs)


def targets(results: dict[str, Rounds]) -> list[Target]:
    """Every promise that the carrying rows and the latency row can answer."""

    def of(row: Row, side: str) -> list[Run] | None:
        return results.get(row.name, {}).get(side)

    found = []
    if SINGLE.name in results:
        ours = of(SINGLE, "tandem")
        found += [
            Target("single", "CPU / Kannel's", cpu_ratio(ours, of(SINGLE, "kannel")), 0.4),
            Target("single", "CPU / floor's", cpu_ratio(ours, of(SINGLE, "floor")), 1.6),
            Target(
                *("single", "carried / Kannel's", rate_ratio(ours, of(SINGLE, "kannel")), 1.0),
                at_most=False,
            ),
        ]
    if CALLBACKS.name in results:
        ours = of(CALLBACKS, "tandem")
        found += [
            Target("callbacks", "CPU / Kannel's", cpu_ratio(ours, of(CALLBACKS, "kannel")), 0.2),
            Target("callbacks", "CPU / floor's", cpu_ratio(ours, of(CALLBACKS, "floor")), 1.6),
            Target(
                *("callbacks", "carried / Kannel's", rate_ratio(ours, of(CALLBACKS, "kannel")), 5),
                at_most=False,
            ),
        ]
    if BULK_ROW.name in results:
        ours, singles = of(BULK_ROW, "tandem"), of(SINGLE, "kannel")
        found += [
            Target("bulk", "CPU / Kannel's singles", cpu_ratio(ours, singles), 0.15),
            Target("bulk", "CPU / floor's", cpu_ratio(ours, of(BULK_ROW, "floor")), 2.0),
            Target(
                "bulk", "carried / Kannel's singles", rate_ratio(ours, singles), 2.0, at_most=False
            ),
        ]
    if LATENCY.name in results:
        ours = of(LATENCY, "tandem")
        for name, limit in (("p99", 25.0), ("p99.9", 100.0)):
            figure = median(run.percentiles_ms[name] for run in ours) if ours else None
            found.append(Target("latency", name, figure, limit, unit="ms"))
    return found


def scale_targets(
    wanted: set[str], queued_mb: float | None, small: Sequence[Run], large: Sequence[Run]
) -> list[Target]:
    """What was promised of memory and growth, as far as it was asked for."""
    found = []
    if MEMORY in wanted:
        found.append(Target(MEMORY, "1,000,000 queued", queued_mb, MEMORY_MB, unit="MB"))
    if GROWTH in wanted:
        found.append(Target(GROWTH, "CPU, large / small", cpu_ratio(large, small), 1.3))
    return found


def worker_targets(wanted: set[str], gain: float | None) -> list[Target]:
    """Two workers against one."""
    if WORKERS not in wanted:
        return []
    return [Target(WORKERS, "two / one, by CPU", gain, 1.6, at_most=False)]

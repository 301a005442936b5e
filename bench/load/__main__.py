"""`python -m bench load`: brings everything up, runs the rows, prints the table, keeps it.

Sides take turns inside each round, and only ratios of one round count: the machine may be shared.
Every process ends with this one, however that ends.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop

from bench.load import scale, table, workers
from bench.load.measure import Run, at_rate, carry
from bench.load.rows import (
    ACCOUNTS,
    CONNECTIONS,
    GROWTH,
    LATENCY,
    MEMORY,
    NAMES,
    QUICK,
    RATE,
    SINGLE,
    TABLED,
    UNJUDGED,
    WORKERS,
    Rounds,
    Row,
    scale_targets,
    targets,
    worker_targets,
)
from bench.load.scale import PROMISED, Scaled, Size
from bench.load.sides import Floor, Kannel, Side, Tandem
from bench.load.stage import AGAINST, MOST_AGAINST, BenchError, Stage
from gateway.loadtest.generator import LoadError
from gateway.playground.world import until_terminated

RESULTS: Final = Path("bench/results")
WARM_UP: Final = 0.1  # of the count, before the first round


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="messages of a run, about")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a run at a rate")
    parser.add_argument(
        "--rows", default=",".join(QUICK), help=f"all, or of {','.join(NAMES)}; the first five"
    )
    parser.add_argument("--rate", type=float, default=2_000.0, help="messages a second of its row")
    parser.add_argument("--queued", type=int, default=PROMISED.queued, help="memory, growth")
    parser.add_argument("--senders", type=int, default=PROMISED.senders, help="growth")
    parser.add_argument("--stored", type=int, default=PROMISED.stored, help="growth")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".tandem"), help="for the data")
    parser.add_argument(
        "--interop",
        type=Path,
        default=Path(os.environ.get("TANDEM_INTEROP_DIR", ".tandem/interop")),
        help="where tests/interop/install.sh has put Kannel",
    )
    parser.add_argument("--no-kannel", action="store_true")
    parser.add_argument("--no-floor", action="store_true")
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help=f"another checkout with its .venv, side by side; up to {MOST_AGAINST} times",
    )
    parsed = parser.parse_args()
    wanted = set(NAMES if parsed.rows == "all" else parsed.rows.split(","))
    if wanted - set(NAMES) or parsed.rounds < 1 or parsed.count < 10:
        parser.error(f"rows are {', '.join(NAMES)}; rounds at least 1, count at least 10")
    for path in parsed.against:
        if not _program(path).exists():
            parser.error(f"no {_program(path)}: `make .venv/.installed` there makes it")
    if len(parsed.against) > MOST_AGAINST:
        parser.error(f"--against may stand {MOST_AGAINST} times")
    try:
        return uvloop.run(until_terminated(lambda: _run(parsed, wanted), 130))
    except (BenchError, LoadError) as error:
        print(f"bench load: {error}", file=sys.stderr)
        return 1


async def _run(parsed: argparse.Namespace, wanted: set[str]) -> int:
    started = datetime.now(UTC)
    results: dict[str, Rounds] = {}
    if wanted & {*QUICK, *UNJUDGED}:
        async with Stage(parsed.folder) as stage:
            sides = await _sides(parsed, wanted, stage)
            results = await stage.guard(_rounds(parsed, wanted, stage, sides))
    scaled = None
    if wanted & {MEMORY, GROWTH}:
        async with Stage(parsed.folder) as stage:
            scaled = await stage.guard(_scaled(parsed, stage, growth=GROWTH in wanted))
    pair: Rounds = {}
    if WORKERS in wanted:
        async with Stage(parsed.folder) as stage:
            random = Random(parsed.seed)
            pair = await stage.guard(workers.measure(stage, parsed.rounds, parsed.count, random))
    gain = workers.gain(*pair.values()) if pair else None
    found = targets(results) + worker_targets(wanted, gain)
    if scaled is not None:
        heavy, full = scaled.size.queued >= PROMISED.queued, scaled.size == PROMISED
        found += scale_targets(
            wanted,
            scaled.queued_mb if heavy else None,
            scaled.small if full else [],
            scaled.large if full else [],
        )
    print("\nMedians of the rounds; ratios are medians of each round's own.\n")
    if results:
        print(table.sides_table(results))
    for row in (LATENCY, RATE):
        if row.name in results:
            print("\n" + table.latency_table(results[row.name], row.title))
    if found:
        print("\n" + table.verdicts(found))
    document = {
        "at": started.isoformat(timespec="seconds"),
        "revision": _revision(),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
            "load_average_at_end": os.getloadavg(),
        },
        "options": {"rounds": parsed.rounds, "count": parsed.count, "seconds": parsed.seconds},
        "rows": {
            row: {side: [run.document() for run in runs] for side, runs in rounds.items()}
            for row, rounds in (*results.items(), *([(WORKERS, pair)] if pair else []))
        },
        "scale": scaled.document() if scaled is not None else None,
        "targets": [
            {
                "row": target.row,
                "what": target.what,
                "limit": target.limit,
                "figure": target.figure,
                "verdict": target.verdict,
            }
            for target in found
        ],
    }
    _keep(document, results, started)
    return 0


async def _scaled(parsed: argparse.Namespace, stage: Stage, *, growth: bool) -> Scaled:
    size = Size(
        parsed.queued, parsed.senders if growth else scale.SMALL.senders, parsed.stored * growth
    )
    print(f"large: {size}; this takes minutes", flush=True)
    return await scale.measure(
        stage, size, parsed.rounds, parsed.count, Random(parsed.seed), growth=growth
    )


async def _sides(parsed: argparse.Namespace, wanted: set[str], stage: Stage) -> list[Side]:
    tandem = Tandem(stage)
    await tandem.start()
    sides: list[Side] = [tandem]
    for n, path in enumerate(parsed.against):
        program = (str(_program(path)),)
        name = f"{n}:{_revision(path)[:6]}"  # two may be at the same commit
        other = Tandem(stage, name, carrier=AGAINST[n], program=program)
        await other.start()
        sides.append(other)
    if not parsed.no_floor:
        floor = Floor(stage)
        await floor.start()
        sides.append(floor)
    folder = None if parsed.no_kannel else Kannel.unpacked(parsed.interop)
    if folder is not None:
        kannel = Kannel(stage, folder)
        await kannel.start()
        sides.append(kannel)
    elif not parsed.no_kannel:
        print(f"no Kannel in {parsed.interop} (tests/interop/install.sh puts it there)")
    if ACCOUNTS.name in wanted:
        for side in sides:
            if isinstance(side, Tandem):
                await side.add_accounts(ACCOUNTS.accounts)
    return sides


async def _rounds(
    parsed: argparse.Namespace, wanted: set[str], stage: Stage, sides: list[Side]
) -> dict[str, Rounds]:
    random = Random(parsed.seed)
    rows = [row for row in TABLED if row.name in wanted]
    results: dict[str, Rounds] = defaultdict(lambda: defaultdict(list))
    for number in range(parsed.rounds + 1):  # the first warms up and counts for nothing
        warming = number == 0
        # Who comes first changes: what one side leaves to the database, the next may pay for.
        turns = sides[number % len(sides) :] + sides[: number % len(sides)]
        fastest: dict[str, float] = {}
        for row in rows:
            for side in turns:
                run = await _turn(parsed, stage, side, row, random, WARM_UP if warming else 1.0)
                if run is None:
                    continue
                if row is SINGLE:
                    fastest[side.name] = min(run.carried_per_second, run.accepted_per_second)
                _tell(number, row.name, side.name, run)
                if not warming:
                    results[row.name][side.name].append(run)
        if LATENCY.name not in wanted or warming:
            continue
        for side in turns:
            rate = fastest.get(side.name)
            if rate is None:
                raise BenchError("the latency row needs the row single")
            run = await at_rate(
                side, stage, LATENCY, rate / 2, parsed.seconds, CONNECTIONS * 2, random
            )
            if run is not None:
                _tell(number, LATENCY.name, side.name, run)
                results[LATENCY.name][side.name].append(run)
    # In one order, whoever came first.
    names = [side.name for side in sides]
    return {
        row: {name: rounds[name] for name in names if name in rounds}
        for row, rounds in results.items()
    }


async def _turn(
    parsed: argparse.Namespace, stage: Stage, side: Side, row: Row, random: Random, share: float
) -> Run | None:
    """A row of one side, with this share of what was asked for."""
    if row is RATE:
        seconds = parsed.seconds * share
        return await at_rate(side, stage, row, parsed.rate, seconds, row.connections, random)
    messages = max(round(parsed.count * row.share * share / row.bulk), 1) * row.bulk
    return await carry(side, stage, row, messages, row.connections, random)


def _tell(number: int, row: str, side: str, run: Run) -> None:
    round_ = f"round {number}" if number else "warming"
    print(
        f"{time.strftime('%H:%M:%S')} {round_}  {row:<12}{side:<9}"
        f"{run.accepted_per_second:>9,.0f} accepted/s{run.carried_per_second:>9,.0f} carried/s"
        f"{run.cpu_us:>7.0f} us  p50 {run.percentiles_ms['p50']:.1f} p99"
        f" {run.percentiles_ms['p99']:.1f} ms",
        flush=True,
    )


def _keep(document: dict[str, Any], results: dict[str, Rounds], started: datetime) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{started:%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\n{file}")
    if not results:
        return
    try:
        from bench.load import plot
    except ImportError:  # matplotlib comes with the dev extra
        return
    print(plot.draw(results, file.with_suffix(".svg")))


def _program(checkout: Path) -> Path:
    return checkout.absolute() / ".venv/bin/tandem"


def _revision(checkout: Path = Path()) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench soak`: ten minutes at seven tenths of the maximum, and whether anything grows.

Finds what the gateway carries at its best, with receipts and callbacks; then sends at a share of
that as callers who know nothing of each other do. Every half minute: memory, what waits, CPU per
message. At the end every accepted message must be in the carrier's ledger once, and every callback
told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import mean
from typing import Final

import aiohttp
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from bench.load.measure import CALLBACKS, carry
from bench.load.processes import resident_mb
from bench.load.rows import CALLBACKS as WORK
from bench.load.sides import Tandem
from bench.load.stage import HOST, POLL_S, RECEIPTED, BenchError, Stage, free_port
from gateway.loadtest import ledger, schedule
from gateway.loadtest.generator import Generator, LoadError, Plan
from gateway.loadtest.sends import RECIPIENTS, Recipients
from gateway.playground.world import until_terminated

RESULTS: Final = Path("bench/results")
SAMPLE_S: Final = 30.0
CONNECTIONS: Final = 128
MAXIMUM_COUNT: Final = 8_000  # messages of a run that finds the maximum
MAXIMUM_RUNS: Final = 3
FLAT: Final = 1.10  # the last quarter over the second one; the first still fills caches
TAIL_S: Final = 60.0
MOST_BEHIND_S: Final = 2.0  # of traffic that may wait at the end
SHOWN: Final = {True: "yes", False: "NO", None: "not judged"}


@dataclass(frozen=True, slots=True)
class Sample:
    """Half a minute of it."""

    at_s: float
    resident_mb: float
    waiting: float
    cpu_us: float  # per message, Postgres included
    messages: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.7, help="of what it carries at its best")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".tandem"), help="for the data")
    parsed = parser.parse_args()
    try:
        return uvloop.run(until_terminated(lambda: _run(parsed), 130))
    except (BenchError, LoadError) as error:
        print(f"bench soak: {error}", file=sys.stderr)
        return 1


async def _run(parsed: argparse.Namespace) -> int:
    async with Stage(parsed.folder, ledger_limit=2_000_000) as stage:
        return await stage.guard(_soak(parsed, stage))


async def _soak(parsed: argparse.Namespace, stage: Stage) -> int:
    random, port = Random(parsed.seed), free_port()
    tandem = Tandem(stage)
    await tandem.start(TANDEM_METRICS__PORT=str(port))
    best = 0.0
    for _ in range(MAXIMUM_RUNS):
        run = await carry(tandem, stage, WORK, MAXIMUM_COUNT, CONNECTIONS, random)
        assert run is not None
        best = max(best, run.carried_per_second)
    rate, seconds = best * parsed.share, parsed.minutes * 60.0
    print(f"at its best {best:,.0f}/s; {parsed.minutes:g} minutes at {rate:,.0f}/s", flush=True)
    messages = int(rate * seconds)
    recipients = Recipients(RECEIPTED, random.randrange(RECIPIENTS))
    before = await ledger.submits_so_far(stage.control_url)
    owed = await stage.callbacks() + CALLBACKS * messages
    plan = Plan(messages, CONNECTIONS, schedule.poisson(rate, messages, random), timeout_s=60.0)
    generator = Generator(tandem.base_url, plan, tandem.sends(WORK, recipients))
    samples: list[Sample] = []
    sampling = asyncio.create_task(_sample(samples, tandem, generator, port))
    result = await generator.run()
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    waited = await _waiting(port)
    try:
        async with asyncio.timeout(TAIL_S):
            while await stage.callbacks() < owed:  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        pass
    missing = owed - await stage.callbacks()
    found = ledger.check(
        result.taken[: result.messages],
        recipients,
        await ledger.fetch(stage.control_url, result.accepted, before),
    )
    verdicts: list[tuple[str, bool | None, str]] = [
        ("all accepted", result.clean, f"{result.accepted:,} of {result.messages:,}"),
        (
            "ledger clean",
            found.clean,
            f"{len(found.missing)} missing, {len(found.doubled)} doubled",
        ),
        ("every callback told", missing == 0, f"{missing:,} missing"),
        ("memory flat", *_flat([sample.resident_mb for sample in samples])),
        ("CPU per message flat", *_flat([sample.cpu_us for sample in samples])),
        (
            "queue does not grow",
            waited <= rate * MOST_BEHIND_S,
            f"{waited:,.0f} waiting at the end, {MOST_BEHIND_S:g} s of traffic are allowed",
        ),
    ]
    print()
    for name, good, figure in verdicts:
        print(f"{name:<24}{SHOWN[good]:<12}{figure}")
    latency = result.latency
    print(
        "latency ms: "
        + ", ".join(f"p{p:g} {latency.percentile_ms(p):.1f}" for p in (50, 90, 99, 99.9))
    )
    _keep(parsed, best, rate, samples, verdicts)
    return 1 if any(good is False for _, good, _ in verdicts) else 0


async def _sample(samples: list[Sample], tandem: Tandem, generator: Generator, port: int) -> None:
    """Until cancelled."""
    began = time.monotonic()
    cpu, sent = tandem.cpu_s(), 0
    print(f"{'s':>6}{'MB':>8}{'waiting':>9}{'CPU us':>8}", flush=True)
    while True:
        await asyncio.sleep(SAMPLE_S)
        now_cpu, now_sent = tandem.cpu_s(), generator.result.accepted
        sample = Sample(
            time.monotonic() - began,
            resident_mb(tandem.pid),
            await _waiting(port),
            (now_cpu - cpu) / max(now_sent - sent, 1) * 1e6,
            now_sent - sent,
        )
        cpu, sent = now_cpu, now_sent
        samples.append(sample)
        print(
            f"{sample.at_s:>6.0f}{sample.resident_mb:>8.1f}{sample.waiting:>9,.0f}{sample.cpu_us:>8.0f}",
            flush=True,
        )


async def _waiting(port: int) -> float:
    """Accepted messages that are with no carrier yet."""
    url = f"http://{HOST}:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "tandem_waiting_messages"
    )


def _flat(values: Sequence[float]) -> tuple[bool | None, str]:
    quarter = len(values) // 4
    if not quarter:
        return None, "too short to say"
    second, last = mean(values[quarter : 2 * quarter]), mean(values[-quarter:])
    return (
        last <= second * FLAT,
        f"{second:.0f} in the second quarter, {last:.0f} in the last ({last / second:.2f}x)",
    )


def _keep(
    parsed: argparse.Namespace,
    best: float,
    rate: float,
    samples: Sequence[Sample],
    verdicts: Sequence[tuple[str, bool | None, str]],
) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    file = RESULTS / f"soak-{now:%Y%m%dT%H%M%SZ}.json"
    document = {
        "at": now.isoformat(timespec="seconds"),
        "minutes": parsed.minutes,
        "best_per_second": best,
        "rate_per_second": rate,
        "samples": [asdict(sample) for sample in samples],
        "verdicts": [
            {"what": name, "good": good, "figure": figure} for name, good, figure in verdicts
        ],
    }
    file.write_text(json.dumps(document, indent=1) + "\n")
    print(file)


if __name__ == "__main__":
    sys.exit(main())

"""The table as text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.load.measure import Run
from bench.load.rows import LATENCY, TABLED, Rounds, Target, cpu_ratio, rate_ratio


def sides_table(results: dict[str, Rounds]) -> str:
    """Medians of each side, and the ratios of ours to the others, of the same rounds."""
    header = (
        f"{'work':<42}{'side':<8}{'accepts/s':>10}{'carries/s':>10}{'CPU us':>8}"
        f"{'CPU: ours/its':>15}{'rate: ours/its':>16}{'generator us':>14}"
    )
    lines = [header, "─" * len(header)]
    for row in TABLED:
        rounds = results.get(row.name, {})
        ours = rounds.get("tandem")
        for side, runs in rounds.items():
            title = row.title if side == "tandem" else ""
            lines.append(
                f"{title:<42}{side:<8}{_median(runs, 'accepted_per_second'):>10,.0f}"
                f"{_median(runs, 'carried_per_second'):>10,.0f}{_median(runs, 'cpu_us'):>8.0f}"
                + (
                    f"{'':>31}"
                    if side == "tandem"
                    else f"{_times(cpu_ratio(ours, runs)):>15}{_times(rate_ratio(ours, runs)):>16}"
                )
                + f"{_median(runs, 'generator_cpu_us'):>14.1f}"
            )
    return "\n".join(lines)


def latency_table(rounds: Rounds, title: str = LATENCY.title) -> str:
    """Accept latency, from the intended time to the whole answer."""
    header = f"{title:<42}{'side':<8}{'at/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}"
    lines = [header, "─" * len(header)]
    for side, runs in rounds.items():
        figures = "".join(
            f"{median(run.percentiles_ms[name] for run in runs):>10.2f}"
            for name in ("p50", "p99", "p99.9")
        )
        rate = _median(runs, "accepted_per_second")
        lines.append(f"{'':<42}{side:<8}{rate:>10,.0f}{figures}")
    return "\n".join(lines)


def verdicts(targets: Sequence[Target]) -> str:
    header = f"{'target':<42}{'limit':>12}{'figure':>12}  verdict"
    lines = [header, "─" * 80]
    for target in targets:
        limit = f"{'≤' if target.at_most else '≥'} {target.limit:g}{_unit(target)}"
        figure = "–" if target.figure is None else f"{target.figure:.2f}{_unit(target)}"
        lines.append(
            f"{target.row + ': ' + target.what:<42}{limit:>12}{figure:>12}  {target.verdict}"
        )
    return "\n".join(lines)


def _unit(target: Target) -> str:
    return "x" if target.unit == "x" else f" {target.unit}"


def _median(runs: Sequence[Run], name: str) -> float:
    return median(getattr(run, name) for run in runs)


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}x"

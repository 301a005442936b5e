"""A run for people, and for programs."""

from __future__ import annotations

from typing import Any, Final

from gateway.loadtest.generator import Result
from gateway.loadtest.ledger import LedgerCheck

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)
SHOWN: Final = 5


def progress(result: Result, total: int, elapsed_s: float) -> str:
    """One line, while it runs."""
    return (
        f"{elapsed_s:6.1f} s  {result.messages:>9,} of {total:,} sent"
        f"  {result.accepted:>9,} accepted  {result.accepted / max(elapsed_s, 1e-9):>8,.0f}/s"
        f"  p99 {result.latency.percentile_ms(99):.1f} ms"
        f"  {sum(result.refused.values()) + result.unanswered} failed"
    )


def table(result: Result, ledger: LedgerCheck | None = None) -> str:
    """What came of it."""
    rows = [
        ("messages", f"{result.messages:,} sent, {result.accepted:,} accepted"),
        ("rate", f"{result.accepted_per_second:,.0f} accepted/s over {result.elapsed_s:.2f} s"),
        (
            "latency ms",
            "  ".join(
                f"{_name(percent)} {result.latency.percentile_ms(percent):.2f}"
                for percent in PERCENTILES
            ),
        ),
        ("refused", _refusals(result)),
        ("unanswered", f"{result.unanswered:,}"),
        (
            "generator",
            f"{result.cpu_us:.1f} us of CPU per request,"
            f" {result.cpu_s / result.elapsed_s:.0%} of a core;"
            f" at most {result.latest_s * 1000:.1f} ms behind its schedule",
        ),
    ]
    if result.gone:
        rows.append(("ended", "before its end: the gateway takes no connection any more"))
    if ledger is not None:
        rows += _of_ledger(ledger)
    return "\n".join(f"{name:<11}{text}" for name, text in rows)


def document(result: Result, ledger: LedgerCheck | None = None) -> dict[str, Any]:
    """The same, with the whole histogram, for a JSON file."""
    return {
        "messages": result.messages,
        "accepted": result.accepted,
        "requests": result.requests,
        "unanswered": result.unanswered,
        "refused": {f"{status}/{code}": n for (status, code), n in result.refused.items()},
        "elapsed_s": result.elapsed_s,
        "accepted_per_second": result.accepted_per_second,
        "latency_ms": {
            _name(percent): result.latency.percentile_ms(percent) for percent in PERCENTILES
        },
        "latency_us_buckets": [list(pair) for pair in result.latency.buckets()],
        "generator_cpu_us_per_request": result.cpu_us,
        "behind_schedule_ms": result.latest_s * 1000,
        "ledger": None
        if ledger is None
        else {
            "accepted": ledger.accepted,
            "missing": ledger.missing,
            "doubled": ledger.doubled,
            "unasked": ledger.unasked,
            "states": dict(ledger.states),
        },
    }


def _name(percent: float) -> str:
    return "max" if percent == 100 else f"p{percent:g}"


def _refusals(result: Result) -> str:
    if not result.refused:
        return "0"
    parts = [
        f"{times:,} with {status}" + (f" ({code})" if code else "")
        for (status, code), times in result.refused.most_common(SHOWN)
    ]
    return ", ".join(parts)


def _of_ledger(ledger: LedgerCheck) -> list[tuple[str, str]]:
    found = ledger.accepted - len(ledger.missing)
    states = ", ".join(f"{times:,} {state}" for state, times in ledger.states.most_common())
    rows = [
        (
            "ledger",
            f"{found:,} of {ledger.accepted:,} accepted found ({states or 'none'}),"
            f" {len(ledger.missing):,} missing, {len(ledger.doubled):,} doubled",
        )
    ]
    if ledger.unasked:
        rows.append(("", f"{ledger.unasked:,} found that were refused or not answered"))
    for name, numbers in (("missing", ledger.missing), ("doubled", ledger.doubled)):
        if numbers:
            shown = ", ".join(f"+{number}" for number in numbers[:SHOWN])
            rows.append((name, shown + (" …" if len(numbers) > SHOWN else "")))
    return rows

"""`python -m pair [ROW]`: each row, RUNS times, with its times. The exit status is the verdict."""

from __future__ import annotations

import asyncio
import os
import sys

from .namespace import play, refusal
from .rows import ROWS


async def main(rows: list[str], runs: int) -> int:
    wrong = 0
    for row in rows:
        for run in range(1, runs + 1):
            outcome = await play(row)
            wrong += not outcome.clean
            print(
                f"{row}, run {run}: {'clean' if outcome.clean else 'NOT CLEAN'};"
                f" {outcome.accepted} accepted, {outcome.refused} refused,"
                f" {outcome.unanswered} unanswered, {outcome.lost} lost,"
                f" {outcome.stranded} stranded, {outcome.doubled} doubled"
                f" ({outcome.marked} marked), {outcome.stops_answered} of {outcome.stops} STOPs"
                + (f", A ended with {outcome.ended}" if outcome.ended is not None else ""),
                flush=True,
            )
            times = ", ".join(f"{what} {at:.2f} s" for what, at in outcome.times.items())
            print(f"    {times}", flush=True)
            for note in outcome.notes:
                print(f"    {note}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    if (why := refusal()) is not None:
        sys.exit(f"no network namespace can be made here: {why}")
    wanted = " ".join(sys.argv[1:])
    if wanted and wanted not in ROWS:
        sys.exit("no such row; there are:\n  " + "\n  ".join(ROWS))
    sys.exit(
        asyncio.run(main([wanted] if wanted else list(ROWS), int(os.environ.get("RUNS", "1"))))
    )

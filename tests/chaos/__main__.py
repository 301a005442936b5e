"""`make chaos`: rounds of faults under load, then the table. The exit status is the verdict.

ROUNDS says how many, SEED where to begin; the name of a fault plays that alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from .faults import FAULTS
from .rounds import drawn, play, server, table
from .world import Outcome


async def main(rounds: int, seed: int, only: str) -> int:
    plan = drawn(rounds, seed)
    if only:
        plan = [(only, one) for _, one in plan]
    outcomes: list[Outcome] = []
    async with server() as one:
        for number, (fault, of_round) in enumerate(plan, 1):
            begun = time.monotonic()
            outcome = await play(one, fault, of_round)
            outcomes.append(outcome)
            verdict = "clean" if outcome.clean else "NOT CLEAN"
            print(
                f"{number:3}/{len(plan)} {fault} (seed {of_round}): {verdict},"
                f" {outcome.accepted} accepted, {outcome.marked} marked,"
                f" {time.monotonic() - begun:.0f} s",
                flush=True,
            )
            if not outcome.clean:
                print(f"        {outcome.counts}", flush=True)
            for note in outcome.notes + outcome.remarks:
                print(f"        {note}", flush=True)
    print("\n" + table(outcomes))
    wrong = [outcome for outcome in outcomes if not outcome.clean]
    print(f"\n{len(outcomes)} rounds, {len(wrong)} not clean; seed {seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    wanted = " ".join(sys.argv[1:])
    if wanted and wanted not in FAULTS:
        sys.exit("no such fault; there are:\n  " + "\n  ".join(FAULTS))
    sys.exit(
        asyncio.run(
            main(int(os.environ.get("ROUNDS", "20")), int(os.environ.get("SEED", "1")), wanted)
        )
    )

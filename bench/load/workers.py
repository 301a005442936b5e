"""Two worker processes beside one: the same work, two services, and what a message costs.

Both gateways have two services and a carrier with two binds; what differs is `workers`. The
generator, the simulator and Postgres share the machine's cores with them, so what was carried says
as much of those. The figure is by CPU: two workers have two cores for what a message costs them, so
they carry `2 x (CPU per message with one) / (CPU per message with two)` as much as one. As many
connections as fill the batches of both: fewer would be batches of half the size for two.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import median
from typing import Final

from bench.load.measure import Run, carry
from bench.load.requests import BODY, Turns, Work
from bench.load.rows import Rounds, Row
from bench.load.sides import NUMBER, Tandem
from bench.load.stage import Stage
from gateway.loadtest.sends import LoadMessage, Recipients, Sends, SingleSends

WORKERS: Final = 2
CONNECTIONS: Final = 256
ROW: Final = Row("workers", "single sends to two services", through_service=True)


class Pair(Tandem):
    """A gateway with two services, each sent to in turn."""

    def __init__(self, stage: Stage, workers: int) -> None:
        super().__init__(stage, f"workers{workers}", carrier=f"workers{workers}", binds=WORKERS)
        self._workers = workers
        self._second = ""

    async def start_both(self) -> None:
        base = int(NUMBER)
        await self.start(pool=_numbers(base + 1), TANDEM_WORKERS=str(self._workers))
        async with self.session() as session:
            self._second = await self.pool(session, "second", _numbers(base + 11))

    def sends(self, work: Work, recipients: Recipients) -> Sends:
        who = (self.base_url, self.account_sid, self.token)
        return Turns(
            [
                SingleSends(*who, LoadMessage(BODY, None, service), recipients)
                for service in (self.service_sid, self._second)
            ]
        )


async def measure(stage: Stage, rounds: int, count: int, random: Random) -> Rounds:
    """Runs of both, in turns."""
    sides = [Pair(stage, 1), Pair(stage, WORKERS)]
    for side in sides:
        await side.start_both()
    results: Rounds = {side.name: [] for side in sides}
    for turn in range(rounds + 1):  # the first warms up
        for side in sides if turn % 2 else sides[::-1]:
            run = await carry(side, stage, ROW, count, CONNECTIONS, random)
            assert run is not None
            print(
                f"round {turn}  workers  {side.name:<10}{run.cpu_us:>7.0f} us"
                f"{run.carried_per_second:>9,.0f} carried/s",
                flush=True,
            )
            if turn:
                results[side.name].append(run)
    return results


def gain(first: Sequence[Run], two: Sequence[Run]) -> float | None:
    """How much more two workers carry than one, by CPU; the median of the rounds."""
    if not first or not two:
        return None
    return median(WORKERS * a.cpu_us / b.cpu_us for a, b in zip(first, two, strict=True))


def _numbers(first: int) -> list[str]:
    return [f"+{first + at}" for at in range(4)]

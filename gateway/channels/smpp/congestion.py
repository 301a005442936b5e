"""How fast a carrier can take messages, found out by trying (AIMD, as TCP does).

A sign of congestion halves the rate; without one it climbs back by the same step every second.
Nothing is dropped and nothing overtakes: the pacer's bucket for the carrier follows this rate,
and what the carrier refused waits at the head of its queue.

* **Down**: a refusal for congestion, a slow answer or a missing one halves the rate, or what
  the carrier really took in the last second where that is less: a carrier that takes a tenth of
  what we send is not found by halving four times. Many signs come together, one per message
  that was under way; those of messages written before the last step down are its echo, and
  for `HOLD_S` the carrier gets time to recover.
* **Up**: a thirtieth of the rate to return to, every second, so half a minute at most from the
  bottom to the top. Where no rate is configured that is the best the carrier ever took, and
  the limit goes away after `LIFT_S` without a sign.

Pure: the time is passed in, seconds of a clock that never goes back.
"""

from __future__ import annotations

from typing import Final

LEAST_RATE: Final = 0.1  # segments per second: a carrier that refuses everything is still asked
DECREASE: Final = 0.5
CLIMB_S: Final = 30.0  # from nothing to the rate to return to
HOLD_S: Final = 1.0
LIFT_S: Final = 60.0
TICK_S: Final = 1.0
_MEASURE_S: Final = 1.0
SPREAD_S: Final = 1.0  # a pause after which former answers say nothing
SPREAD_WIDE: Final = 6  # of the last 20 answers
SPREAD_MASK: Final = (1 << 20) - 1


class Spread:
    """Whether refusals are the carrier's state, or only some recipients'.

    ESME_RMSGQFUL and temporary errors mostly speak of one recipient's queue: now and then one
    says nothing of the carrier, and slowing all others down for it would starve them. When a
    good part of the last answers are such, it is the carrier.
    """

    __slots__ = ("_at", "_last")

    def __init__(self) -> None:
        self._last = 0  # a bit per answer, the newest lowest; set: a refusal
        self._at = 0.0

    def answered(self, refused: bool, now: float) -> None:
        if now - self._at > SPREAD_S:  # on thin traffic one recipient would be all there is
            self._last = 0
        self._at = now
        self._last = (self._last << 1 | refused) & SPREAD_MASK

    @property
    def wide(self) -> bool:
        return self._last.bit_count() >= SPREAD_WIDE


class Aimd:
    """The present rate of one carrier, in segments per second; None while nothing limits it."""

    __slots__ = (
        "_ceiling",
        "_count",
        "_lowered_at",
        "_since",
        "_step",
        "_ticked_at",
        "_took",
        "best",
        "rate",
        "reason",
    )

    def __init__(self, ceiling: float | None, now: float) -> None:
        self._ceiling = ceiling
        self.rate = ceiling
        # Why the rate is below what is configured; empty when it is not.
        self.reason = ""
        # The most segments the carrier took in one second so far.
        self.best = 0.0
        self._step = 0.0
        self._lowered_at = float("-inf")
        self._ticked_at = now
        self._count = 0  # taken since `_since`
        self._since = now
        self._took = 0.0  # per second, in the measure before

    @property
    def lowered(self) -> bool:
        """Whether the rate is below what is configured."""
        return bool(self.reason)

    def taken(self, now: float) -> None:
        """The carrier took a segment."""
        self._measure(now)
        self._count += 1

    def congested(self, reason: str, written_at: float, now: float) -> bool:
        """A sign of congestion, from a segment written at `written_at`; whether it lowered
        the rate.
        """
        if written_at < self._lowered_at or now - self._lowered_at < HOLD_S:
            return False
        self._climb(now)
        self._measure(now)
        taken = self._taken_per_second(now)
        self.best = max(self.best, taken)
        before = max(taken, 1.0)
        if self.rate is not None:
            before = min(before, self.rate)
        self.rate = max(self._least, before * DECREASE)
        self._step = max(self._target / CLIMB_S, LEAST_RATE)
        self._lowered_at = now
        self.reason = reason
        return True

    def tick(self, now: float) -> bool:
        """Climb; whether the rate changed. To be called every `TICK_S` while `lowered`."""
        before = self.rate
        self._climb(now)
        return self.rate != before

    def set_ceiling(self, ceiling: float | None, now: float) -> None:
        """Another rate was configured; a lowered rate goes on climbing, now towards that."""
        self._climb(now)
        self._ceiling = ceiling
        if not self.reason:
            self.rate = ceiling
        elif ceiling is not None and self.rate is not None:
            self.rate = max(self._least, min(self.rate, ceiling))
            self._step = max(self._target / CLIMB_S, LEAST_RATE)

    @property
    def _target(self) -> float:
        """The rate to return to."""
        return self._ceiling if self._ceiling is not None else max(self.best, 1.0)

    @property
    def _least(self) -> float:
        return LEAST_RATE if self._ceiling is None else min(LEAST_RATE, self._ceiling)

    def _climb(self, now: float) -> None:
        elapsed, self._ticked_at = now - self._ticked_at, now
        if not self.reason or self.rate is None or elapsed <= 0:
            return
        self.rate += self._step * elapsed
        if self._ceiling is not None:
            if self.rate >= self._ceiling:
                self.rate, self.reason = self._ceiling, ""
        elif now - self._lowered_at >= LIFT_S:
            self.rate, self.reason = None, ""

    def _measure(self, now: float) -> None:
        """Begin the next measure when the present one is over."""
        elapsed = now - self._since
        if elapsed < _MEASURE_S:
            return
        # A pause is not a slow carrier: what came before it says nothing of the last second.
        self._took = self._count / elapsed if elapsed < 2 * _MEASURE_S else 0.0
        # All that was counted came within the measure, whatever pause followed: also of traffic
        # that stalled in its first second.
        self.best = max(self.best, self._count / _MEASURE_S)
        self._count = 0
        self._since = now

    def _taken_per_second(self, now: float) -> float:
        """What the carrier took in the last second, part of it by the measure before."""
        elapsed = min(now - self._since, _MEASURE_S)
        return self._count + self._took * (_MEASURE_S - elapsed)

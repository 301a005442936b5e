"""A token bucket that counts segments (docs/spec/messaging-services.md#token-bucket).

Two promises pull against each other: a sender may burst a second's worth after a pause, and
in no window of 10 s may it exceed its rate by more than one message. A plain bucket breaks the
second: burst and refill together make eleven seconds' worth in ten. So a burst is paid back.
When taking leaves the bucket with a surplus, a tenth of that surplus per second is withheld
from the refill for the next 10 s.

Why that is enough. Within ten seconds of a take that left surplus `a`, at most
`a + 10 * rate - withheld - level` segments can go, and `withheld >= a`. Counting the take
itself, and a last message that may drive the level below zero, the window holds no more than
`10 * rate` and one message. A sender that is always behind has no surplus, so nothing is
withheld from it, and it runs at its full rate; a late wake-up leaves a small surplus and costs
a tenth of it.
"""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 10.0
_BURST_S: Final = 1.0
# Clocks are floats: a hair less than the wanted level counts as reached.
_HAIR: Final = 1e-6


class TokenBucket:
    """Segments per second with a burst of one second, or of one message if that is longer.

    A message of more segments than the burst goes when the bucket is full and drives it below
    zero; the next one waits. Times are seconds of one clock that never goes back.
    """

    __slots__ = ("_at", "_held", "_held_next", "_level", "_next_until", "_until", "burst", "rate")

    def __init__(self, rate: float, now: float = 0.0) -> None:
        self.rate = rate  # segments per second
        self.burst = max(rate * _BURST_S, 1.0)
        self._level = self.burst if rate > 0 else 0.0
        self._at = now
        # What is withheld: `_held` per second up to `_until`, then `_held_next` to `_next_until`.
        self._held = 0.0
        self._until = now
        self._held_next = 0.0
        self._next_until = now

    def ready_at(self, segments: int, now: float) -> float:
        """When a message of `segments` may go: `now`, a later time, or infinity at rate 0."""
        if now > self._at:
            self._advance(now)
        # Plain comparisons here and below: `min` and `max` cost more than all the arithmetic.
        wanting = (segments if segments < self.burst else self.burst) - self._level
        if wanting <= _HAIR:
            return now
        if self.rate <= 0:
            return float("inf")
        at = now
        for held, until in ((self._held, self._until), (self._held_next, self._next_until)):
            if until > at:
                gained = (self.rate - held) * (until - at)
                if gained >= wanting:
                    return at + wanting / (self.rate - held)
                wanting -= gained
                at = until
        return at + wanting / self.rate

    def take(self, segments: int, now: float) -> None:
        """Take the tokens of a message that goes now; does not ask whether it may."""
        self._advance(now)
        self._level -= segments
        if self._level > _HAIR:
            self._withhold(self._level, now)

    def give_back(self, segments: int, now: float) -> None:
        """Return the tokens of a message that did not go after all."""
        self._advance(now)
        self._level = min(self.burst, self._level + segments)

    def drain(self, now: float) -> None:
        """Leave no burst: the next message goes when its own tokens have come in."""
        self._advance(now)
        self._level = min(self._level, 0.0)

    def level(self, now: float) -> float:
        """Segments that could go at once; negative while a long message is being paid off."""
        self._advance(now)
        return self._level

    def set_rate(self, rate: float, now: float) -> None:
        """Change the rate; what was taken stays taken."""
        self._advance(now)
        self.rate = rate
        self.burst = max(rate * _BURST_S, 1.0)
        self._level = min(self._level, self.burst)
        # A tenth of any burst at most is withheld: keep that true of a lower rate.
        self._held = min(self._held, rate / WINDOW_S)
        self._held_next = min(self._held_next, rate / WINDOW_S)

    def full(self, now: float) -> bool:
        """Whether nothing is owed: a new bucket would behave the same."""
        self._advance(now)
        return self._level >= self.burst and self._until <= now

    def _advance(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed <= 0:
            return
        gained = self.rate * elapsed
        until = self._until
        if until > self._at:
            if now < until:
                gained -= self._held * elapsed
            else:
                gained -= self._held * (until - self._at)
                next_until = self._next_until
                if next_until > until:
                    gained -= self._held_next * ((now if now < next_until else next_until) - until)
                    self._until = next_until
                self._held, self._held_next = self._held_next, 0.0
        level = self._level + gained
        self._level = level if level < self.burst else self.burst
        self._at = now

    def _withhold(self, surplus: float, now: float) -> None:
        """See to it that `surplus` is withheld within the window that begins now."""
        until = now + WINDOW_S
        held = surplus / WINDOW_S
        if self._until <= now:
            self._held, self._until = held, until
            self._held_next, self._next_until = 0.0, until
            return
        covered = self._held * (self._until - now)
        if self._next_until > self._until:
            covered += self._held_next * (self._next_until - self._until)
        if covered >= surplus:
            return
        if held > self._held:
            self._held = held
        if held > self._held_next:
            self._held_next = held
        self._next_until = until

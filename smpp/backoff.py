"""When to try a bind again, and why so long. Pure: told what happened and the time.

A refusal says what to wait for (field notes: hammering a carrier with a wrong
password gets the address banned; a second bind while the first still counts is
refused until the carrier's inactivity timer has run out). So refusals have
classes, and each class has its own wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random

from smpp import vocabulary as v


class RefusalClass(Enum):
    """What a refused bind asks of us."""

    CREDENTIALS = "wrong system_id or password"
    ALREADY_BOUND = "the carrier still counts an earlier session"
    SYSTEM = "the carrier has trouble of its own"
    CONFIGURATION = "a parameter of our bind is not to its liking"
    OTHER = "a status of its own"


_CLASSES: dict[int, RefusalClass] = {
    v.ESME_RINVPASWD: RefusalClass.CREDENTIALS,
    v.ESME_RINVSYSID: RefusalClass.CREDENTIALS,
    v.ESME_RALYBND: RefusalClass.ALREADY_BOUND,
    v.ESME_RINVBNDSTS: RefusalClass.ALREADY_BOUND,
    v.ESME_RSYSERR: RefusalClass.SYSTEM,
    v.ESME_RMSGQFUL: RefusalClass.SYSTEM,
    v.ESME_RTHROTTLED: RefusalClass.SYSTEM,
    v.ESME_RX_T_APPN: RefusalClass.SYSTEM,
    v.ESME_RBINDFAIL: RefusalClass.SYSTEM,
    v.ESME_RINVSYSTYP: RefusalClass.CONFIGURATION,
    v.ESME_RINVSERTYP: RefusalClass.CONFIGURATION,
    v.ESME_RINVCMDLEN: RefusalClass.CONFIGURATION,
    v.ESME_RINVCMDID: RefusalClass.CONFIGURATION,
}


def classify(status: int) -> RefusalClass:
    """The class of a bind response's command_status."""
    return _CLASSES.get(status, RefusalClass.OTHER)


@dataclass(frozen=True, slots=True)
class BackoffConfig:
    """All in seconds."""

    # Upper bound of the first wait after a lost or failed connection; doubles each time.
    first_s: float = 1.0
    most_s: float = 60.0
    # A session that lasted so long was a success; a shorter one counts as one more failure.
    settled_s: float = 10.0
    credentials_s: float = 300.0
    # The carrier's inactivity timer, if known; 0 learns it.
    already_bound_s: float = 0.0
    # While it is not known: wait of the first refusal of this class; doubles up to most_s.
    already_bound_probe_s: float = 15.0
    system_s: float = 10.0
    configuration_s: float = 120.0
    other_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.most_s:
            raise ValueError("backoff: 0 < first_s <= most_s")


class Backoff:
    """The waits of one bind. Call what happened; `lost`, `failed` and `refused` say how long."""

    def __init__(self, config: BackoffConfig, random: Random) -> None:
        self.config = config
        # How long after a loss the carrier took us again, once it had refused as already bound.
        self.learned_s = 0.0
        self._random = random
        self._failures = 0
        self._refusals = 0
        self._lost_at: float | None = None
        self._bound_at = 0.0

    def bound(self, now: float) -> None:
        """The bind is up."""
        if self._refusals and self._lost_at is not None:
            self.learned_s = now - self._lost_at
        self._bound_at = now
        self._refusals = 0
        self._lost_at = None

    def lost(self, now: float) -> float:
        """A bound session is gone. Try again soon, but not all binds in the same instant.

        A carrier that takes the bind and drops it at once is not tried sooner
        each time for having taken it.
        """
        if now - self._bound_at >= self.config.settled_s:
            self._failures = 0
        self._lost_at = now
        return self.failed(now)

    def failed(self, now: float) -> float:
        """No connection, or no answer: full jitter under a bound that doubles."""
        bound = min(self.config.most_s, self.config.first_s * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return self._random.uniform(0.0, bound)

    def refused(self, status: int, now: float) -> float:
        """The carrier answered, and said no. Up to a tenth more, so that binds spread."""
        config = self.config
        kind = classify(status)
        if kind is RefusalClass.ALREADY_BOUND:
            wait = self._already_bound(now)
        elif kind is RefusalClass.CREDENTIALS:
            wait = config.credentials_s
        elif kind is RefusalClass.SYSTEM:
            wait = config.system_s
        elif kind is RefusalClass.CONFIGURATION:
            wait = config.configuration_s
        else:
            wait = config.other_s
        return wait * self._random.uniform(1.0, 1.1)

    def _already_bound(self, now: float) -> float:
        config = self.config
        self._refusals += 1
        timer = config.already_bound_s or self.learned_s
        if timer and self._refusals == 1:
            since = now - self._lost_at if self._lost_at is not None else 0.0
            return max(timer - since, config.first_s)
        if config.already_bound_s:
            return config.already_bound_s
        doubled = config.already_bound_probe_s * 2.0 ** min(self._refusals - 1, 20)
        return float(min(doubled, max(config.most_s, self.learned_s)))

"""The wall between one unit of work and the stage that does it for all tenants.

A stage takes what has gathered and does it as one. What a single unit of it causes (a value that
nobody thought of) must end that unit, and nothing else: a batch that fails is tried by halves until
what fails stands alone; that unit is set aside with an Alert, and the rest goes on. Only the
database's own absence holds up a stage, and only a fault outside any unit ends it.

What is told of an error is its kind and where it was raised, never its text: that may hold
a message's.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from gateway.observe.alerts import Alerts
from storage.database import DatabaseUnavailable

log = logging.getLogger(__name__)

SET_ASIDE: Final = 99008  # an alert of ours
FRAMES: Final = 4  # innermost frames that are told of an error

UnitT = TypeVar("UnitT")


class About(Protocol):
    """What a unit is about: a message, in most stages."""

    @property
    def sid(self) -> str: ...
    @property
    def account_id(self) -> int: ...


class WallOutcome(NamedTuple, Generic[UnitT]):
    """What became of the units that `by_halves` did not do."""

    # Each that fails by itself, and why: no exception, which would keep all that it has seen.
    failed: list[tuple[UnitT, str]]
    # Those that the database's absence left undone, in their order.
    undone: list[UnitT]
    # How that showed; None where the database was there.
    away: Exception | None


class Wall:
    """That of one stage."""

    def __init__(self, stage: str, alerts: Alerts) -> None:
        self.stage = stage
        self._alerts = alerts
        # Units so far.
        self.set_aside = 0

    async def by_halves(
        self, units: Sequence[UnitT], work: Callable[[Sequence[UnitT]], Awaitable[object]]
    ) -> WallOutcome[UnitT]:
        """Do `work` for all at once, and where that fails for halves of them, in their order.

        `work` leaves nothing done when it raises.
        """
        failed: list[tuple[UnitT, str]] = []
        parts: list[Sequence[UnitT]] = [units]
        while parts:
            some = parts.pop()
            try:
                await work(some)
            except DatabaseUnavailable as error:
                undone = [unit for part in (some, *reversed(parts)) for unit in part]
                return WallOutcome(failed, undone, error)
            except Exception as error:
                if len(some) > 1:
                    middle = len(some) // 2
                    parts += (some[middle:], some[:middle])
                elif some:
                    failed.append((some[0], described(error)))
        return WallOutcome(failed, [], None)

    def each(
        self, units: Sequence[UnitT], work: Callable[[UnitT], object]
    ) -> list[tuple[UnitT, str]]:
        """Do `work` for one unit after the other; those that fail, and why."""
        failed = []
        for unit in units:
            try:
                work(unit)
            except Exception as error:
                failed.append((unit, described(error)))
        return failed

    @contextmanager
    def around(self, about: About | None = None, resource: str | None = None) -> Iterator[None]:
        """Set aside what fails inside; the database's absence is nobody's, and passes."""
        try:
            yield
        except DatabaseUnavailable:
            raise
        except Exception as error:
            self.tell(described(error), about, resource)

    def tell(
        self,
        why: str,
        about: About | None = None,
        resource: str | None = None,
        account_id: int | None = None,
    ) -> None:
        """A unit was set aside: an Alert, which the log has too, once a minute for one unit."""
        self.set_aside += 1
        self._alerts.alert(
            SET_ASIDE,
            f"{self.stage}: set aside: {why}",
            level="error",
            resource=about.sid if about is not None else resource,
            account_id=about.account_id if about is not None else account_id,
            logged_as=self.stage,
        )


class Walls:
    """The walls of all stages of a process."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self._walls: dict[str, Wall] = {}

    def of(self, stage: str) -> Wall:
        """The stage's wall, which is made when it is first asked for."""
        return self._walls.setdefault(stage, Wall(stage, self._alerts))

    def __iter__(self) -> Iterator[Wall]:
        return iter(list(self._walls.values()))


def described(error: BaseException) -> str:
    """The kind of an error and where it was raised: `ValueError in moment (rows.py:19), …`."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{frame.name} ({_file(frame.filename)}:{frame.lineno})" for frame in frames[::-1]]
    return f"{type(error).__name__} in {', '.join(places) or 'no frame of ours'}"


def _file(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])

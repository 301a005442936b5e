"""The right to work with a database, which one process (or one set of workers) has at a time.

Two that worked with the same senders would each pace them, and overtake each other. So a gateway
that finds another at work stands by, and takes over when that one ends (decision 0009). Whoever
loses its session gives out nothing until it has the right again; whoever finds that another has it
by then, ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gateway.carriers.share import Share
from gateway.observe.outage import AWAY
from storage import tenure
from storage.pool import Connection, DatabaseUnavailable

log = logging.getLogger(__name__)

RETRY_S: Final = 0.25
SAY_EVERY_S: Final = 60.0  # that it stands by
CHECK_S: Final = 1.0
PATIENCE_S: Final = (
    4.0  # for an answer to that: a worker that knows nothing any more gives out nothing
)


class Place(NamedTuple):
    """A worker's place: which it is, and the folder of the sockets."""

    share: Share
    folder: Path


def keys_of(place: Place | None) -> tuple[int, ...]:
    """The locks of a whole gateway, or of one worker of it (whose supervisor has the gateway's)."""
    if place is None:
        return (tenure.GATEWAY, tenure.GATEWAY + 1)
    return (tenure.GATEWAY + 1 + place.share.slot,)


class TakenOver(Exception):
    """Another gateway works with the database now."""


class Tenure:
    """Holds the locks of `keys`; `held` says whether it does, and `changed` hears when not."""

    def __init__(self, url: str, name: str, keys: Sequence[int], *, shared: bool = False) -> None:
        """`shared`: with others who say so too, which only excludes those who don't."""
        self._shared = shared
        self._url = url
        self._name = name
        self._keys = keys
        self._connection: Connection | None = None
        self._gone = asyncio.Event()
        self.held = False
        self.changed: Callable[[bool], None] = lambda held: None

    async def wait(self) -> None:
        """Return when the right is ours: at once, or when whoever has it has ended.

        Raises what DatabaseUnavailable names, but only while it stands by for nobody yet.
        """
        loop = asyncio.get_running_loop()
        say_at = 0.0
        holders = await self._try()
        while holders:
            if loop.time() >= say_at:
                log.warning(
                    "standing by: %s works with this database; taking over when it ends",
                    ", ".join(dict.fromkeys(map(str, holders))),
                    extra={"event": "standby"},
                )
                say_at = loop.time() + SAY_EVERY_S
            await asyncio.sleep(RETRY_S)
            try:
                holders = await self._try()
            except DatabaseUnavailable as error:
                log.warning("standing by without the database: %s", error, extra=AWAY)
        if tenure.GATEWAY in self._keys and not self._shared:
            await self._outlive()

    async def _outlive(self) -> None:
        """Return when the last worker of the gateway before us has ended: it may yet send."""
        said = False
        while True:
            assert self._connection is not None
            try:
                others = await tenure.holders(self._connection)
            except DatabaseUnavailable as error:
                log.warning("standing by without the database: %s", error, extra=AWAY)
                self._drop()
                await self.wait()
                return
            others = [one for one in others if one.name != self._name]
            if not others:
                return
            if not said:
                said = True
                log.warning(
                    "standing by: %s of the gateway before this one is still ending",
                    ", ".join(map(str, others)),
                    extra={"event": "standby"},
                )
            await asyncio.sleep(RETRY_S)

    async def wait_unless(self, stop: asyncio.Event) -> bool:
        """The same, and True; False when `stop` is set first. Raises as `wait`."""
        waiting = asyncio.create_task(self.wait(), name="standby")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()
            stopping.cancel()
        return not stop.is_set()

    async def run(self) -> None:
        """Keep it, until cancelled. Raises TakenOver."""
        while True:
            if self.held:
                await self._watch()
                self._lose()
            try:
                holders = await self._try()
            except DatabaseUnavailable as error:
                log.warning("the right to the database is not renewed yet: %s", error, extra=AWAY)
                await asyncio.sleep(RETRY_S)
                continue
            if holders:
                raise TakenOver(f"{holders[0]} has taken over the database")
            log.info("working with the database again")
            self.changed(True)

    def close(self) -> None:
        """Let others have it."""
        self._drop()

    async def _try(self) -> list[tenure.Holder]:
        """Take the locks; whoever has them already, which is nobody when they are ours."""
        if self._connection is None or self._connection.is_closed():
            self._gone.clear()
            self._connection = await tenure.open_session(self._url, self._name)
            self._connection.add_termination_listener(lambda _: self._gone.set())
        connection = self._connection
        try:
            while not await tenure.take(connection, self._keys, shared=self._shared):
                others = await tenure.holders(connection)
                ours = [one for one in others if one.name == self._name]
                for former in ours:  # broken, and the server does not know
                    await tenure.end_session(connection, former.pid)
                others = [one for one in others if one.key in self._keys and one not in ours]
                if others:
                    return others
                await asyncio.sleep(0)  # it was let go of just now
        except DatabaseUnavailable:
            self._drop()
            raise
        self.held = True
        return []

    async def _watch(self) -> None:
        """Return when the session is over, or does not answer."""
        connection = self._connection
        assert connection is not None
        while not connection.is_closed():
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._gone.wait()
                return
            except TimeoutError:
                pass
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await tenure.check(connection)
            except DatabaseUnavailable:
                return

    def _lose(self) -> None:
        log.warning("the session that holds the right to the database is gone")
        self._drop()
        self.changed(False)

    def _drop(self) -> None:
        self.held = False
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

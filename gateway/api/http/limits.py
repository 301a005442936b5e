"""How much of the API one account may use at a time, and per second
(docs/spec/twilio-api.md#rate-limiting-and-response-headers)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from gateway.api.http.errors import ApiError

LONGEST_WAIT_S: Final = 60
MOST_BULKS: Final = 4  # bodies above 64 kB of one account that are under way at once


class Gate:
    """Counts the requests of each account, on both lanes.

    `concurrent`: requests under way; `per_second`: requests begun, with a burst of one second;
    None is no limit. What is refused was not processed. Grows with the accounts, of which each
    costs an entry; a request pays two dictionary look-ups.
    """

    __slots__ = (
        "_bulks",
        "_concurrent",
        "_monotonic",
        "_per_second",
        "_tokens",
        "_under_way",
        "refused",
    )

    def __init__(
        self, concurrent: int | None, per_second: float | None, monotonic: Callable[[], float]
    ) -> None:
        self._concurrent = concurrent if concurrent is not None else 1 << 62
        self._per_second = per_second
        self._monotonic = monotonic
        self._under_way: dict[int, int] = {}
        self._bulks: dict[int, int] = {}
        self._tokens: dict[int, tuple[float, float]] = {}  # account → (tokens, when)
        self.refused = 0

    def enter(self, account_id: int) -> int:
        """Begin a request; how many are under way with it. Raises ApiError 20429 (429)."""
        under_way = self._under_way.get(account_id, 0) + 1
        if under_way > self._concurrent:
            raise self._refusal(f"more than {self._concurrent} requests at a time", 1)
        if self._per_second is not None:
            self._take(account_id, self._per_second)
        self._under_way[account_id] = under_way
        return under_way

    def under_way(self, account_id: int) -> int:
        return self._under_way.get(account_id, 0)

    def leave(self, account_id: int) -> None:
        """End a request that had entered."""
        self._under_way[account_id] -= 1

    def enter_bulk(self, account_id: int) -> None:
        """A large body begins to arrive. Raises ApiError 20429 (429)."""
        bulks = self._bulks.get(account_id, 0)
        if bulks >= MOST_BULKS:
            raise self._refusal(f"more than {MOST_BULKS} large bodies at a time", 1)
        self._bulks[account_id] = bulks + 1

    def leave_bulk(self, account_id: int) -> None:
        """The request with that body is over."""
        self._bulks[account_id] -= 1

    def _take(self, account_id: int, per_second: float) -> None:
        now, burst = self._monotonic(), max(per_second, 1.0)
        tokens, since = self._tokens.get(account_id, (burst, now))
        tokens = min(burst, tokens + (now - since) * per_second)
        if tokens < 1:
            wait = int((1 - tokens) / per_second) + 1
            self._tokens[account_id] = tokens, now
            raise self._refusal(f"more than {per_second:g} requests per second", wait)
        self._tokens[account_id] = tokens - 1, now

    def _refusal(self, what: str, wait_s: int) -> ApiError:
        self.refused += 1
        return ApiError(
            20429,
            f"Too Many Requests: {what}",
            headers={"Retry-After": str(min(wait_s, LONGEST_WAIT_S))},
        )


class Quota:
    """So many requests of an account in any `window_s` seconds; costs as many numbers in memory."""

    def __init__(self, most: int, window_s: float, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._window_s = window_s
        self._monotonic = monotonic
        self._begun: dict[int, deque[float]] = {}

    def take(self, account_id: int) -> None:
        """Count a request. Raises ApiError 20429 for one too many, which counts for nothing."""
        now = self._monotonic()
        begun = self._begun.setdefault(account_id, deque(maxlen=self._most))
        if len(begun) == self._most and now - begun[0] < self._window_s:
            wait_s = int(self._window_s - (now - begun[0])) + 1
            raise ApiError(
                20429,
                f"Too Many Requests: more than {self._most} in {self._window_s:.0f} s",
                headers={"Retry-After": str(wait_s)},
            )
        begun.append(now)


class Turnstile:
    """Lets so many lists of an account be read at once, and so many of all accounts together.

    The others of an account wait, first come, first served; accounts take turns. Costs nothing
    for an account that has no list under way.
    """

    def __init__(self, at_once: int, most_waiting: int, in_all: int) -> None:
        self._at_once = at_once
        self._most_waiting = most_waiting
        self._in_all = in_all
        self._under_way: dict[int, int] = {}
        self._lines: dict[int, deque[asyncio.Future[None]]] = {}

    @property
    def idle(self) -> bool:
        """Whether no list is read, and none waits."""
        return not self._under_way and not self._lines

    @asynccontextmanager
    async def turn(self, account_id: int) -> AsyncIterator[None]:
        """Wait for a turn, and have it. Raises ApiError 20429 where too many wait."""
        await self._enter(account_id)
        try:
            yield
        finally:
            self._leave(account_id)

    async def _enter(self, account_id: int) -> None:
        line = self._lines.get(account_id)
        if line is None and self._has_room(account_id):
            self._begin(account_id)
            return
        if line is None:
            line = self._lines[account_id] = deque()
        if len(line) >= self._most_waiting:
            if not line:
                del self._lines[account_id]
            raise ApiError(
                20429,
                f"Too Many Requests: more than {self._most_waiting} lists wait for their turn",
                headers={"Retry-After": "1"},
            )
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(account_id, turn)
            else:  # it was given a turn at the same moment
                self._leave(account_id)
            raise

    def _has_room(self, account_id: int) -> bool:
        mine = self._under_way.get(account_id, 0)
        return mine < self._at_once and sum(self._under_way.values()) < self._in_all

    def _begin(self, account_id: int) -> None:
        self._under_way[account_id] = self._under_way.get(account_id, 0) + 1

    def _leave(self, account_id: int) -> None:
        self._under_way[account_id] -= 1
        if not self._under_way[account_id]:
            del self._under_way[account_id]
        for waiting in list(self._lines):
            line, served = self._lines[waiting], False
            while line and self._has_room(waiting):
                turn = line.popleft()
                if not turn.done():  # else who waited has gone
                    self._begin(waiting)
                    turn.set_result(None)
                    served = True
            if served or not line:
                del self._lines[waiting]
            if served and line:  # behind the other accounts
                self._lines[waiting] = line

    def _forget(self, account_id: int, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(account_id)
        if line is None:
            return
        if turn in line:
            line.remove(turn)
        if not line:
            del self._lines[account_id]

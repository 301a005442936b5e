"""How much of a kind is under way at once: of all accounts, and of each.

Where the total is taken, the account that has least under way goes first: none can keep the others
out. Where nothing is at its limit, entering and leaving count two numbers, and nobody waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Granted = Callable[[], bool]


class FairTurns:
    """Counts what is under way; lets wait what is beyond the limits."""

    def __init__(self, most: int, most_of_account: int) -> None:
        self._most = most
        self._most_of_account = most_of_account
        self._of: dict[int, int] = {}
        # Nobody waits who could be let in.
        self._waiting: dict[int, deque[Granted]] = {}
        self.under_way = 0

    @property
    def waiting(self) -> int:
        """How many wait to be let in."""
        return sum(len(some) for some in self._waiting.values())

    def of(self, account_id: int) -> int:
        """What is under way of one account."""
        return self._of.get(account_id, 0)

    def enter(self, account_id: int) -> bool:
        """Begin, if there is room; `leave` when it is over."""
        own = self._of.get(account_id, 0)
        if self.under_way >= self._most or own >= self._most_of_account:
            return False
        self._of[account_id] = own + 1
        self.under_way += 1
        return True

    def leave(self, account_id: int) -> None:
        """A turn is over: whoever waits longest of those that have least goes on."""
        self._forget(account_id)
        while self._waiting and self.under_way < self._most:
            account = self._next()
            if account is None:
                return
            waiting = self._waiting.pop(account)
            granted = waiting.popleft()
            if waiting:
                self._waiting[account] = waiting  # behind the others that have as little
            self.enter(account)
            if not granted():
                self._forget(account)

    def wait(self, account_id: int, granted: Granted) -> None:
        """Call `granted` once there is room, and it was entered. False from it: no more needed.

        Only for what `enter` has just refused.
        """
        self._waiting.setdefault(account_id, deque()).append(granted)

    def wanted(self, account_id: int) -> bool:
        """Whether somebody waits for what this account would leave."""
        waiting = self._waiting
        return bool(waiting) and (account_id in waiting or self.under_way >= self._most)

    @asynccontextmanager
    async def one(self, account_id: int) -> AsyncIterator[None]:
        """One turn, as soon as there is room for it."""
        if not self.enter(account_id):
            await self._room(account_id)
        try:
            yield
        finally:
            self.leave(account_id)

    async def _room(self, account_id: int) -> None:
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def granted() -> bool:
            if entered.done():
                return False
            entered.set_result(None)
            return True

        self.wait(account_id, granted)
        try:
            await entered
        except asyncio.CancelledError:
            if entered.done() and not entered.cancelled():
                self.leave(account_id)  # it was let in just then
            raise

    # Counting -------------------------------------------------------------------------------

    def _forget(self, account_id: int) -> None:
        self.under_way -= 1
        left = self._of[account_id] - 1
        if left:
            self._of[account_id] = left
        else:
            del self._of[account_id]

    def _next(self) -> int | None:
        """Of those that wait and are below their own limit: the one with least under way."""
        account = min(self._waiting, key=self.of)
        return account if self.of(account) < self._most_of_account else None

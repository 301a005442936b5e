"""Deficit round robin: who goes next when several accounts and services share one outlet.

Equal by account, then by service within the account
(docs/spec/messaging-services.md#queue-levels-and-fairness): an account's quantum is divided among
its services that wait. What is shared out is segments, not messages: a flow is given credit when
its turn comes and goes as long as its credit covers the next message, so long messages earn no
larger share.

A *flow* is a key with the things that wait under it; the things of one flow take turns. A
thing is charged while it stays (`charge`) and leaves when told so (`discard`). A flow with
nothing left loses its credit, as idle time must not be saved up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Segments per account and turn. Smaller is smoother, larger makes fewer turns.
QUANTUM: Final = 8.0

FairKey = tuple[Hashable, Hashable]  # account, service


class _Flow(Generic[T]):
    __slots__ = ("credit", "key", "things")

    def __init__(self, key: FairKey) -> None:
        self.key = key
        self.credit = 0.0
        self.things: deque[T] = deque()


class FairQueue(Generic[T]):
    """Things waiting under (account, service) keys. `cost` tells what a thing wants next."""

    __slots__ = ("_cost", "_flows", "_services", "turns")

    def __init__(self, cost: Callable[[T], float]) -> None:
        self._cost = cost
        self._flows: dict[FairKey, _Flow[T]] = {}
        self.turns: deque[_Flow[T]] = deque()  # true while anything waits; read only
        self._services: dict[Hashable, int] = {}  # account -> its waiting services

    def add(self, key: FairKey, thing: T) -> None:
        """Let `thing` wait behind the others of its flow."""
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(key)
            self.turns.append(flow)
            services = self._services[key[0]] = self._services.get(key[0], 0) + 1
            flow.credit = QUANTUM / services  # for its first turn, at the back
        flow.things.append(thing)

    def peek(self) -> T:
        """Whose turn it is; stays the same until `charge`, `discard` or a turn ends.

        Turns end only here, when the credit does not cover the cost; every turn adds credit, so
        this ends. Must not be asked when nothing waits.
        """
        turns = self.turns
        while len(turns) > 1:
            flow = turns[0]
            if flow.credit >= self._cost(flow.things[0]):
                break
            flow.credit += QUANTUM / self._services[flow.key[0]]
            turns.rotate(-1)
        return turns[0].things[0]

    def charge(self, cost: float) -> None:
        """The thing just peeked had `cost` served, and waits again behind its flow."""
        flow = self.turns[0]
        # Alone there is no one to owe to: credit would only grow stale.
        flow.credit = flow.credit - cost if len(self.turns) > 1 else 0.0
        if len(flow.things) > 1:
            flow.things.rotate(-1)

    def discard(self, cost: float = 0.0) -> None:
        """The thing just peeked leaves, after `cost` was served."""
        flow = self.turns[0]
        flow.things.popleft()
        if flow.things:
            flow.credit = flow.credit - cost if len(self.turns) > 1 else 0.0
            return
        self.turns.popleft()
        del self._flows[flow.key]
        account = flow.key[0]
        self._services[account] -= 1
        if not self._services[account]:
            del self._services[account]

"""The names of apps' servers, looked up: no thread waits for a nameserver, and no account for
another's.

Anybody can name any number of hosts whose nameserver never answers, and each holds a lookup for as
long as we wait. So lookups are asynchronous, bounded over all and for each account, in fair turns;
what was found is kept for its time to live, and that nothing was found for a few seconds.

The names of carriers and of the database go by the system's resolver, which no app's name reaches.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple

import aiodns

from gateway.runtime.fair_turns import FairTurns

TRY_S: Final = 1.5  # for the first answer of a nameserver; twice as long for the second
TRIES: Final = 2
LEAST_KEPT_S: Final = 5.0  # whatever an answer's time to live says
MOST_KEPT_S: Final = 300.0
FAILURE_KEPT_S: Final = 5.0
MOST_ADDRESSES: Final = 32  # of one name
# c-ares keeps answers of its own, up to an hour and uncounted: they are let go with the channel
# that has them, after so many lookups or so long.
CHANNEL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LookupBounds:
    """How many names are looked up, and for how long."""

    lookups: int = 200  # under way, of all accounts
    of_account: int = 10
    waiting_of_account: int = 200  # names that are looked up or wait for that
    turn_s: float = 5.0  # the longest that a name waits to be looked up
    lookup_s: float = 5.0  # and for an answer then
    kept: int = 10_000  # answers
    of_channel: int = 200  # lookups of one of c-ares' channels


DEFAULT_BOUNDS: Final = LookupBounds()


class Address(NamedTuple):
    """One of a host, numeric."""

    host: str
    family: socket.AddressFamily


class _Answer(NamedTuple):
    addresses: tuple[Address, ...]
    failure: str  # why there are none
    until: float
    is_name: bool = True  # that could have some


class _Lookup(NamedTuple):
    host: str
    family: socket.AddressFamily


class HostNames:
    """Looks up names, and remembers."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        now: Callable[[], float] = monotonic,
        bounds: LookupBounds = DEFAULT_BOUNDS,
    ) -> None:
        """`nameservers`: addresses, with a port if it is another than 53; none: the system's, as
        /etc/resolv.conf says. /etc/hosts goes before either.
        """
        self._nameservers = tuple(nameservers)
        self._now = now
        self._bounds = bounds
        self._kept: dict[_Lookup, _Answer] = {}  # oldest first
        self._asking: dict[tuple[int, _Lookup], asyncio.Task[_Answer]] = {}
        self._asking_of: Counter[int] = Counter()
        self._channel: _Channel | None = None
        self._former: _Channel | None = None  # answers are still to come from it
        self.turns = FairTurns(bounds.lookups, bounds.of_account)

    async def addresses(
        self, host: str, family: socket.AddressFamily, account_id: int
    ) -> tuple[Address, ...]:
        """What a name stands for, at least one.

        Raises ValueError for what is no host's name, and OSError where nothing can be told: no such
        name, no answer, too many lookups at once.
        """
        question = _Lookup(host.lower(), family)
        answer = self._remembered(question)
        if answer is None:
            # The lookup goes on without who asked for it: its place is taken until it ends.
            answer = await asyncio.shield(self._asked(account_id, question))
        if not answer.is_name:
            raise ValueError(f"{host}: {answer.failure}")
        if answer.failure:
            raise OSError(None, f"{host}: {answer.failure}")
        return answer.addresses

    async def close(self) -> None:
        for asking in list(self._asking.values()):
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        for channel in (self._channel, self._former):
            if channel is not None:
                await channel.resolver.close()
        self._channel = self._former = None

    def _asked(self, account_id: int, question: _Lookup) -> asyncio.Task[_Answer]:
        """The lookup of an account's name: one, however many wait for it."""
        key = (account_id, question)
        asking = self._asking.get(key)
        if asking is None:
            if self._asking_of[account_id] >= self._bounds.waiting_of_account:
                raise OSError(None, f"{question.host}: too many names of the account are looked up")
            asking = asyncio.create_task(self._look_up(account_id, question), name="host name")
            self._asking[key] = asking
            self._asking_of[account_id] += 1
            asking.add_done_callback(lambda _: self._asked_no_more(key))
        return asking

    def _asked_no_more(self, key: tuple[int, _Lookup]) -> None:
        del self._asking[key]
        self._asking_of[key[0]] -= 1
        if not self._asking_of[key[0]]:
            del self._asking_of[key[0]]

    async def _look_up(self, account_id: int, question: _Lookup) -> _Answer:
        try:
            async with asyncio.timeout(self._bounds.turn_s) as patience, self.turns.one(account_id):
                patience.reschedule(None)
                answer = self._remembered(question)  # another account's may have come meanwhile
                if answer is None:
                    answer = await self._ask(question)
                    self._keep(question, answer)
                return answer
        except TimeoutError:
            return _Answer((), "too many names are looked up", 0.0)

    async def _ask(self, question: _Lookup) -> _Answer:
        """What the nameservers say. Never raises for it."""
        channel = self._present()
        channel.under_way += 1
        try:
            async with asyncio.timeout(self._bounds.lookup_s):
                found = await channel.resolver.getaddrinfo(
                    question.host, family=question.family, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            return self._failed("no nameserver answered in time")
        except aiodns.error.DNSError as error:
            malformed = error.args[0] == aiodns.error.ARES_EBADNAME
            return self._failed(str(error.args[-1]), is_name=not malformed)
        except ValueError as error:  # not in letters that a name may have
            return self._failed(str(error), is_name=False)
        finally:
            channel.under_way -= 1
            await self._let_go()
        addresses = tuple(
            Address(node.addr[0].decode("ascii"), socket.AddressFamily(node.family))
            for node in found.nodes[:MOST_ADDRESSES]
        )
        if not addresses:
            return self._failed("it has no address")
        kept_s = min(node.ttl for node in found.nodes)
        return _Answer(addresses, "", self._now() + min(max(kept_s, LEAST_KEPT_S), MOST_KEPT_S))

    def _failed(self, why: str, *, is_name: bool = True) -> _Answer:
        return _Answer((), why, self._now() + FAILURE_KEPT_S, is_name)

    # What is known --------------------------------------------------------------------------

    def _remembered(self, question: _Lookup) -> _Answer | None:
        answer = self._kept.get(question)
        return answer if answer is not None and self._now() < answer.until else None

    def _keep(self, question: _Lookup, answer: _Answer) -> None:
        self._kept.pop(question, None)
        self._kept[question] = answer
        if len(self._kept) > self._bounds.kept:
            del self._kept[next(iter(self._kept))]

    # Who is asked ---------------------------------------------------------------------------

    def _present(self) -> _Channel:
        """The channel of the next lookup. No more than two are open: one that still has answers to
        give is waited for.
        """
        channel = self._channel
        if (
            channel is not None
            and self._former is None
            and channel.is_old(self._now(), self._bounds.of_channel)
        ):
            self._former, channel = channel, None
        if channel is None:
            channel = self._channel = _Channel(self._nameservers, self._now())
        channel.asked += 1
        return channel

    async def _let_go(self) -> None:
        former = self._former
        if former is not None and not former.under_way:
            self._former = None
            await former.resolver.close()


class _Channel:
    """One of c-ares: its thread, its sockets, and what it remembers."""

    def __init__(self, nameservers: Sequence[str], now: float) -> None:
        self.resolver = aiodns.DNSResolver(nameservers or None, timeout=TRY_S, tries=TRIES)
        self.asked = 0
        self.under_way = 0
        self._made_at = now

    def is_old(self, now: float, most: int) -> bool:
        return self.asked >= most or now >= self._made_at + CHANNEL_S

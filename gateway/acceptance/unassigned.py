"""Where messages of a service wait that have no sender yet
(docs/spec/messaging-services.md#queue-levels-and-fairness).

A sender is given about two seconds of work; what is above stays here, `accepted`, so that load
balancing and changes of the pool act on it. One first-in-first-out queue per service, country and
area code: within one of those the candidates are mostly the same, and a slow sender for one place
holds up no other.

No I/O: `gateway.acceptance.assigner` takes from here and writes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from gateway.acceptance.draft import Draft, Phase
from gateway.messages.message import Message, Status
from gateway.pacing.expiry import ExpiryWheel
from gateway.routing.destination import Destination
from gateway.routing.question import QUEUES_FULL, Choice
from gateway.routing.sender_load import SenderLoads, expected_wait
from gateway.routing.sender_pool import Sender

AHEAD_S = 2.0  # of work that a sender is assigned ahead
# Beyond these a queue is *deep*: its messages go to their senders' queues, which keep in memory
# only what they need, and so do new ones until a sender has little to do again.
DEEP = 2_000  # messages of one queue
DEEP_IN_ALL = 20_000  # … of all together, for those of some length
DEEP_AT_LEAST = 50

Quarter = tuple[int, str, str | None]  # service, country, area code


class Taken(NamedTuple):
    """A message whose turn has come; the sender's standing counts it already."""

    draft: Draft
    sender_id: int  # 0: none, it fails


def _place(draft: Draft) -> Quarter:
    destination = draft.destination
    return (draft.message.service_id or 0, destination.country, destination.area_code)


class UnassignedQueue:
    """The queues of messages without a sender, of all services."""

    def __init__(self, loads: SenderLoads, rate: Callable[[int, Destination], float]) -> None:
        self._loads = loads
        self._rate = rate
        self._queues: dict[Quarter, deque[Draft]] = {}
        self._segments: Counter[Quarter] = Counter()
        self._of_account: Counter[int] = Counter()  # segments
        self._expiry: ExpiryWheel[Message] = ExpiryWheel()
        self._places: dict[int, Quarter] = {}  # by id() of the message
        self._deep: set[Quarter] = set()
        # Whose mail has been here and has no place yet: what is later goes after it.
        self._recipients: Counter[tuple[int, str]] = Counter()
        self._unplaced: set[Message] = set()
        self._turn = 0
        self._left: Counter[Quarter] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def segments(self, service_id: int) -> int:
        """Segments of a service that wait here."""
        return sum(n for place, n in self._segments.items() if place[0] == service_id)

    def waiting(self, accounts: Sequence[int], place: tuple[int, str] | None) -> int:
        """Segments that wait here of some accounts, or of one service for one country."""
        if place is not None:
            return sum(n for segment, n in self._segments.items() if segment[:2] == place)
        return sum(self._of_account[account_id] for account_id in accounts)

    def ahead(self, draft: Draft) -> int:
        """Segments that wait here in front of a new message."""
        return self._segments.get(_place(draft), 0)

    # In -----------------------------------------------------------------------------------

    def wants(self, draft: Draft, sender: Sender) -> bool:
        """Whether a new message waits here rather than at the sender that is best now."""
        if draft.phase is Phase.CALLED:
            return False
        message, place = draft.message, _place(draft)
        if (message.account_id, message.recipient) in self._recipients:
            return True
        if place in self._queues:
            return place not in self._deep
        if self._wait(sender, draft) <= AHEAD_S:
            self._deep.discard(place)
            return False
        return place not in self._deep

    def full(self, draft: Draft, sender: Sender, alike: int) -> bool:
        """Whether `alike` senders such as this one could not hold what waits here
        (docs/spec/messaging-services.md#queue-limits)."""
        waiting = self._segments[_place(draft)]
        return waiting + self._loads.backlog(sender.id) >= alike * self._loads.limit(sender.id)

    def hold(self, draft: Draft) -> None:
        """`draft` is committed without a sender; its message's `expires_at` is set."""
        message, place = draft.message, _place(draft)
        queue = self._queues.setdefault(place, deque())
        queue.append(draft)
        if len(queue) >= (DEEP if len(self) < DEEP_IN_ALL else DEEP_AT_LEAST):
            self._deep.add(place)
        self._segments[place] += message.segments
        self._of_account[message.account_id] += message.segments
        self._places[id(message)] = place
        self._expiry.add(message)
        self._unplaced.add(message)
        self._recipients[message.account_id, message.recipient] += 1

    # Out ----------------------------------------------------------------------------------

    def take(self, choose: Callable[[Draft], Choice], now: float, most: int) -> list[Taken]:
        """Up to `most` messages that senders have time for now, in their order.

        `choose` asks the selector. The standing of each sender counts what is taken; the caller
        takes that back when it chooses for good.
        """
        places = list(self._queues)
        if places:
            self._turn = (self._turn + 1) % len(places)
            places = places[self._turn :] + places[: self._turn]
        taken: list[Taken] = []
        for place in places:
            queue = self._queues[place]
            while queue and len(taken) < most:
                draft = queue[0]
                message = draft.message
                if message.status is not Status.ACCEPTED:  # it expired or was canceled
                    queue.popleft()
                    continue
                choice = choose(draft)
                sender_id = 0
                if choice.sender is not None:
                    if place not in self._deep and self._wait(choice.sender, draft) > AHEAD_S:
                        break
                    sender_id = choice.sender.id
                    self._loads.assigned(sender_id, message.segments, now)
                elif choice.code == QUEUES_FULL:
                    break
                queue.popleft()
                self._left[place] += 1
                self._leave(message)
                self._expiry.take(message)
                draft.phase = Phase.CALLED
                taken.append(Taken(draft, sender_id))
            if not queue:
                del self._queues[place]
                del self._left[place]
        return taken

    def heads(self) -> Iterator[tuple[Quarter, Message, int, int]]:
        """Each queue's first message, how many have left it, and the segments that wait."""
        for place, queue in self._queues.items():
            yield place, queue[0].message, self._left[place], self._segments[place]

    def remove(self, message: Message) -> bool:
        """Take one out, to cancel it; False if it does not wait here. Its status must move on."""
        if id(message) not in self._places:
            return False
        self._leave(message)
        self._expiry.take(message)
        self._forget(message)
        return True

    def placed(self, draft: Draft) -> None:
        """What was taken has its place, or has ended: it holds up no later one any more."""
        if draft.message in self._unplaced:
            self._forget(draft.message)

    def expire(self, now: float) -> Iterable[Message]:
        """Messages whose time has passed, taken out. Their status must move on."""
        for message in self._expiry.due(now):
            self._leave(message)
            self._forget(message)
            yield message

    def _forget(self, message: Message) -> None:
        self._unplaced.discard(message)
        key = (message.account_id, message.recipient)
        self._recipients[key] -= 1
        if not self._recipients[key]:
            del self._recipients[key]

    def _leave(self, message: Message) -> None:
        place = self._places.pop(id(message))
        self._of_account[message.account_id] -= message.segments
        self._segments[place] -= message.segments
        if not self._segments[place]:
            del self._segments[place]

    def _wait(self, sender: Sender, draft: Draft) -> float:
        backlog = self._loads.backlog(sender.id)
        return expected_wait(backlog, self._rate(sender.id, draft.destination)) if backlog else 0.0

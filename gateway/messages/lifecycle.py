"""The life of a message: every move it can make is decided here.

`MOVES` is the automaton, `advance` applies one event to it: batches that write the row themselves
call it. All others call `Lifecycle.apply`, which does as well what every move brings with it. What
is chosen anew is set back by the assigner, before anybody has seen it. A pair that is not in the
table leaves the message as it is: late and duplicate receipts are normal, and cannot move a message
that is final (docs/architecture.md#life-of-a-message).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.messages.message import Flag, Message, Status
from gateway.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class SenderChosen:
    """A sender was chosen."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Committed as ours: its bytes may leave."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Every segment has its submit_sm_resp with status ESME_ROK."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused for good, by us or by the carrier; or its answer was lost, and nobody asks again."""

    code: int


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The recipient's carrier cannot take it, known before it was sent (30011)."""

    code: int


@dataclass(frozen=True, slots=True)
class Receipted:
    """A receipt that settles the message: delivered, or not with a code."""

    delivered: bool
    code: int = 0
    done_date: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """A segment was written and its answer never came (docs/reliability.md#the-one-ambiguity): it
    will be sent again."""


@dataclass(frozen=True, slots=True)
class Canceled:
    """The app took it back in time."""


MessageEvent = (
    SenderChosen | Claimed | Submitted | Refused | Undeliverable | Receipted | AnswerLost | Canceled
)

# A receipt may overtake the answer of a later segment, and even of its own: it settles a
# message that is still `sending`.
MOVES: dict[tuple[Status, type[MessageEvent]], Status | None] = {
    (Status.ACCEPTED, SenderChosen): Status.QUEUED,
    (Status.SCHEDULED, SenderChosen): Status.QUEUED,
    (Status.QUEUED, Claimed): Status.SENDING,
    (Status.SENDING, AnswerLost): Status.SENDING,
    (Status.SENDING, Submitted): Status.SENT,
    (Status.SENDING, Receipted): None,  # by the receipt's outcome
    (Status.SENT, Receipted): None,
    (Status.ACCEPTED, Refused): Status.FAILED,
    (Status.SCHEDULED, Refused): Status.FAILED,
    (Status.QUEUED, Refused): Status.FAILED,
    (Status.SENDING, Refused): Status.FAILED,
    (Status.ACCEPTED, Undeliverable): Status.UNDELIVERED,
    (Status.ACCEPTED, Canceled): Status.CANCELED,
    (Status.SCHEDULED, Canceled): Status.CANCELED,
    (Status.QUEUED, Canceled): Status.CANCELED,
}

# Events that found their message elsewhere, by (status, event): shown as a metric.
ignored: Counter[tuple[Status, str]] = Counter()


def advance(message: Message, event: MessageEvent, now: float) -> bool:
    """Move `message` by `event` at the time `now` (seconds since 1970); whether it moved."""
    kind = type(event)
    move = (message.status, kind)
    if move not in MOVES:
        ignored[message.status, kind.__name__] += 1
        return False
    after = MOVES[move]
    if kind is SenderChosen:
        message.queued_at = now
    elif kind is Submitted:
        message.sent_at = now
    elif isinstance(event, Receipted):
        after = Status.DELIVERED if event.delivered else Status.UNDELIVERED
        message.error_code = event.code
        message.done_date = event.done_date
        if not message.sent_at:
            message.sent_at = now
        message.done_at = now
    elif isinstance(event, (Refused, Undeliverable)):
        message.error_code = event.code
        message.done_at = now
        message.content = None
    elif kind is AnswerLost:
        message.flags |= Flag.POSSIBLE_DUPLICATE
    elif kind is Canceled:
        message.done_at = now
        message.content = None
    assert after is not None
    message.status = after
    if after is not Status.QUEUED and after is not Status.SCHEDULED:
        message.waiting = False
    return True


class Lifecycle:
    """Moves messages, with what every move brings: its row is written, its mapping dropped."""

    def __init__(
        self,
        clock: Clock,
        changed: Callable[[Message, MessageEvent], None],
        never_submitted: Callable[[Message], None],
    ) -> None:
        """`changed` writes the row of a message that an event moved; `never_submitted` hears of
        those that have ended before anything of them was claimed.
        """
        self._clock = clock
        self._changed = changed
        self._never_submitted = never_submitted

    def apply(
        self,
        message: Message,
        event: MessageEvent,
        *,
        at: float | None = None,
        stored: bool = False,
    ) -> bool:
        """Move `message` by `event`, now or `at` a time; whether it moved.

        `stored`: the transaction that decided it writes the row, or has written it.
        """
        waited = message.waiting
        if not advance(message, event, self._clock.wall() if at is None else at):
            return False
        if waited and isinstance(event, (Refused, Canceled)):
            self._never_submitted(message)
        if not stored:
            self._changed(message, event)
        return True


def callback_events(message: Message) -> list[tuple[Status, float]]:
    """The status callbacks that a message's committed life owes, in order
    (docs/spec/twilio-api.md#status-lifecycle).

    `queued` is told only for a message that was answered with `accepted`; the initial status
    and `sending` never are.
    """
    events = []
    if message.queued_at and message.service_id is not None:
        events.append((Status.QUEUED, message.queued_at))
    if message.committed is Status.SENT or (message.committed.final and message.sent_at):
        events.append((Status.SENT, message.sent_at))
    if message.committed.final:
        events.append((message.committed, message.done_at))
    return events

"""Messages and limits for pacing tests, with good defaults."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gateway.pacing.pacer import Pacer, SharedBucket


@dataclass(eq=False, slots=True)
class Mail:
    """A queued message."""

    sender_id: int = 1
    segments: int = 1
    account_id: int = 1
    service_id: int | None = 1
    priority: int = 0
    recipient: str = "+14155550100"
    expires_at: float = 1e9
    carrier_id: int = 1
    destination_class: Hashable = 0
    number: int = 0  # acceptance order, for tests


@dataclass
class Rates:
    """Limits that are just what they are told."""

    default: float = 1.0
    senders: dict[int, float] = field(default_factory=dict)
    classes: dict[tuple[int, Hashable], float] = field(default_factory=dict)
    campaigns: dict[int, tuple[Hashable, float]] = field(default_factory=dict)
    accounts: dict[int, float] = field(default_factory=dict)
    carriers: dict[int, float] = field(default_factory=dict)

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        rate = self.classes.get((sender_id, destination_class))
        return rate if rate is not None else self.senders.get(sender_id, self.default)

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        campaign = self.campaigns.get(sender_id)
        return (SharedBucket(*campaign),) if campaign is not None else ()

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        rate = self.accounts.get(account_id)
        return (SharedBucket(("account", account_id), rate),) if rate is not None else ()

    def carrier(self, carrier_id: int) -> float | None:
        return self.carriers.get(carrier_id)


def plenty(carrier_id: int) -> int:
    return 1_000_000


def mails(count: int, **given: object) -> list[Mail]:
    """Messages to different recipients."""
    return [
        Mail(number=number, recipient=f"+1415556{number:04}", **given)  # type: ignore[arg-type]
        for number in range(count)
    ]


def drain(
    pacer: Pacer[Mail],
    until: float,
    room: Callable[[int], int] = plenty,
    answer: bool = True,
    start: float = 0.0,
    expired: list[Mail] | None = None,
) -> list[tuple[float, Mail]]:
    """Run the pacer on a virtual clock; answer each message at once."""
    now = start
    sent: list[tuple[float, Mail]] = []
    for _ in range(1_000_000):
        for item in pacer.release(now, room):
            sent.append((now, item))
            if answer:
                pacer.done(item)
        lapsed = pacer.expire(now)
        if expired is not None:
            expired.extend(lapsed)
        following = pacer.next_time()
        if following is None or following > until:
            return sent
        assert following >= now
        now = following
    raise AssertionError("the pacer spins")

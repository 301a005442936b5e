"""Senders, pools and a plain load for tests, with good defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.routing.destination import Destination, parse_destination
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool, ServiceSettings


def to(text: str) -> Destination:
    destination = parse_destination(text)
    assert destination is not None, text
    return destination


def long_code(number: int, address: str, **given: Any) -> Sender:
    where = to(address)
    return Sender(
        id=number,
        sid=f"PN{number:032x}",
        kind=SenderKind.LONG_CODE,
        address=address,
        country=where.country,
        area_code=where.area_code,
        **given,
    )


def toll_free(number: int, address: str = "+18005550100", **given: Any) -> Sender:
    return Sender(number, f"PN{number:032x}", SenderKind.TOLL_FREE, address, "US", **given)


def short_code(number: int, address: str, country: str, **given: Any) -> Sender:
    return Sender(number, f"SC{number:032x}", SenderKind.SHORT_CODE, address, country, **given)


def alpha(number: int, address: str, destination_country: str = "", **given: Any) -> Sender:
    return Sender(
        number,
        f"AI{number:032x}",
        SenderKind.ALPHA,
        address,
        "",
        destination_country=destination_country,
        **given,
    )


def pool(*senders: Sender, **settings: Any) -> SenderPool:
    return SenderPool(senders, ServiceSettings(**settings))


@dataclass
class PlainLoad:
    """A load that is just what it is told."""

    backlogs: dict[int, float] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    uses: dict[int, float] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    full_ones: set[int] = field(default_factory=set)
    down: set[int] = field(default_factory=set)
    sick: set[int] = field(default_factory=set)

    def backlog(self, sender_id: int) -> float:
        return self.backlogs.get(sender_id, 0)

    def rate(self, sender_id: int, destination: Destination) -> float:
        return self.rates.get(sender_id, 1.0)

    def last_used(self, sender_id: int) -> float:
        return self.uses.get(sender_id, 0.0)

    def mappings(self, sender_id: int) -> int:
        return self.counts.get(sender_id, 0)

    def full(self, sender_id: int) -> bool:
        return sender_id in self.full_ones

    def carrier_up(self, carrier_id: int) -> bool:
        return carrier_id not in self.down

    def healthy(self, sender_id: int) -> bool:
        return sender_id not in self.sick


def addresses(senders: Iterable[Sender]) -> set[str]:
    return {sender.address for sender in senders}

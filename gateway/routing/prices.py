"""What a message costs: by country, direction, type of sender and content
(docs/spec/messaging-services.md#further-features).

An SMS is priced by the segment, an MMS by the message. The most particular row counts: one that
names the country before one that does not, then the type of sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple, Self

from gateway.routing.sender_pool import SenderKind

DIRECTIONS: Final = ("outbound", "inbound")
SENDER_TYPES: Final = ("", *(kind.name.lower() for kind in SenderKind))
CONTENTS: Final = ("sms", "mms")
PLACES: Final = Decimal("0.00001")

_Key = tuple[str, str, str, str]  # country, direction, sender type, content


class Prices(NamedTuple):
    """One version of the table."""

    by_key: Mapping[_Key, Decimal]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, str]]) -> Self:
        """From checked rows."""
        return cls(
            {
                (row["country"], row["direction"], row["sender_type"], row["content"]): Decimal(
                    row["price"]
                )
                for row in rows
            }
        )

    def price(
        self, country: str, kind: SenderKind, segments: int, *, mms: bool, inbound: bool = False
    ) -> Decimal | None:
        """What a message costs; None where the table says nothing."""
        if not self.by_key:
            return None
        direction, content = DIRECTIONS[inbound], CONTENTS[mms]
        for where in (country, ""):
            for sender_type in (kind.name.lower(), ""):
                found = self.by_key.get((where, direction, sender_type, content))
                if found is not None:
                    return (found if mms else found * segments).quantize(PLACES)
        return None


FREE: Final = Prices({})

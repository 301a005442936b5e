"""Default rates and queue limits by sender and destination (docs/spec/messaging-services.md#rates,
docs/spec/messaging-services.md#queue-limits).

Rates are segments per second, or messages per second for media, RCS and WhatsApp. A sender's
own `mps` goes before all of this.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from gateway import data

QUEUE_S: Final = 36_000  # ten hours of segments; more is refused with 21611 or 30001
WHATSAPP_QUEUE_S: Final = 14_400

# MMS per second that all an account's numbers of a kind have together
# (docs/spec/messaging-services.md#token-bucket).
_ACCOUNT_MMS: Final = {"LONG_CODE": 50.0, "TOLL_FREE": 25.0}

_US_AND_CANADA: Final = frozenset({"US", "CA"})


class DestinationClass(IntEnum):
    """What of a destination a sender's rate depends on; a sender has a bucket for each."""

    INTERNATIONAL = 0
    US = 1
    CA = 2
    MEDIA = 3  # MMS, whatever the country: counted by message


def destination_class(country: str, media: bool = False) -> DestinationClass:
    """The class of a destination country (ISO)."""
    if media:
        return DestinationClass.MEDIA
    if country == "US":
        return DestinationClass.US
    return DestinationClass.CA if country == "CA" else DestinationClass.INTERNATIONAL


class Rate(NamedTuple):
    """A default: how fast, and how much may wait."""

    per_second: float
    queue: int


@cache
def _defaults() -> dict[str, list[Rate]]:
    defaults: dict[str, list[Rate]] = {}
    for row in data.rows("mps_defaults.csv"):
        rate = float(row["default_rate_per_second"])
        queue = int(row["max_queue"]) if row["max_queue"] else round(rate * QUEUE_S)
        defaults.setdefault(row["sender_type"], []).append(Rate(rate, queue))
    return defaults


def _sender_type(kind: str, sender_country: str, destination_country: str, media: bool) -> str:
    """The row of ``mps_defaults.csv``."""
    if kind in ("WHATSAPP", "RCS"):
        return kind.lower()
    if media:
        return {"TOLL_FREE": "mms_toll_free", "SHORT_CODE": "mms_short_code"}.get(
            kind, "mms_long_code"
        )
    match kind:
        case "ALPHA":
            return "alphanumeric"
        case "SHORT_CODE":
            return "short_code"
        case "TOLL_FREE":
            return "toll_free_us_ca"
        case _:
            if sender_country not in _US_AND_CANADA or destination_country not in _US_AND_CANADA:
                return "long_code_any"
            return "local_us_a2p" if destination_country == "US" else "local_or_mobile_us_ca"


def default_rate(
    kind: IntEnum, sender_country: str, destination_country: str, *, media: bool = False
) -> Rate:
    """The default of a sender kind (by its name: LONG_CODE, TOLL_FREE, …) and two countries.

    A long code of the US sends at 1 to the US and Canada and at 10 elsewhere; between US and CA
    the campaign's real rate, where there is one, is set on the sender or campaign.
    """
    rows = _defaults()[_sender_type(kind.name, sender_country, destination_country, media)]
    return rows[0]  # rows of one sender type differ in basis only


def account_mms_rate(kind: IntEnum) -> float | None:
    """MMS per second of all numbers of a kind, of one parent account; None: no limit."""
    return _ACCOUNT_MMS.get(kind.name)


def queue_limit(per_second: float, *, whatsapp: bool = False) -> int:
    """How many segments may wait for a sender of this rate
    (docs/spec/messaging-services.md#queue-limits)."""
    return round(per_second * (WHATSAPP_QUEUE_S if whatsapp else QUEUE_S))

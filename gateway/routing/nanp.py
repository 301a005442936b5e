"""The North American Numbering Plan: area codes, overlays, regions
(docs/spec/messaging-services.md#nanp-data).

Overlay is a relation of pairs, not membership in a group: 404 and 770 both overlay with
678, and not with each other.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from gateway import data

# They count as one country with the US where they have no sender of their own
# (docs/spec/messaging-services.md#priority-by-type).
US_TERRITORIES: Final = frozenset({"PR", "VI", "GU", "AS", "MP"})


class NumberKind(IntEnum):
    """What a number is for, as far as its digits tell."""

    GEOGRAPHIC = 0  # also every mobile and any number of a country outside the NANP
    TOLL_FREE = 1
    PREMIUM = 2
    NON_GEOGRAPHIC = 3
    CARRIER_SERVICE = 4
    US_GOVERNMENT = 5


class AreaCode(NamedTuple):
    """One code of the plan; `overlays` holds the codes that serve the same ground."""

    code: str
    country: str  # ISO; empty where the code belongs to the whole plan
    region: str  # state or province; `NS/PE` and `NT/YT/NU` are shared
    kind: NumberKind
    overlays: frozenset[str]
    in_service: bool


@cache
def area_codes() -> dict[str, AreaCode]:
    """Every assigned code, planned ones too, by its three digits."""
    return {
        row["area_code"]: AreaCode(
            row["area_code"],
            row["country"],
            row["region"],
            NumberKind[row["type"].upper()],
            frozenset(row["overlay_codes"].split("|")) - {""},
            row["status"] == "in_service",
        )
        for row in data.rows("nanp_area_codes.csv")
    }


def area_code(code: str | None) -> AreaCode | None:
    """The geographic code in service, or None: planned codes must not match
    (docs/spec/messaging-services.md#nanp-data)."""
    found = area_codes().get(code or "")
    if found is None or not found.in_service or found.kind is not NumberKind.GEOGRAPHIC:
        return None
    return found


def overlays(code: str) -> frozenset[str]:
    """The codes in service that overlay `code`, without itself."""
    found = area_code(code)
    if found is None:
        return frozenset()
    return frozenset(other for other in found.overlays if area_code(other) is not None)


def region(code: str | None) -> str:
    """The state or province of a code, empty if it has none."""
    found = area_code(code)
    return found.region if found is not None else ""

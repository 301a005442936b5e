"""What is known of carriers and countries: who serves a number, and what works there.

Operators fill these tables; where they are silent the answer is the hopeful one of
docs/spec/messaging-services.md#priority-by-type and docs/spec/messaging-services.md#converter:
short codes reach unknown carriers, and so does MMS in the US and Canada.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.routing import alpha
from gateway.routing.alpha import AlphaCountry, Preregistration
from gateway.routing.prices import FREE, Prices

_UNKNOWN_COUNTRY: Final = AlphaCountry("", False, Preregistration.NONE, "")


class PrefixTable:
    """Longest-prefix match from E.164 digits (no plus) to a carrier's name."""

    __slots__ = ("_carriers", "_lengths")

    def __init__(self, carriers: Mapping[str, str] | None = None) -> None:
        self._carriers = dict(carriers or {})
        self._lengths = sorted({len(prefix) for prefix in self._carriers}, reverse=True)

    def find(self, e164: str) -> str:
        """The carrier of `e164`, empty when no prefix matches."""
        for length in self._lengths:
            carrier = self._carriers.get(e164[1 : length + 1])
            if carrier is not None:
                return carrier
        return ""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """One snapshot of the tables; replaced whole when an operator edits them."""

    prefixes: PrefixTable = field(default_factory=PrefixTable)
    # (country, carrier) pairs that do not take the country's short codes, or MMS.
    without_short_codes: frozenset[tuple[str, str]] = frozenset()
    without_mms: frozenset[tuple[str, str]] = frozenset()
    mms_countries: frozenset[str] = frozenset({"US", "CA"})
    toll_free_destinations: bool = False  # whether the connectors take toll-free numbers as To
    prices: Prices = FREE
    alpha_countries: Mapping[str, AlphaCountry] = field(default_factory=alpha.packaged)

    def carrier_of(self, e164: str) -> str:
        """The carrier by prefix, empty when unknown."""
        return self.prefixes.find(e164)

    def takes_short_codes(self, country: str, carrier: str) -> bool:
        """Whether the carrier delivers the country's short codes
        (docs/spec/messaging-services.md#priority-by-type)."""
        return (country, carrier) not in self.without_short_codes

    def takes_mms(self, country: str, carrier: str) -> bool:
        """Whether MMS can reach this carrier (docs/spec/messaging-services.md#converter)."""
        return country in self.mms_countries and (country, carrier) not in self.without_mms

    def alpha(self, country: str) -> AlphaCountry:
        """How the country treats alphanumeric senders; not at all when it is unknown."""
        return self.alpha_countries.get(country, _UNKNOWN_COUNTRY)


DEFAULT: Final = NetworkFacts()

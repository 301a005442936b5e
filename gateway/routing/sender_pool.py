"""A service's senders as an immutable snapshot with the indexes selection needs.

A pool is built once and replaced whole when configuration changes; nothing here is scanned
per message. Every index answers a `CandidateGroup`: an ordered, immutable set of senders that stays
the same object for the life of the pool, so that standings can be kept per group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from gateway.routing.nanp import US_TERRITORIES, overlays, region

YEAR_S: Final = 365 * 86_400.0
_US_AND_CANADA: Final = frozenset({"US", "CA"})


class SenderKind(IntEnum):
    """What a sender is."""

    LONG_CODE = 0
    TOLL_FREE = 1
    SHORT_CODE = 2
    ALPHA = 3
    WHATSAPP = 4
    RCS = 5


@dataclass(frozen=True, slots=True)
class Sender:
    """One member of a pool."""

    id: int
    sid: str
    kind: SenderKind
    address: str  # E.164, short code, alphanumeric ID or channel address
    country: str  # ISO; empty for alphanumeric senders
    area_code: str | None = None
    sms: bool = True
    mms: bool = False
    rate: float | None = None  # segments per second, overrides the default of its kind
    carrier_id: int = 0
    destination_country: str = ""  # alphanumeric: the one country it is for, "" for all
    added_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a Messaging Service says about selection and content
    (docs/spec/messaging-services.md#settings-of-a-service)."""

    sticky: bool = True
    area_code_geomatch: bool = True
    smart_encoding: bool = True
    mms_converter: bool = True
    validity_s: int = 36_000
    sender_id_prereg_alert: bool = False

    # Extensions, off unless set.
    # docs/spec/messaging-services.md#selection-of-alphanumeric-ids: skip unregistered senders where
    # required
    strict_preregistration: bool = False
    # (alphanumeric sender, country) pairs with an approved registration
    registrations: frozenset[tuple[str, str]] = frozenset()
    # country -> kinds in the order to try before the built-in order
    kind_priority: Mapping[str, tuple[SenderKind, ...]] = field(default_factory=dict)
    # country -> kind -> share of recipients
    kind_weights: Mapping[str, Mapping[SenderKind, int]] = field(default_factory=dict)
    skip_unhealthy: bool = False
    region_fallback: bool = False  # same state or province before any number
    # a mapping unused for so long is void (docs/spec/messaging-services.md#sticky-sender)
    sticky_ttl_s: float = YEAR_S


class CandidateGroup:
    """Senders that are equal candidates, by ascending sid. Compared by identity."""

    __slots__ = ("__weakref__", "senders")

    def __init__(self, senders: Iterable[Sender]) -> None:
        self.senders = tuple(sorted(senders, key=lambda sender: sender.sid))

    def __len__(self) -> int:
        return len(self.senders)

    def __bool__(self) -> bool:
        return bool(self.senders)

    def __iter__(self) -> Iterator[Sender]:
        return iter(self.senders)


NOBODY: Final = CandidateGroup(())


class _Index:
    """The groups of one content need (text or media), made when first asked for."""

    __slots__ = ("_areas", "_countries", "_groups", "_kinds")

    def __init__(self, senders: Iterable[Sender]) -> None:
        self._groups: dict[Hashable, CandidateGroup] = {}
        self._kinds: dict[SenderKind, list[Sender]] = {}
        self._countries: dict[tuple[SenderKind, str], list[Sender]] = {}
        self._areas: dict[str, list[Sender]] = {}
        for sender in senders:
            self._kinds.setdefault(sender.kind, []).append(sender)
            self._countries.setdefault((sender.kind, sender.country), []).append(sender)
            if (
                sender.kind is SenderKind.LONG_CODE
                and sender.area_code
                and sender.country in _US_AND_CANADA
            ):
                self._areas.setdefault(sender.area_code, []).append(sender)

    def group(self, key: Hashable, members: Callable[[], Iterable[Sender]]) -> CandidateGroup:
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = CandidateGroup(members()) or NOBODY
        return found

    def of(self, kind: SenderKind, country: str | None = None) -> Iterable[Sender]:
        if country is None:
            return self._kinds.get(kind, ())
        return self._countries.get((kind, country), ())

    def areas(self, codes: Iterable[str]) -> Iterable[Sender]:
        for code in codes:
            yield from self._areas.get(code, ())

    def area_codes(self) -> Iterable[str]:
        return self._areas.keys()

    def groups(self) -> Iterable[CandidateGroup]:
        return self._groups.values()


class SenderPool:
    """The senders of one service and its settings."""

    __slots__ = ("_media", "_text", "by_address", "by_id", "empty", "senders", "settings")

    def __init__(self, senders: Iterable[Sender], settings: ServiceSettings | None = None) -> None:
        self.senders: Final = tuple(sorted(senders, key=lambda sender: sender.sid))
        self.settings: Final = settings if settings is not None else ServiceSettings()
        self.empty: Final = not self.senders
        self.by_id: Final = {sender.id: sender for sender in self.senders}
        # More than one only for an alphanumeric ID that is listed for several countries.
        self.by_address: Final[dict[str, list[Sender]]] = {}
        for sender in self.senders:
            self.by_address.setdefault(sender.address, []).append(sender)
        self._text: Final = _Index(sender for sender in self.senders if sender.sms)
        self._media: Final = _Index(sender for sender in self.senders if sender.mms)

    def replaced_by(self, other: SenderPool) -> SenderPool:
        """`other`, or this pool where it says the same: so that its groups live on."""
        same = self.senders == other.senders and self.settings == other.settings
        return self if same else other

    def groups(self) -> Iterable[CandidateGroup]:
        """The groups that were asked for so far."""
        yield from self._text.groups()
        yield from self._media.groups()

    def _index(self, media: bool) -> _Index:
        return self._media if media else self._text

    def of(self, kind: SenderKind, country: str | None, media: bool) -> CandidateGroup:
        """Senders of one kind, of one country or of all."""
        index = self._index(media)
        return index.group((kind, country), lambda: index.of(kind, country))

    def short_codes(self, country: str, media: bool) -> CandidateGroup:
        """Short codes of a country."""
        return self.of(SenderKind.SHORT_CODE, country, media)

    def alpha(self, country: str, media: bool) -> CandidateGroup:
        """Alphanumeric senders for a country: its own, else the defaults
        (docs/spec/messaging-services.md#priority-by-type)."""
        index = self._index(media)

        def members() -> Iterable[Sender]:
            senders = list(index.of(SenderKind.ALPHA))
            own = [sender for sender in senders if sender.destination_country == country]
            return own or [sender for sender in senders if not sender.destination_country]

        return index.group(("alpha", country), members)

    def long_codes(self, country: str, media: bool) -> CandidateGroup:
        """Long codes of a country."""
        return self.of(SenderKind.LONG_CODE, country, media)

    def toll_free(self, media: bool) -> CandidateGroup:
        """Toll-free numbers; those of the NANP serve the US, Canada and the US territories."""
        return self.of(SenderKind.TOLL_FREE, None, media)

    def us_numbers(self, media: bool) -> CandidateGroup:
        """US long codes and toll-free numbers: one tier for US recipients
        (docs/spec/messaging-services.md#priority-by-type)."""
        index = self._index(media)
        return index.group(
            "us numbers",
            lambda: [*index.of(SenderKind.LONG_CODE, "US"), *index.of(SenderKind.TOLL_FREE)],
        )

    def area(self, code: str, media: bool) -> CandidateGroup:
        """US and CA long codes with this area code
        (docs/spec/messaging-services.md#area-code-geomatch a)."""
        index = self._index(media)
        return index.group(("area", code), lambda: index.areas((code,)))

    def overlay(self, code: str, media: bool) -> CandidateGroup:
        """US and CA long codes whose area code overlays this one
        (docs/spec/messaging-services.md#area-code-geomatch b)."""
        index = self._index(media)
        return index.group(("overlay", code), lambda: index.areas(overlays(code)))

    def same_region(self, code: str, media: bool) -> CandidateGroup:
        """US and CA long codes of the state or province of this area code."""
        index = self._index(media)

        def members() -> Iterable[Sender]:
            wanted = region(code)
            if not wanted:
                return ()
            return index.areas(other for other in index.area_codes() if region(other) == wanted)

        return index.group(("region", code), members)

    def foreign(self, to_us_or_canada: bool, media: bool) -> CandidateGroup:
        """Long codes of any country but the US that reach it
        (docs/spec/messaging-services.md#sticky-sender step 8).

        Carriers in the US and Canada refuse numbers from outside
        (docs/spec/messaging-services.md#priority-by-type); those of the US territories count as
        domestic.
        """
        index = self._index(media)

        def members() -> Iterable[Sender]:
            for sender in index.of(SenderKind.LONG_CODE):
                if sender.country == "US":
                    continue
                if not to_us_or_canada or crosses_into_us(sender.country):
                    yield sender

        return index.group(("foreign", to_us_or_canada), members)


def crosses_into_us(sender_country: str) -> bool:
    """Whether carriers in the US and Canada take long codes of this country
    (docs/spec/messaging-services.md#priority-by-type)."""
    return sender_country in _US_AND_CANADA or sender_country in US_TERRITORIES

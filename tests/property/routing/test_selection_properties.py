"""The selector against a slow reference, on random pools, settings and histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_selector import reference

from gateway.routing.destination import Destination, parse_destination
from gateway.routing.explain import explain
from gateway.routing.nanp import overlays
from gateway.routing.networks import NetworkFacts, PrefixTable
from gateway.routing.selector import Mapping, Needs, select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool, ServiceSettings

EXAMPLES = max(2_000, settings().max_examples)

NUMBERS = [
    "+12125550100", "+16465550101", "+19175550102", "+17185550103", "+14045550104",
    "+17705550105", "+16785550106", "+14165550107", "+16475550108", "+15145550109",
    "+17875550110", "+16715550111", "+18765550112", "+447400123456", "+447911123456",
    "+4915123456789", "+33612345678", "+971501234567", "+5215512345678", "+18005550113",
    "+19005550114", "+15005550115", "+16005550116", "+17105550117", "+881612345678",
]  # fmt: skip
LONG_CODES = [number for number in NUMBERS if number[2:5] not in ("800", "900", "500", "710")]


@dataclass
class FixedLoad:
    """Random but fixed facts, by sender id."""

    backlogs: dict[int, int] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    uses: dict[int, float] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    full_ones: frozenset[int] = frozenset()
    down: frozenset[int] = frozenset()

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


class Scenario(NamedTuple):
    destination: Destination
    needs: Needs
    pool: SenderPool
    load: FixedLoad
    mapping: Mapping | None
    explicit: str | None
    facts: NetworkFacts


def destination_of(text: str) -> Destination:
    destination = parse_destination(text)
    assert destination is not None
    return destination


DESTINATIONS = st.sampled_from([destination_of(number) for number in NUMBERS])
KINDS = (
    [(SenderKind.LONG_CODE, number) for number in LONG_CODES]
    + [(SenderKind.TOLL_FREE, "+18885550100"), (SenderKind.TOLL_FREE, "+18335550101")]
    + [(SenderKind.SHORT_CODE, country) for country in ("US", "GB", "DE", "CA", "AE")]
    + [(SenderKind.ALPHA, country) for country in ("", "", "GB", "DE", "AE", "US")]
)
FACTS = st.sampled_from(
    [
        NetworkFacts(),
        NetworkFacts(
            prefixes=PrefixTable({"4474": "A", "1212": "A", "49": "A"}),
            without_short_codes=frozenset({("GB", "A"), ("US", "A"), ("DE", "A")}),
            mms_countries=frozenset({"US", "CA", "GB", "PR"}),
            toll_free_destinations=True,
        ),
    ]
)
SETTINGS = st.builds(
    ServiceSettings,
    sticky=st.booleans(),
    area_code_geomatch=st.booleans(),
    strict_preregistration=st.booleans(),
    registrations=st.sampled_from([frozenset(), frozenset({("Acme0", "AE"), ("Acme", "AE")})]),
)


def _of(country: str) -> list[tuple[SenderKind, str]]:
    """Kinds for a pool that is about one country, with two numbers from elsewhere."""
    own = [
        (kind, place)
        for kind, place in KINDS
        if place in ("", country)
        or (kind is SenderKind.LONG_CODE and destination_of(place).country == country)
    ]
    return [*own, (SenderKind.LONG_CODE, "+12125550100"), (SenderKind.LONG_CODE, "+33612345678")]


# Half the pools are about one country: there the finer rules meet each other.
THEMES = st.sampled_from([KINDS] * 5 + [_of(country) for country in ("US", "CA", "GB", "DE", "AE")])
# kind and place, sms, mms, carrier, backlog, rate, last use, mappings, full
MEMBERS = THEMES.flatmap(
    lambda kinds: st.lists(
        st.tuples(
            st.sampled_from(kinds),
            st.sampled_from([(True, True), (True, False), (True, False), (False, True)]),
            st.integers(0, 2),
            st.tuples(st.integers(0, 3), st.sampled_from([0.5, 1.0, 10.0])),
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(0, 5),
        ),
        max_size=12,
    )
)


_BY_COUNTRY = {
    country: [one for one in map(destination_of, NUMBERS) if one.country == country]
    for country in {destination_of(number).country for number in NUMBERS}
}


def near(senders: list[Sender]) -> list[Destination]:
    """Destinations that the rules have something to say about in this pool.

    Of the members' own countries, area codes and overlays, and of what is beside them. Drawn
    without regard to the pool, a destination mostly is one that any US number reaches, and plain
    errors of the finer rules go unseen for thousands of examples.
    """
    found: list[Destination] = []
    for sender in senders:
        country = sender.country or sender.destination_country
        found += _BY_COUNTRY.get(country, ())[:2]
        if country == "US":
            found += _BY_COUNTRY["PR"]
        if sender.area_code is not None:
            codes = [sender.area_code, *sorted(overlays(sender.area_code))[:2]]
            found += [destination_of(f"+1{code}5550177") for code in codes]
    return list(dict.fromkeys(found))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    senders: list[Sender] = []
    load = FixedLoad()
    full: set[int] = set()
    for number, (what, can, carrier, queue, used, count, dice) in enumerate(draw(MEMBERS)):
        kind, place = what
        sms, mms = can
        country, area_code, address, only = place, None, f"{10000 + number}", ""
        if kind is SenderKind.LONG_CODE:
            where = destination_of(place)
            country, area_code = where.country, where.area_code
            address = f"{place[:-2]}{number:02}"
        elif kind is SenderKind.TOLL_FREE:
            country, address = "US", f"{place[:-2]}{number:02}"
        elif kind is SenderKind.ALPHA:
            country, only, mms, sms = "", place, False, True
            address = "Acme" if dice % 2 else f"Acme{number}"
        senders.append(
            Sender(
                number, f"S{number:02}", kind, address, country, area_code, sms, mms,
                carrier_id=carrier, destination_country=only,
            )
        )  # fmt: skip
        load.backlogs[number], load.rates[number] = queue
        load.uses[number], load.counts[number] = float(used), count
        if dice == 5:
            full.add(number)
    load.full_ones = frozenset(full)
    load.down = draw(st.sampled_from([frozenset(), frozenset({1}), frozenset({0, 1, 2})]))
    one = st.integers(0, max(0, len(senders)))
    mapped = draw(st.none() | one)
    named = draw(st.none() | st.none() | one)
    explicit = None
    if named is not None:
        explicit = senders[named].address if named < len(senders) else "+15550009999"
    neighbours = near(senders)
    from_afar = not neighbours or draw(st.integers(0, 4)) == 0
    return Scenario(
        draw(DESTINATIONS if from_afar else st.sampled_from(neighbours)),
        Needs(media=draw(st.booleans())),
        SenderPool(senders, draw(SETTINGS)),
        load,
        None if mapped is None else Mapping(mapped, 0.0, 0.0),
        explicit,
        draw(FACTS),
    )


def standing_like(load: FixedLoad, pool: SenderPool) -> SenderLoads:
    """A standing with the same facts."""
    loads = SenderLoads(load.rate)
    for sender in pool.senders:
        loads.assigned(sender.id, int(load.backlog(sender.id)), load.last_used(sender.id))
        loads.mapped(sender.id, load.mappings(sender.id))
        if load.full(sender.id):
            loads.set_limit(sender.id, 0)
    for carrier_id in load.down:
        loads.set_carrier(carrier_id, up=False)
    return loads


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_the_selector_agrees_with_the_reference_and_with_its_explanation(
    scenario: Scenario,
) -> None:
    expected = reference(*scenario)
    assert select(*scenario) == expected
    explanation = explain(*scenario)
    assert explanation.choice == expected
    chosen = [verdict.sender for verdict in explanation.verdicts if verdict.chosen]
    assert chosen == ([expected.sender] if expected.sender is not None else [])
    quick: Any = standing_like(scenario.load, scenario.pool)
    assert select(*scenario[:3], quick, *scenario[4:]) == expected


EVENTS = st.lists(
    st.tuples(st.sampled_from("aaasmmulhdr"), st.integers(0, 11), st.integers(1, 5)),
    max_size=80,
)


@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(EVENTS, st.booleans(), st.booleans())
def test_standing_agrees_with_a_scan_after_any_history(
    events: list[tuple[str, int, int]], sticky: bool, by_health: bool
) -> None:
    senders = [
        Sender(n, f"S{n:02}", SenderKind.LONG_CODE, f"+33612345{n:03}", "FR", carrier_id=n % 3)
        for n in range(12)
    ]
    pool = SenderPool(senders, ServiceSettings(sticky=sticky, skip_unhealthy=by_health))
    rates = dict.fromkeys(range(12), 1.0)
    loads = SenderLoads(lambda sender_id, _: rates[sender_id])
    scanned = type("Scanned", (), {})()  # the same facts behind another type: no heap
    for name in ("backlog", "rate", "last_used", "mappings", "full", "carrier_up", "healthy"):
        setattr(scanned, name, getattr(loads, name))
    destination, needs = destination_of("+33612345678"), Needs()
    for at, (event, number, amount) in enumerate(events):
        match event:
            case "a":
                loads.assigned(number, amount, float(at))
            case "s":
                loads.settled(number, amount)
            case "m":
                loads.mapped(number, amount)
            case "u":
                loads.mapped(number, -amount)
            case "l":
                loads.set_limit(number, float(amount))
            case "h":
                loads.set_healthy(number, amount % 2 == 0)
            case "d":
                loads.set_carrier(number % 3, amount % 2 == 0)
            case "r":
                rates[number] = float(amount)
                loads.rates_changed()
        fast = select(destination, needs, pool, loads, None)
        assert fast == select(destination, needs, pool, scanned, None)

"""What is remembered of where a plain From reaches is what the selector says each time."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.acceptance.decision import Decider
from gateway.acceptance.unassigned import UnassignedQueue
from gateway.directory.directory import Directory
from gateway.directory.sender_rates import SenderRates
from gateway.routing.countries import _SHARED, MAIN_COUNTRY
from gateway.routing.destination import parse_destination
from gateway.routing.nanp import area_codes
from gateway.routing.networks import NetworkFacts, PrefixTable
from gateway.routing.question import Needs
from gateway.routing.selector import select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool

SENDERS = (
    Sender(1, "PN1", SenderKind.LONG_CODE, "+447700900101", "GB", carrier_id=1),
    Sender(2, "PN2", SenderKind.LONG_CODE, "+12025550101", "US", carrier_id=1, mms=True),
    Sender(3, "PN3", SenderKind.TOLL_FREE, "+18005550101", "US", carrier_id=1),
    Sender(4, "SC4", SenderKind.SHORT_CODE, "60777", "GB", carrier_id=1),
    Sender(5, "SC5", SenderKind.SHORT_CODE, "77777", "US", carrier_id=1, mms=True),
    Sender(6, "AI6", SenderKind.ALPHA, "Tandem", "", carrier_id=1),
    Sender(7, "PN7", SenderKind.LONG_CODE, "+4915112345678", "DE", carrier_id=1, sms=False),
)
FACTS = (
    NetworkFacts(),
    NetworkFacts(toll_free_destinations=True, mms_countries=frozenset({"US", "GB"})),
    NetworkFacts(
        prefixes=PrefixTable({"447700": "small", "1202555": "regional"}),
        without_short_codes=frozenset({("GB", "small"), ("US", "regional")}),
    ),
    NetworkFacts(alpha_countries={}),
)
NUMBERS = [
    *(f"+{code}{'7' * 9}" for code in MAIN_COUNTRY),
    *(f"+{prefix}{'1234567890'[: 12 - len(prefix)]}" for prefix in _SHARED),
    *(f"+1{code}5550123" for code in area_codes()),
    *("+18005550123", "+447700900123", "+447500900123", "+447480900123", "+80012345678"),
    *("+8821234567890", "+979123456789"),
]
PLACES = [place for number in NUMBERS if (place := parse_destination(number)) is not None]

# One place to a number or an alphanumeric ID, and several networks to a short code.
NEAR = [
    place
    for number in ("+447700900123", "+447480900123", "+12025550123", "+12125550123")
    if (place := parse_destination(number)) is not None
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(SENDERS) | st.sampled_from(SENDERS[3:5]),
            st.sampled_from(NEAR) | st.sampled_from(PLACES),
            st.booleans(),
            st.just(FACTS[2]) | st.sampled_from(FACTS),
            st.sampled_from((0, 0, 0, 5)),
            st.sampled_from((False, False, False, True)),
        ),
        min_size=2,
        max_size=40,
    )
)
def test_it_is_what_the_selector_says(asked: list[tuple]) -> None:
    directory = Directory()
    rates = SenderRates(directory)
    loads = SenderLoads(rates.to)
    decider = Decider(directory, loads, UnassignedQueue(loads, rates.to))
    for sender, destination, media, facts, waiting, replaced in asked:
        if replaced:  # as a change of the configuration makes it anew
            sender = replace(sender, mms=not sender.mms)
        directory.facts = facts
        loads.set_limit(sender.id, 5)
        loads.assigned(sender.id, waiting, 0.0)
        needs = Needs(media=media)
        pool = SenderPool((sender,))
        by_rules = select(destination, needs, pool, loads, None, sender.address, facts)
        said = decider.reach(destination, sender, needs)
        assert (said.code, said.sender) == (by_rules.code, by_rules.sender)
        loads.settled(sender.id, waiting)

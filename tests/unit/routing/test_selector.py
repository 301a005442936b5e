"""Sender selection, rule by rule (docs/spec/messaging-services.md#sender-selection and
docs/spec/messaging-services.md#observable-checks)."""

from __future__ import annotations

from typing import Any

import pytest
from routing_builders import PlainLoad, alpha, long_code, pool, short_code, to, toll_free

from gateway.routing.networks import NetworkFacts, PrefixTable
from gateway.routing.selector import Channel, Choice, Mapping, Needs, select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool

GB = "+447400123456"
DE = "+4915123456789"
US = "+14155550100"
CA = "+14165550100"
MX = "+5215512345678"

US_646 = long_code(1, "+16465550101", mms=True)
US_404 = long_code(2, "+14045550101", mms=True)
US_678 = long_code(3, "+16785550101")
CA_416 = long_code(4, "+14165550111", mms=True)
FR = long_code(5, "+33612345678")
GB_LONG = long_code(6, "+447400000001")
GB_SHORT = short_code(7, "60777", "GB")
GB_ALPHA = alpha(8, "Tandem")
FREE = toll_free(9, mms=True)


def choose(
    members: SenderPool,
    number: str,
    load: Any = None,
    mapping: Mapping | None = None,
    needs: Needs | None = None,
    **given: Any,
) -> Choice:
    return select(to(number), needs or Needs(), members, load or PlainLoad(), mapping, **given)


def mapped(sender: Sender, last_used: float = 0.0) -> Mapping:
    return Mapping(sender.id, 0.0, last_used)


# docs/spec/messaging-services.md#observable-checks, the rows that selection alone decides.


def test_row_1_an_alpha_sender_goes_before_a_long_code() -> None:
    assert choose(pool(GB_ALPHA, GB_LONG), GB).sender is GB_ALPHA


def test_row_2_a_short_code_goes_before_both() -> None:
    assert choose(pool(GB_ALPHA, GB_LONG, GB_SHORT), GB).sender is GB_SHORT


def test_row_3_a_carrier_without_short_codes_gets_the_long_code_then_the_alpha() -> None:
    facts = NetworkFacts(
        prefixes=PrefixTable({"4474": "Example"}),
        without_short_codes=frozenset({("GB", "Example")}),
    )
    assert choose(pool(GB_ALPHA, GB_LONG, GB_SHORT), GB, facts=facts).sender is GB_LONG
    assert choose(pool(GB_ALPHA, GB_SHORT), GB, facts=facts).sender is GB_ALPHA
    assert choose(pool(GB_SHORT, US_646), GB, facts=facts).sender is US_646
    assert choose(pool(GB_SHORT), GB, facts=facts).code == 21703


def test_row_4_a_us_number_goes_before_any_other_for_the_rest_of_the_world() -> None:
    assert choose(pool(US_646, FR), DE).sender is US_646
    assert choose(pool(FR), DE).sender is FR
    assert choose(pool(), DE).code == 21704


def test_row_5_a_us_short_code_does_not_reach_mexico() -> None:
    assert choose(pool(short_code(1, "12345", "US")), MX).code == 21703


def test_row_6_an_overlay_code_goes_before_another_area() -> None:
    assert choose(pool(US_404, US_646), "+12125550100").sender is US_646
    either = pool(US_404, US_646, area_code_geomatch=False)
    assert choose(either, "+12125550100", PlainLoad(counts={1: 1})).sender is US_404
    assert choose(either, "+12125550100", PlainLoad(counts={2: 1})).sender is US_646


def test_row_7_overlay_is_not_transitive() -> None:
    assert choose(pool(US_404, US_678), "+17705550100").sender is US_678


@pytest.mark.parametrize("kind", ["plain", "standing"])
def test_row_8_a_hundred_contacts_spread_evenly_and_keep_their_sender(kind: str) -> None:
    senders = [long_code(n, f"+1415555020{n}") for n in range(1, 5)]
    members = pool(*senders)
    load: Any = PlainLoad() if kind == "plain" else SenderLoads(lambda *_: 1.0)
    kept: dict[str, Mapping] = {}
    for contact in range(100):
        number = f"+1415556{contact:04}"
        choice = choose(members, number, load)
        assert choice.sender is not None
        assert choice.new_mapping
        kept[number] = mapped(choice.sender)
        if isinstance(load, SenderLoads):
            load.mapped(choice.sender.id)
        else:
            load.counts[choice.sender.id] = load.mappings(choice.sender.id) + 1
    assert sorted(load.mappings(sender.id) for sender in senders) == [25, 25, 25, 25]
    for number, mapping in kept.items():
        again = choose(members, number, load, mapping)
        assert again.sender is members.by_id[mapping.sender_id]
        assert not again.new_mapping
        assert not again.drop_mapping


def test_row_9_sticky_off_neither_reads_nor_writes() -> None:
    off = pool(US_646, US_404, sticky=False)
    choice = choose(off, "+16465550199", mapping=mapped(US_404))
    assert choice == Choice(US_646)
    on = pool(US_646, US_404)
    assert choose(on, "+16465550199", mapping=mapped(US_404)).sender is US_404


def test_row_10_a_removed_sender_loses_its_mappings() -> None:
    choice = choose(pool(US_404), US, mapping=mapped(US_646))
    assert choice == Choice(US_404, new_mapping=True, drop_mapping=True)


def test_row_11_a_number_of_the_recipients_country_takes_over_from_a_foreign_one() -> None:
    choice = choose(pool(US_646, GB_LONG), GB, mapping=mapped(US_646))
    assert choice == Choice(GB_LONG, new_mapping=True, drop_mapping=True)


def test_row_12_a_short_code_does_not_take_over_from_a_number_of_the_country() -> None:
    assert choose(pool(GB_SHORT, GB_LONG), GB, mapping=mapped(GB_LONG)) == Choice(GB_LONG)


# docs/spec/messaging-services.md#priority-by-type reach and priority.


@pytest.mark.parametrize("number", [US, CA])
def test_foreign_long_codes_do_not_reach_the_us_and_canada(number: str) -> None:
    assert choose(pool(FR, GB_LONG), number).code == 21703


def test_toll_free_reaches_the_us_canada_and_territories_only() -> None:
    for number in (US, CA, "+17875550100"):
        assert choose(pool(FREE), number).sender is FREE
    assert choose(pool(FREE), DE).code == 21703


def test_toll_free_goes_before_long_codes_of_another_area_in_canada() -> None:
    assert choose(pool(CA_416, FREE), "+16045550100").sender is FREE


def test_a_local_or_overlay_number_goes_before_toll_free_in_canada() -> None:
    assert choose(pool(CA_416, FREE), CA).sender is CA_416
    assert choose(pool(CA_416, FREE), "+16475550100").sender is CA_416


def test_without_geomatch_toll_free_goes_first_in_canada() -> None:
    assert choose(pool(CA_416, FREE, area_code_geomatch=False), CA).sender is FREE


def test_toll_free_and_long_codes_are_one_tier_in_the_us() -> None:
    members = pool(US_404, FREE)
    assert choose(members, US, PlainLoad(counts={FREE.id: 1})).sender is US_404
    assert choose(members, US, PlainLoad(counts={US_404.id: 1})).sender is FREE


def test_a_local_match_wins_over_toll_free_in_the_us() -> None:
    members = pool(US_404, FREE)
    assert choose(members, "+14045550199", PlainLoad(counts={US_404.id: 9})).sender is US_404


def test_a_canadian_recipient_gets_a_canadian_number_before_a_us_one() -> None:
    assert choose(pool(US_404, CA_416), "+15145550100").sender is CA_416
    assert choose(pool(US_404), "+15145550100").sender is US_404
    assert choose(pool(CA_416), US).sender is CA_416


def test_a_territory_prefers_its_own_numbers_then_the_us() -> None:
    puerto_rico = long_code(20, "+17875550101")
    assert choose(pool(US_404, puerto_rico), "+17875550100").sender is puerto_rico
    assert choose(pool(US_404, CA_416), "+17875550100").sender is US_404
    assert (
        choose(pool(US_404, puerto_rico), "+17875550100", mapping=mapped(US_404)).sender is US_404
    )


def test_an_alpha_sender_for_the_country_goes_before_the_default() -> None:
    british = alpha(20, "TandemUK", "GB")
    assert choose(pool(GB_ALPHA, british), GB).sender is british
    assert choose(pool(GB_ALPHA, british), DE).sender is GB_ALPHA


def test_an_alpha_sender_is_not_used_where_the_country_has_none() -> None:
    assert choose(pool(GB_ALPHA, US_404), US).sender is US_404
    assert choose(pool(GB_ALPHA), US).code == 21703
    assert choose(pool(GB_ALPHA), "+32470123456").code == 21703


def test_an_alpha_sender_carries_no_media() -> None:
    facts = NetworkFacts(mms_countries=frozenset({"GB"}))
    members = pool(GB_ALPHA, long_code(20, "+447400000002", mms=True))
    chosen = choose(members, GB, needs=Needs(media=True), facts=facts).sender
    assert chosen is members.by_id[20]


def test_strict_preregistration_skips_an_unregistered_alpha_sender() -> None:
    emirates = "+971501234567"
    assert choose(pool(GB_ALPHA, US_404), emirates).sender is GB_ALPHA
    assert choose(pool(GB_ALPHA, US_404, strict_preregistration=True), emirates).sender is US_404
    registered = pool(
        GB_ALPHA,
        US_404,
        strict_preregistration=True,
        registrations=frozenset({("Tandem", "AE")}),
    )
    assert choose(registered, emirates).sender is GB_ALPHA


def test_media_needs_a_sender_with_mms_and_a_country_with_it() -> None:
    assert choose(pool(US_678, US_404), "+16785550199", needs=Needs(media=True)).sender is US_404
    assert choose(pool(US_678), US, needs=Needs(media=True)).code == 21703
    assert choose(pool(US_404), DE, needs=Needs(media=True)).code == 21703


# docs/spec/messaging-services.md#sticky-sender sticky.


def test_a_mapping_to_a_sender_without_mms_is_kept_but_not_used_for_media() -> None:
    choice = choose(pool(US_678, US_404), US, mapping=mapped(US_678), needs=Needs(media=True))
    assert choice == Choice(US_404, new_mapping=False, drop_mapping=False)


def test_a_mapping_to_a_sender_that_lost_its_reach_is_replaced() -> None:
    facts = NetworkFacts(alpha_countries={})
    choice = choose(pool(GB_ALPHA, GB_LONG), GB, mapping=mapped(GB_ALPHA), facts=facts)
    assert choice == Choice(GB_LONG, new_mapping=True, drop_mapping=True)


def test_a_mapping_to_an_alpha_sender_stays_when_numbers_come() -> None:
    members = pool(GB_ALPHA, GB_LONG, GB_SHORT)
    assert choose(members, GB, mapping=mapped(GB_ALPHA)) == Choice(GB_ALPHA)


def test_a_mapping_to_a_number_stays_when_an_alpha_sender_comes() -> None:
    assert choose(pool(GB_ALPHA, US_646), GB, mapping=mapped(US_646)) == Choice(US_646)


def test_an_area_code_match_does_not_break_a_mapping() -> None:
    assert choose(pool(US_404, US_646), "+16465550199", mapping=mapped(US_404)).sender is US_404


def test_a_mapping_unused_for_a_year_is_void() -> None:
    members = pool(US_404, US_646)
    old = mapped(US_404, last_used=0.0)
    year = 365 * 86_400.0
    assert choose(members, "+16465550199", mapping=old, now=year - 1).sender is US_404
    assert choose(members, "+16465550199", mapping=old, now=year) == Choice(
        US_646, new_mapping=True, drop_mapping=True
    )
    assert choose(
        pool(US_404, US_646, sticky_ttl_s=60.0), "+16465550199", mapping=old, now=61.0
    ).drop_mapping


def test_a_sticky_sender_is_not_replaced_because_it_is_full_or_down() -> None:
    busy = long_code(20, "+14155550120", carrier_id=7)
    members = pool(busy, US_404)
    assert choose(members, US, PlainLoad(full_ones={20}), mapped(busy)).code == 30001
    assert choose(members, US, PlainLoad(down={7}), mapped(busy)).sender is busy


def test_a_failure_may_still_drop_the_mapping() -> None:
    assert choose(pool(FR), US, mapping=mapped(FR)) == Choice(None, 21703, drop_mapping=True)


# docs/spec/messaging-services.md#scaler Scaler.


def test_sticky_off_takes_the_idle_sender_then_the_shortest_wait() -> None:
    one, two = long_code(20, "+14155550120"), long_code(21, "+14155550121")
    members = pool(one, two, sticky=False)
    assert choose(members, US, PlainLoad(backlogs={20: 1})).sender is two
    waits = PlainLoad(backlogs={20: 10, 21: 10}, rates={20: 10.0, 21: 1.0})
    assert choose(members, US, waits).sender is one


def test_ties_go_to_the_least_recently_used_then_the_lowest_sid() -> None:
    one, two = long_code(20, "+14155550120"), long_code(21, "+14155550121")
    members = pool(two, one)
    assert choose(members, US).sender is one
    assert choose(members, US, PlainLoad(uses={20: 5.0, 21: 3.0})).sender is two


def test_fewest_mappings_come_before_the_shortest_wait() -> None:
    one, two = long_code(20, "+14155550120"), long_code(21, "+14155550121")
    load = PlainLoad(backlogs={20: 100}, counts={20: 1, 21: 2})
    assert choose(pool(one, two), US, load).sender is one


def test_a_sender_whose_connector_is_down_is_passed_over_unless_all_are() -> None:
    one = long_code(20, "+14155550120", carrier_id=1)
    two = long_code(21, "+14155550121", carrier_id=2)
    members = pool(one, two)
    assert choose(members, US, PlainLoad(down={1})).sender is two
    assert choose(members, US, PlainLoad(down={1, 2})).sender is one


def test_full_senders_are_passed_over_and_30001_means_that_all_are_full() -> None:
    members = pool(US_404, US_646)
    assert choose(members, "+14045550199", PlainLoad(full_ones={2})).sender is US_646
    assert choose(members, "+14045550199", PlainLoad(full_ones={1, 2})).code == 30001


# docs/spec/messaging-services.md#explicit-from-with-messagingservicesid explicit From.


def test_an_explicit_sender_of_the_pool_is_used_and_mapped_if_nothing_is() -> None:
    members = pool(US_404, US_646)
    assert choose(members, US, explicit="+16465550101") == Choice(US_646, new_mapping=True)
    assert choose(members, US, mapping=mapped(US_404), explicit="+16465550101") == Choice(US_646)
    off = pool(US_404, US_646, sticky=False)
    assert choose(off, US, explicit="+16465550101") == Choice(US_646)


@pytest.mark.parametrize(
    ("sender", "number", "code"),
    [
        ("+15005550000", US, 21711),  # not in the pool
        ("tandem", GB, 21711),  # sender IDs are case-sensitive
        ("60777", US, 21606),  # a short code abroad
        ("Tandem", US, 21612),
        ("+33612345678", US, 21612),
        ("+18005550100", GB, 21612),
    ],
)
def test_an_explicit_sender_that_cannot_is_refused(sender: str, number: str, code: int) -> None:
    members = pool(US_404, FR, GB_SHORT, GB_ALPHA, FREE)
    assert choose(members, number, explicit=sender) == Choice(None, code)


def test_an_explicit_sender_without_mms_or_room_fails() -> None:
    members = pool(US_404, US_678)
    media = Needs(media=True)
    assert choose(members, US, explicit=US_678.address, needs=media).code == 21703
    full = PlainLoad(full_ones={US_678.id})
    assert choose(members, US, full, explicit=US_678.address).code == 30001


def test_an_explicit_alpha_sender_listed_for_several_countries_is_the_right_one() -> None:
    german, british = alpha(20, "Tandem", "DE"), alpha(21, "Tandem", "GB")
    assert choose(pool(german, british), GB, explicit="Tandem").sender is british


# docs/spec/messaging-services.md#nanp-data and docs/spec/messaging-services.md#channel-gate
# destinations and channels.


@pytest.mark.parametrize("number", ["+19005550100", "+17005550100", "+17105550100", "+15005550100"])
def test_special_numbers_take_no_messages(number: str) -> None:
    assert choose(pool(US_404), number).code == 21612
    assert choose(pool(US_404), number, explicit=US_404.address).code == 21612


def test_toll_free_recipients_depend_on_the_connectors() -> None:
    assert choose(pool(US_404), "+18005550199").code == 21612
    facts = NetworkFacts(toll_free_destinations=True)
    assert choose(pool(US_404), "+18005550199", facts=facts).sender is US_404


def channel_sender(number: int, kind: SenderKind, country: str) -> Sender:
    return Sender(number, f"XE{number:032x}", kind, f"{kind.name}:{number}", country)


def test_whatsapp_recipients_get_whatsapp_senders_of_their_country_first() -> None:
    american = channel_sender(20, SenderKind.WHATSAPP, "US")
    british = channel_sender(21, SenderKind.WHATSAPP, "GB")
    whatsapp = Needs(channel=Channel.WHATSAPP)
    assert choose(pool(american, british, GB_LONG), GB, needs=whatsapp).sender is british
    assert choose(pool(american, british), DE, needs=whatsapp).sender is american
    assert choose(pool(GB_LONG), GB, needs=whatsapp).code == 21703
    assert choose(pool(british), GB).code == 21703
    kept = choose(pool(american, british), DE, mapping=mapped(british), needs=whatsapp)
    assert kept == Choice(british)


def test_rcs_goes_first_when_the_recipient_can_and_is_never_sticky() -> None:
    agent = channel_sender(20, SenderKind.RCS, "GB")
    members = pool(agent, GB_LONG)
    assert choose(members, GB).sender is GB_LONG
    reachable = Needs(rcs_reachable=True)
    assert choose(members, GB, mapping=mapped(GB_LONG), needs=reachable) == Choice(agent)
    only_rcs = Needs(channel=Channel.RCS)
    assert choose(members, GB, needs=only_rcs) == Choice(agent)
    assert choose(pool(GB_LONG), GB, needs=only_rcs).code == 21703


# Extensions.


def test_kind_priority_of_a_country_comes_before_the_built_in_order() -> None:
    order = {"GB": (SenderKind.LONG_CODE, SenderKind.SHORT_CODE)}
    members = pool(GB_SHORT, GB_ALPHA, GB_LONG, kind_priority=order)
    assert choose(members, GB).sender is GB_LONG
    assert choose(pool(GB_ALPHA, kind_priority=order), GB).sender is GB_ALPHA
    assert choose(members, GB, mapping=mapped(GB_SHORT)).sender is GB_SHORT


def test_kind_weights_share_recipients_and_keep_each_with_its_kind() -> None:
    weights = {"US": {SenderKind.LONG_CODE: 1, SenderKind.TOLL_FREE: 3}}
    members = pool(US_404, FREE, kind_weights=weights)
    numbers = [f"+1415555{n:04}" for n in range(2000)]
    chosen = [choose(members, number).sender for number in numbers]
    assert chosen == [choose(members, number).sender for number in numbers]
    assert 0.70 < chosen.count(FREE) / len(chosen) < 0.80


def test_unhealthy_senders_are_skipped_only_when_asked_and_never_to_the_point_of_refusal() -> None:
    one, two = long_code(20, "+14155550120"), long_code(21, "+14155550121")
    sick = PlainLoad(sick={20})
    assert choose(pool(one, two), US, sick).sender is one
    assert choose(pool(one, two, skip_unhealthy=True), US, sick).sender is two
    assert choose(pool(one, two, skip_unhealthy=True), US, PlainLoad(sick={20, 21})).sender is one


def test_an_unhealthy_sender_is_passed_over_for_one_of_a_later_step_too() -> None:
    local, far = long_code(20, "+12065550120"), long_code(21, "+14155550121", carrier_id=5)
    to = "+12065550199"
    sick = PlainLoad(sick={20})
    assert choose(pool(local, far), to, sick).sender is local
    members = pool(local, far, skip_unhealthy=True)
    assert choose(members, to, PlainLoad()).sender is local
    assert choose(members, to, sick).sender is far
    assert choose(members, to, PlainLoad(sick={20, 21})).sender is local  # the first there is
    assert choose(members, to, PlainLoad(sick={20}, full_ones={21})).sender is local
    assert choose(members, to, PlainLoad(sick={20}, down={5})).sender is local
    both, sick_code = pool(GB_SHORT, GB_LONG, skip_unhealthy=True), PlainLoad(sick={GB_SHORT.id})
    assert choose(both, GB, sick_code).sender is GB_LONG
    assert choose(pool(GB_SHORT, skip_unhealthy=True), GB, sick_code).sender is GB_SHORT
    # A mapping holds, and so does a From.
    assert choose(members, to, sick, mapping=Mapping(20, 0.0, 0.0)).sender is local
    assert choose(members, to, sick, explicit=local.address).sender is local


def test_region_fallback_takes_the_same_state_before_any_number() -> None:
    san_diego = long_code(20, "+16195550120")
    load = PlainLoad(counts={20: 5})
    assert choose(pool(san_diego, US_404), "+12135550100", load).sender is US_404
    near = pool(san_diego, US_404, region_fallback=True)
    assert choose(near, "+12135550100", load).sender is san_diego

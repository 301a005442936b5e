"""Operators' tables, prices, and the health of senders: pure."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway import data
from gateway.routing.health import LAST, LEAST, REST_S, Health
from gateway.routing.prices import FREE, Prices
from gateway.routing.sender_pool import SenderKind
from gateway.routing.tables import TABLES, read, read_facts

HEADER = "country,direction,sender_type,content,price\n"


def prices(*rows: str) -> Prices:
    return Prices.of(read("prices", HEADER + "\n".join(rows)))


def test_the_packaged_tables_pass_their_own_checks() -> None:
    for name, table in TABLES.items():
        if table.packaged:
            assert len(read(name, data.text(table.packaged))) == 246


def test_facts_without_tables_are_the_packaged_ones() -> None:
    facts = read_facts({})
    assert facts.mms_countries == {"US", "CA"}
    assert facts.carrier_of("+12125550199") == ""
    assert facts.alpha("GB").supported
    assert facts.prices.by_key == {}


def test_each_table_changes_its_own_facts() -> None:
    facts = read_facts(
        {
            "carriers_by_prefix": "prefix,carrier\n44,One\n447400,Two\n",
            "carrier_support": "country,carrier,short_codes,mms\nGB,Two,no,yes\nUS,One,yes,no\n",
            "mms_countries": "country\nUS\nAU\n",
            "prices": HEADER + "GB,outbound,,sms,0.04\n",
        }
    )
    assert facts.carrier_of("+447400123456") == "Two"
    assert facts.carrier_of("+447500123456") == "One"
    assert not facts.takes_short_codes("GB", "Two")
    assert facts.takes_short_codes("GB", "One")
    assert not facts.takes_mms("US", "One")
    assert facts.takes_mms("AU", "")
    assert not facts.takes_mms("CA", "")


@pytest.mark.parametrize("digits", ["1", "1" * 15])
def test_prefixes_have_one_to_fifteen_digits(digits: str) -> None:
    assert read("carriers_by_prefix", f"prefix,carrier\n{digits},A\n")
    for bad in ("", digits + "x", "1" * 16):
        with pytest.raises(ValueError, match="row 1"):
            read("carriers_by_prefix", f"prefix,carrier\n{bad},A\n")


def test_an_sms_costs_by_segment_and_an_mms_by_message() -> None:
    table = prices("US,outbound,,sms,0.0079", "US,outbound,,mms,0.02")
    assert table.price("US", SenderKind.LONG_CODE, 3, mms=False) == Decimal("0.02370")
    assert table.price("US", SenderKind.LONG_CODE, 3, mms=True) == Decimal("0.02000")
    assert table.price("US", SenderKind.LONG_CODE, 1, mms=False, inbound=True) is None
    assert FREE.price("US", SenderKind.LONG_CODE, 1, mms=False) is None


def test_the_most_particular_row_counts() -> None:
    table = prices(
        ",outbound,,sms,1",
        ",outbound,alpha,sms,2",
        "GB,outbound,,sms,3",
        "GB,outbound,alpha,sms,4",
    )

    def price(country: str, kind: SenderKind) -> int:
        found = table.price(country, kind, 1, mms=False)
        assert found is not None
        return int(found)

    assert price("FR", SenderKind.LONG_CODE) == 1
    assert price("FR", SenderKind.ALPHA) == 2
    assert price("GB", SenderKind.LONG_CODE) == 3
    assert price("GB", SenderKind.ALPHA) == 4


# Health --------------------------------------------------------------------------------------


def test_a_sender_whose_messages_do_not_arrive_rests_and_comes_back() -> None:
    changes: list[tuple[int, bool]] = []
    health = Health(lambda sender, healthy: changes.append((sender, healthy)))
    for _ in range(LEAST - 1):
        health.outcome(1, False, 0.0)
    assert changes == []
    health.outcome(1, False, 0.0)
    assert changes == [(1, False)]
    health.rested(REST_S - 1)
    assert changes == [(1, False)]
    health.rested(REST_S)
    assert changes == [(1, False), (1, True)]
    health.outcome(1, False, REST_S)  # it begins anew
    assert len(changes) == 2


def test_half_of_the_last_messages_are_enough() -> None:
    changes: list[tuple[int, bool]] = []
    health = Health(lambda sender, healthy: changes.append((sender, healthy)))
    for number in range(2 * LAST):
        health.outcome(1, number % 2 == 0, 0.0)
    assert changes == []
    health.outcome(1, False, 0.0)
    health.outcome(1, False, 0.0)
    assert changes == [(1, False)]

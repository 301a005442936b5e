"""Carrier facts (docs/spec/messaging-services.md#priority-by-type,
docs/spec/messaging-services.md#converter)."""

from __future__ import annotations

from gateway.routing.networks import DEFAULT, NetworkFacts, PrefixTable


def test_the_longest_prefix_wins() -> None:
    table = PrefixTable({"4": "x", "44": "A", "4474": "B"})
    assert table.find("+447400123456") == "B"
    assert table.find("+447500123456") == "A"
    assert table.find("+4915123456789") == "x"
    assert table.find("+33612345678") == ""


def test_unknown_carriers_are_hoped_to_work() -> None:
    assert DEFAULT.takes_short_codes("GB", "")
    assert DEFAULT.takes_mms("US", "")
    assert not DEFAULT.takes_mms("GB", "")
    assert not DEFAULT.alpha("??").supported


def test_operators_say_what_does_not_work() -> None:
    facts = NetworkFacts(
        without_short_codes=frozenset({("GB", "A")}), without_mms=frozenset({("US", "B")})
    )
    assert not facts.takes_short_codes("GB", "A")
    assert facts.takes_short_codes("GB", "B")
    assert not facts.takes_mms("US", "B")
    assert facts.takes_mms("CA", "B")

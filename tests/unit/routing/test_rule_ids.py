"""A stored message keeps the reason it was given, whatever rules come later."""

from __future__ import annotations

import pytest
from routing_builders import PlainLoad, long_code, pool, to

from gateway.routing import selector
from gateway.routing.explain import explain
from gateway.routing.selector import RULES, RULES_BY_ID, Needs, Rule, select

ONE = long_code(1, "+447400000001")
GB = to("+447700900123")


def test_the_ids_that_are_stored_keep_their_names() -> None:
    """The ids of the messages that are in databases: none of these lines is ever to change."""
    assert {rule.id: rule.name for rule in RULES if rule.id <= 15} == {
        0: "pool is not empty",
        1: "destination takes messages",
        2: "country takes media",
        3: "explicit From",
        4: "RCS",
        5: "sticky sender",
        6: "WhatsApp",
        7: "kind priority and weights",
        8: "short code",
        9: "alphanumeric sender",
        10: "numbers of the country",
        11: "alphanumeric sender after numbers",
        12: "US numbers",
        13: "any other number",
        14: "no sender",
        15: "unhealthy sender",
    }
    assert len(RULES_BY_ID) == len(RULES)


def test_a_rule_in_the_middle_changes_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = select(GB, Needs(), pool(ONE), PlainLoad(), None)
    assert RULES_BY_ID[before.rule].name == "numbers of the country"
    new = Rule(16, "a new one", "docs/sender-selection.md", lambda question: None)
    longer = (*RULES[:4], new, *RULES[4:])
    monkeypatch.setattr(selector, "_STEPS", tuple((rule.id, rule.apply) for rule in longer))
    monkeypatch.setattr("gateway.routing.explain.RULES", longer)
    assert select(GB, Needs(), pool(ONE), PlainLoad(), None).rule == before.rule
    explanation = explain(GB, Needs(), pool(ONE), PlainLoad(), None)
    assert explanation.choice.rule == before.rule
    assert "a new one" in [step.rule for step in explanation.steps]

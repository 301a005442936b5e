"""Reasons for a choice."""

from __future__ import annotations

from routing_builders import PlainLoad, alpha, long_code, pool, short_code, to, toll_free

from gateway.routing.explain import Explanation, explain
from gateway.routing.selector import RULES, Mapping, Needs
from gateway.routing.sender_pool import SenderPool

GB = to("+447400123456")
US = to("+14155550100")
ONE = long_code(1, "+14155550101")
TWO = long_code(2, "+14155550102", carrier_id=2)
GB_LONG = long_code(3, "+447400000001")
GB_SHORT = short_code(4, "60777", "GB")


def reasons(explanation: Explanation) -> dict[str, str]:
    return {verdict.sender.address: verdict.reason for verdict in explanation.verdicts}


def about(members: SenderPool, load: PlainLoad | None = None) -> Explanation:
    return explain(US, Needs(), members, load or PlainLoad(), None)


def test_every_member_has_a_verdict_and_one_is_chosen() -> None:
    members = pool(GB_LONG, GB_SHORT, alpha(9, "Tandem"), toll_free(8), ONE)
    explanation = explain(GB, Needs(), members, PlainLoad(), None)
    assert [verdict.sender for verdict in explanation.verdicts] == list(members.senders)
    assert [v.sender for v in explanation.verdicts if v.chosen] == [GB_SHORT]
    assert reasons(explanation)["60777"] == "chosen: short code"
    assert "toll-free" in reasons(explanation)["+18005550100"]
    assert "short code" in reasons(explanation)["+447400000001"]


def test_the_steps_are_the_rules_up_to_the_one_that_decided() -> None:
    explanation = about(pool(ONE))
    assert [step.rule for step in explanation.steps] == [
        rule.name for rule in RULES[: len(explanation.steps)]
    ]
    assert explanation.steps[-1].outcome == "takes +14155550101 among 1"


def test_candidates_are_told_what_put_them_behind() -> None:
    members = pool(ONE, TWO)
    for load, reason in [
        (PlainLoad(counts={2: 5}), "has 5 mappings, the chosen one 0"),
        (PlainLoad(backlogs={2: 5}), "would wait 5.0 s, the chosen one 0.0 s"),
        (PlainLoad(uses={2: 5.0}), "was used more recently"),
        (PlainLoad(), "stands equal; the lower sid goes first"),
        (PlainLoad(full_ones={2}), "its queue is full"),
        (PlainLoad(down={2}), "its connector is down"),
    ]:
        assert reasons(about(members, load))["+14155550102"] == reason
    sick = pool(ONE, TWO, skip_unhealthy=True)
    assert "delivered" in reasons(about(sick, PlainLoad(sick={2})))["+14155550102"]


def test_who_is_passed_over_for_its_health_is_told() -> None:
    told = explain(
        GB, Needs(), pool(GB_LONG, ONE, skip_unhealthy=True), PlainLoad(sick={GB_LONG.id}), None
    )
    assert told.choice.sender is ONE
    assert "delivered" in reasons(told)[GB_LONG.address]
    outcomes = {step.rule: step.outcome for step in told.steps}
    assert "passed over" in outcomes["numbers of the country"]
    alone = explain(
        GB, Needs(), pool(GB_LONG, skip_unhealthy=True), PlainLoad(sick={GB_LONG.id}), None
    )
    assert alone.choice.sender is GB_LONG
    assert alone.steps[-1].rule == "unhealthy sender"


def test_a_failure_has_reasons_too() -> None:
    explanation = about(pool(GB_LONG, ONE), PlainLoad(full_ones={1}))
    assert explanation.choice.code == 30001
    assert reasons(explanation)["+14155550101"] == "its queue is full"
    assert "refuse foreign" in reasons(explanation)["+447400000001"]
    assert explanation.steps[-1].outcome == "fails with 30001"


def test_what_became_of_the_mapping_is_told() -> None:
    void = explain(GB, Needs(), pool(ONE, GB_LONG), PlainLoad(), Mapping(1, 0.0, 0.0))
    outcomes = {step.rule: step.outcome for step in void.steps}
    assert outcomes["sticky sender"] == "the stored mapping is void"
    rich = long_code(5, "+14155550105", mms=True)
    kept = explain(US, Needs(media=True), pool(ONE, rich), PlainLoad(), Mapping(1, 0.0, 0.0))
    outcomes = {step.rule: step.outcome for step in kept.steps}
    assert "kept" in outcomes["sticky sender"]
    assert kept.steps[-1].outcome.endswith("for this message only")

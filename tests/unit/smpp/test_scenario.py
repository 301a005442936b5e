"""Scenario files: what they say, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from smpp.smsc import CarrierScenario, Faults, Scenario, ScenarioError, ScenarioRule, parse
from smpp.smsc.scenario import MALFORMED, changed

EXAMPLES = Path(__file__).parents[3] / "examples" / "scenarios"


def test_an_empty_file_is_one_well_behaved_carrier():
    assert parse("") == Scenario()
    assert parse("").carriers == (CarrierScenario(),)
    assert not CarrierScenario().faults.any


def test_a_file_says_what_it_says():
    scenario = parse(
        """
        seed = 3
        [[carrier]]
        name = "a"
        throttle_per_s = 10
        [[carrier.rule]]
        prefix = "44"
        status = 0x58
        [[carrier.rule]]
        prefix = "49"
        stat = "none"
        [carrier.faults]
        stall_every = 5
        [[carrier]]
        name = "b"
        system_id = "b"
        network_stop = ["1800"]
        """
    )
    a, b = scenario.carriers
    assert scenario.seed == 3
    assert a.throttle_per_s == 10.0
    assert a.rules == (
        ScenarioRule(prefix="44", status=0x58),
        ScenarioRule(prefix="49", stat="none"),
    )
    assert a.faults == Faults(stall_every=5)
    assert a.faults.any
    assert b.network_stop == ("1800",)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("seed = 'x'", 1, "seed is a int"),
        ("\nsead = 1", 2, "sead is no key here"),
        ("carrier = 1", 1, "carrier is a list of tables"),
        ("seed = \n", 1, "Invalid value"),
        ("[[carrier]]\nport = 70000", 2, "port is between"),
        ("[[carrier]]\n\n[[carrier]]\nids = 'hex'\nreceipts = 'html'", 5, "receipts is one of"),
        ("[[carrier]]\nname='a'\n[[carrier]]\nname='a'\nsystem_id='b'", 2, "must differ"),
        (
            "[[carrier]]\n[[carrier.rule]]\nprefix='1'\n[[carrier.rule]]\nshare = 1.5",
            5,
            "share is between 0 and 1",
        ),
        (
            "[[carrier]]\n[[carrier.rule]]\nstat='OK'\n[[carrier]]\nname='b'\nsystem_id='b'\n"
            "[[carrier.rule]]\nstat = 'not one word'",
            8,
            "stat is one word",
        ),
        ("[[carrier]]\n[carrier.faults]\nmalformed = ['odd']", 3, "not odd"),
        ("[[carrier]]\n[carrier.faults]\nstall_s = true", 3, "stall_s is a float"),
        ("[[carrier]]\nrule = 3", 2, "rule is a list of tables"),
        ("[[carrier]]\nfaults = 3", 2, "faults is a table"),
        ("[[carrier]]\nnetwork_stop = [1]", 2, "network_stop is a list of strings"),
        (f"[[carrier]]\nsystem_id = '{'much too long for SMPP ' * 3}'", 2, "system_id has 1 to 64"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_the_reason(text, line, reason):
    with pytest.raises(ScenarioError) as error:
        parse(text, "some.toml")
    assert str(error.value).startswith(f"some.toml:{line}: ")
    assert reason in str(error.value)


def test_a_change_replaces_some_keys_and_keeps_the_rest():
    before = CarrierScenario(throttle_per_s=5.0, faults=Faults(stall_every=3, stall_s=2.0))
    after = changed(before, {"ids": "decimal", "faults": {"stall_every": 0}})
    assert after.ids == "decimal"
    assert after.throttle_per_s == 5.0
    assert after.faults == Faults(stall_every=0, stall_s=2.0)
    with pytest.raises(ScenarioError):
        changed(before, {"ids": 5})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_the_examples_are_right(path):
    assert parse(path.read_text(), path.name).carriers


def test_nasty_turns_on_every_misbehaviour():
    carrier = parse((EXAMPLES / "nasty.toml").read_text()).carriers[0]
    quiet = Faults()
    off = {"one_octet_writes", "drift_after", "drift_to"}  # each would hide the others
    for name in Faults.__dataclass_fields__:
        if name not in off:
            assert getattr(carrier.faults, name) != getattr(quiet, name), name
    assert set(MALFORMED) - set(carrier.faults.malformed) == {"huge_frame"}
    rules = carrier.rules
    for name in ScenarioRule.__dataclass_fields__:
        if name != "answer":  # that outcome nobody could reconcile
            assert any(getattr(rule, name) != getattr(ScenarioRule(), name) for rule in rules), name

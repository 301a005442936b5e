"""What the benchmark promises, and how it judges itself."""

from __future__ import annotations

import pytest

from bench.load import table
from bench.load.measure import Run
from bench.load.rows import Target, cpu_ratio, scale_targets, targets


def run(cpu_us: float = 100, carried: float = 1000, p99: float = 10) -> Run:
    percentiles = {"p50": 1.0, "p90": 2.0, "p99": p99, "p99.9": p99 * 2}
    return Run(1000, carried, carried, cpu_us, 10.0, percentiles, [(1000, 1)])


def test_a_ratio_compares_runs_of_the_same_round_only():
    # The machine was twice as slow in the second and third round, for both.
    ours = [run(100), run(200), run(200)]
    theirs = [run(50), run(100), run(100)]
    assert cpu_ratio(ours, theirs) == 2.0


def test_a_side_that_did_not_run_gives_no_verdict():
    found = targets({"single": {"tandem": [run()], "floor": [run(80)]}})
    verdicts = {(target.row, target.what): target.verdict for target in found}
    assert verdicts["single", "CPU / Kannel's"] == "not measured"
    assert verdicts["single", "CPU / floor's"] == "met"


@pytest.mark.parametrize(
    ("figure", "limit", "at_most", "verdict"),
    [
        (1.6, 1.6, True, "met"),
        (3.2, 1.6, True, "missed by 2.00x"),
        (1.0, 1.0, False, "met"),
        (2.5, 5.0, False, "missed by 2.00x"),
        (0.0, 5.0, False, "missed by 5000000000.00x"),
    ],
)
def test_a_verdict_says_by_how_much(figure: float, limit: float, at_most: bool, verdict: str):
    assert Target("row", "what", figure, limit, at_most).verdict == verdict


def test_bulk_is_held_against_the_single_sends_of_kannel():
    results = {
        "single": {"tandem": [run()], "kannel": [run(400, 500)]},
        "bulk": {"tandem": [run(40, 2000)], "floor": [run(20, 4000)]},
    }
    found = {target.what: target for target in targets(results) if target.row == "bulk"}
    assert found["CPU / Kannel's singles"].figure == pytest.approx(0.1)
    assert found["carried / Kannel's singles"].figure == pytest.approx(4.0)
    assert found["CPU / floor's"].met


def test_the_tables_have_a_line_for_every_side_and_target():
    results = {
        "single": {"tandem": [run()], "floor": [run(50)], "kannel": [run(300)]},
        "latency": {"tandem": [run(p99=30)]},
    }
    text = table.sides_table(results)
    assert "2.00x" in text.splitlines()[3]  # ours over the floor's
    assert "0.33x" in text.splitlines()[4]
    assert "30.00" in table.latency_table(results["latency"])
    verdicts = table.verdicts(targets(results))
    assert "latency: p99 " in verdicts
    assert "missed by 1.20x" in verdicts


def test_memory_and_growth_have_a_verdict_only_when_they_were_asked_for_and_full():
    assert scale_targets({"single"}, 700.0, [], []) == []
    memory, growth = scale_targets({"memory", "growth"}, 700.0, [], [])
    assert memory.verdict == "missed by 1.17x"
    assert growth.verdict == "not measured"
    (growth,) = scale_targets({"growth"}, None, [run(100)], [run(120)])
    assert growth.figure == pytest.approx(1.2)
    assert growth.met

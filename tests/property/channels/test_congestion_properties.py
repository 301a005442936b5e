"""Whatever a carrier answers, its rate keeps its promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.smpp.congestion import CLIMB_S, DECREASE, HOLD_S, LEAST_RATE, Aimd

CEILINGS = st.one_of(st.none(), st.floats(0.01, 10_000))
# (seconds to wait, what happens then)
EVENTS = st.lists(
    st.tuples(
        st.floats(0, 5), st.sampled_from(("taken", "congested", "echo", "tick", "faster", "slower"))
    ),
    max_size=200,
)


@given(CEILINGS, EVENTS)
def test_the_rate_stays_in_its_bounds_and_falls_at_most_once_per_hold(
    ceiling: float | None, events: list[tuple[float, str]]
) -> None:
    aimd = Aimd(ceiling, 0.0)
    now = last_fall = 0.0
    fell = False
    for wait, event in events:
        now += wait
        before = aimd.rate
        if event == "taken":
            aimd.taken(now)
        elif event == "tick":
            aimd.tick(now)
            assert aimd.rate is None or before is None or aimd.rate >= before
        elif event in ("faster", "slower"):
            if ceiling is not None:
                ceiling *= 2 if event == "faster" else 0.5
                aimd.set_ceiling(ceiling, now)
        elif aimd.congested("full", now if event == "congested" else now - 10, now):
            assert not fell or now - last_fall >= HOLD_S
            last_fall, fell = now, True
            assert aimd.rate is not None
        if aimd.rate is None:
            assert ceiling is None
        else:
            assert min(LEAST_RATE, ceiling or LEAST_RATE) <= aimd.rate
            assert ceiling is None or aimd.rate <= ceiling * (1 + 1e-9)
        assert aimd.lowered == bool(aimd.reason)
        assert aimd.lowered or aimd.rate == ceiling


@given(st.floats(0.01, 10_000), st.lists(st.floats(0, 3), max_size=50))
def test_once_the_congestion_is_over_the_configured_rate_is_back_in_time(
    ceiling: float, refusals: list[float]
) -> None:
    aimd = Aimd(ceiling, 0.0)
    now = 0.0
    for wait in refusals:
        now += wait
        aimd.congested("full", now, now)
    aimd.tick(now + CLIMB_S + 1e-6)
    assert aimd.rate == ceiling


@given(st.floats(1, 10_000), st.integers(1, 1000))
def test_a_step_down_is_never_smaller_than_half(ceiling: float, taken: int) -> None:
    aimd = Aimd(ceiling, 0.0)
    for number in range(taken):
        aimd.taken(number / taken)
    assert aimd.congested("full", 1.0, 1.0)
    assert aimd.rate is not None
    assert aimd.rate <= max(ceiling * DECREASE, LEAST_RATE)

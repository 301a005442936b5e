"""One unit of work can never end a stage: halves, and what is told of the unit that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.alerts import Alerts
from gateway.observe.wall import SET_ASIDE, Wall, Walls, described


class Told:
    """What alerts were raised."""

    def __init__(self) -> None:
        self.alerts: list[tuple[int, str, dict[str, Any]]] = []

    def alert(self, code: int, text: str, **about: Any) -> None:
        self.alerts.append((code, text, about))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def wall(told: Told) -> Wall:
    return Wall("test", cast(Alerts, told))


@given(st.lists(st.booleans(), max_size=60))
async def test_all_but_those_that_fail_are_done_once_and_in_order(broken: list[bool]) -> None:
    units = list(enumerate(broken))
    done: list[tuple[int, bool]] = []

    async def work(some: Sequence[tuple[int, bool]]) -> None:
        if any(fails for _, fails in some):
            raise KeyError("nobody thought of this")
        done.extend(some)

    outcome = await Wall("test", cast(Alerts, Told())).by_halves(units, work)
    assert done == [unit for unit in units if not unit[1]]
    assert [unit for unit, _ in outcome.failed] == [unit for unit in units if unit[1]]
    assert outcome.undone == []


async def test_a_database_that_is_away_is_no_units_fault(wall: Wall) -> None:
    done: list[int] = []

    async def work(some: Sequence[int]) -> None:
        if 2 in some and len(some) > 1:
            raise ValueError
        if 2 in some:
            raise ConnectionResetError("gone")
        done.extend(some)

    outcome = await wall.by_halves([1, 2, 3, 4], work)
    assert (done, outcome.failed, outcome.undone) == ([1], [], [2, 3, 4])
    assert isinstance(outcome.away, ConnectionResetError)


async def test_what_is_told_of_an_error_holds_nothing_of_the_message(wall: Wall) -> None:
    secret = "the text of a message"

    async def work(some: Sequence[int]) -> None:
        raise ValueError(secret)

    outcome = await wall.by_halves([1], work)
    [(_, why)] = outcome.failed
    assert secret not in why
    assert why.startswith("ValueError in work (observe/test_wall.py:")


def test_one_after_the_other_goes_on_behind_what_fails(wall: Wall) -> None:
    done: list[int] = []

    def work(unit: int) -> None:
        if unit == 2:
            raise ZeroDivisionError
        done.append(unit)

    assert [unit for unit, _ in wall.each([1, 2, 3], work)] == [2]
    assert done == [1, 3]


def test_a_wall_around_lets_only_the_databases_absence_through(wall: Wall, told: Told) -> None:
    with wall.around(resource="SM1"):
        raise KeyError("unforeseen")
    assert [(code, about["resource"]) for code, _, about in told.alerts] == [(SET_ASIDE, "SM1")]
    with pytest.raises(ConnectionError), wall.around():
        raise ConnectionError


def test_each_stage_has_one_wall_and_counts_what_it_set_aside(told: Told) -> None:
    walls = Walls(cast(Alerts, told))
    walls.of("accept").tell("why")
    assert walls.of("accept") is walls.of("accept")
    assert {wall.stage: wall.set_aside for wall in walls} == {"accept": 1}


def test_an_error_without_a_traceback_is_described_too() -> None:
    assert described(ValueError("secret")) == "ValueError in no frame of ours"

"""The total of what arrives unproven: never passed, given back, and the slow make room."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.http.unproven import SLOW_S, Unproven


@dataclass(eq=False)
class Connection:
    was_cut: bool = False

    def cut(self) -> None:
        self.was_cut = True


def test_the_total_is_reached_and_not_passed() -> None:
    unproven = Unproven(lambda: 0.0, most=100)
    first, second = Connection(), Connection()
    assert unproven.hold(first, 60)
    assert unproven.hold(second, 40)
    assert not unproven.hold(second, 1)
    assert unproven.octets == 60  # who is refused holds nothing more
    unproven.release(first)
    assert unproven.hold(second, 100)


def test_those_that_are_slow_make_room_for_others_the_oldest_first() -> None:
    now = [0.0]
    unproven = Unproven(lambda: now[0], most=100)
    slow = [Connection(), Connection()]
    for connection in slow:
        assert unproven.hold(connection, 50)
        now[0] += 1.0
    newcomer = Connection()
    now[0] = SLOW_S - 0.5
    assert not unproven.hold(newcomer, 50)
    now[0] = SLOW_S
    assert unproven.hold(newcomer, 50)
    assert [connection.was_cut for connection in slow] == [True, False]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans()), max_size=60))
def test_every_octet_that_is_counted_is_given_back(steps: list[tuple[int, int, bool]]) -> None:
    now = [0.0]
    unproven = Unproven(lambda: now[0], most=100)
    connections = [Connection() for _ in range(5)]
    for number, octets, ends in steps:
        now[0] += 1.0
        if ends:
            unproven.release(connections[number])
        else:
            unproven.hold(connections[number], octets)
        assert 0 <= unproven.octets <= 100
    for connection in connections:
        unproven.release(connection)
    assert unproven.octets == 0

"""What stands still is told once, with its reason, and told again when it is over."""

from __future__ import annotations

import pytest

from gateway.monitoring.watchdog import Changes, Patience, Reason, Sight, WaitingGroup, Watchdog

PATIENCE = Patience(stuck_s=60.0, slow_s=600.0, lost_s=30.0)


def sight(reason: Reason, *, place: object = "sender", left: int = 0, sid: str = "SM1") -> Sight:
    return Sight(place, WaitingGroup(1, "carrier", reason), left, 5, sid)  # type: ignore[arg-type]


def reasons(changes: Changes) -> tuple[list[Reason], list[Reason]]:
    return (
        [one.group.reason for one in changes.opened],
        [one.group.reason for one in changes.closed],
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_has_its_limit_and_nothing_is_said_before_it(reason: Reason) -> None:
    limit = PATIENCE.of(reason)
    dog = Watchdog(PATIENCE)
    assert reasons(dog.look(100.0, [sight(reason)])) == ([], [])
    assert reasons(dog.look(100.0 + limit - 0.001, [sight(reason)])) == ([], [])
    assert reasons(dog.look(100.0 + limit, [sight(reason)])) == ([reason], [])


def test_what_is_slow_by_will_gets_more_patience_than_what_is_broken() -> None:
    assert PATIENCE.of(Reason.NO_BIND) == PATIENCE.of(Reason.DATABASE) == 60.0
    assert PATIENCE.of(Reason.RATE) == PATIENCE.of(Reason.THROTTLED) == 600.0
    assert PATIENCE.of(Reason.LOST_WAKEUP) == 30.0


def test_an_episode_is_told_once_and_once_when_it_is_over() -> None:
    dog = Watchdog(PATIENCE)
    told = [reasons(dog.look(float(now), [sight(Reason.NO_BIND)])) for now in range(0, 200, 20)]
    assert [opened for opened, _ in told if opened] == [[Reason.NO_BIND]]
    [open_] = dog.episodes.values()
    assert (open_.seconds, open_.sid, open_.places, open_.waiting) == (180.0, "SM1", 1, 5)
    assert reasons(dog.look(200.0, [sight(Reason.NO_BIND, left=1)])) == ([], [Reason.NO_BIND])
    assert dog.episodes == {}


def test_an_episode_is_not_over_because_its_reason_is_another() -> None:
    """Each timeout slows the carrier down, and nothing has left."""
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_WINDOW)])
    assert reasons(dog.look(60.0, [sight(Reason.NO_WINDOW)])) == ([Reason.NO_WINDOW], [])
    for now in range(65, 1200, 5):
        reason = Reason.THROTTLED if now // 30 % 2 else Reason.NO_WINDOW
        assert dog.look(float(now), [sight(reason)]) == Changes([], [])
        [open_] = dog.episodes.values()
        assert (open_.group.reason, open_.seconds) == (reason, float(now))
    assert reasons(dog.look(1200.0, [sight(Reason.THROTTLED, left=1)]))[1] == [Reason.THROTTLED]


def test_what_was_never_stuck_has_the_patience_of_its_reason_after_a_change() -> None:
    """Only what is stuck stays so: 599 s of a rate are not stuck, nor 59 s of a full window."""
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_WINDOW)])
    dog.look(59.0, [sight(Reason.NO_WINDOW)])
    assert dog.look(599.0, [sight(Reason.THROTTLED)]) == Changes([], [])
    assert reasons(dog.look(600.0, [sight(Reason.THROTTLED)])) == ([Reason.THROTTLED], [])


def test_an_episode_is_over_when_nothing_waits_any_more() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_WINDOW)])
    dog.look(60.0, [sight(Reason.NO_WINDOW)])
    assert reasons(dog.look(65.0, [])) == ([], [Reason.NO_WINDOW])


def test_what_is_stuck_is_not_over_while_all_of_it_is_in_flight() -> None:
    flying = sight(Reason.IN_FLIGHT)._replace(under_way=True)
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_WINDOW)])
    assert dog.look(59.0, [flying]) == Changes([], [])
    assert dog.look(60.0, [sight(Reason.NO_WINDOW)]) == Changes([], [])  # it was empty for a moment
    assert reasons(dog.look(120.0, [sight(Reason.NO_WINDOW)])) == ([Reason.NO_WINDOW], [])
    assert dog.look(900.0, [flying]) == Changes([], [])
    assert dog.look(905.0, [sight(Reason.NO_WINDOW)]) == Changes([], [])
    answered = flying._replace(left=1)
    assert reasons(dog.look(910.0, [answered])) == ([], [Reason.NO_WINDOW])


def test_a_wake_up_that_is_seen_lost_once_does_not_change_the_reason() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_WINDOW)])
    dog.look(60.0, [sight(Reason.NO_WINDOW)])
    for now, reason in ((65.0, Reason.NO_WINDOW), (94.0, Reason.NO_WINDOW)):
        assert dog.look(now, [sight(Reason.LOST_WAKEUP)]) == Changes([], [])
        assert [episode.group.reason for episode in dog.episodes.values()] == [reason]
    dog.look(95.0, [sight(Reason.LOST_WAKEUP)])
    assert [episode.group.reason for episode in dog.episodes.values()] == [Reason.LOST_WAKEUP]


def test_what_is_broken_in_a_spot_is_its_reason_before_what_is_slow() -> None:
    """A sender that was slow for an hour must not hide that the bind is down."""
    dog = Watchdog(PATIENCE)
    slow = sight(Reason.RATE, place="slow", sid="SM0")
    dog.look(0.0, [slow])
    assert reasons(dog.look(600.0, [slow])) == ([Reason.RATE], [])
    both = [slow, sight(Reason.NO_BIND, place="other")]
    dog.look(610.0, both)
    assert dog.look(670.0, both) == Changes([], [])
    [episode] = dog.episodes.values()
    assert (episode.group.reason, episode.seconds, episode.sid, episode.places) == (
        Reason.NO_BIND,
        60.0,
        "SM1",
        2,
    )
    assert episode.waiting == 10
    assert dog.look(680.0, [slow]) == Changes([], [])
    [episode] = dog.episodes.values()
    assert (episode.group.reason, episode.seconds, episode.places) == (Reason.RATE, 680.0, 1)


def test_progress_begins_the_time_anew() -> None:
    dog = Watchdog(PATIENCE)
    for now, left in ((0.0, 0), (50.0, 1), (100.0, 1)):
        assert reasons(dog.look(now, [sight(Reason.NO_BIND, left=left)])) == ([], [])
    assert reasons(dog.look(110.0, [sight(Reason.NO_BIND, left=1)])) == ([Reason.NO_BIND], [])


def test_a_place_that_is_empty_for_a_moment_is_not_stuck() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_BIND)])
    dog.look(50.0, [])
    assert reasons(dog.look(70.0, [sight(Reason.NO_BIND)])) == ([], [])


def test_another_message_at_the_head_is_no_progress_when_nothing_left() -> None:
    """An expired head makes room for the next, and nothing was sent."""
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_BIND)])
    changes = dog.look(60.0, [sight(Reason.NO_BIND, sid="SM2")])
    assert [one.sid for one in changes.opened] == ["SM2"]


def test_many_senders_with_one_cause_are_one_episode_that_names_the_worst() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_BIND, place=0, sid="SM0")])
    many = [sight(Reason.NO_BIND, place=n, sid=f"SM{n}") for n in range(100)]
    dog.look(10.0, many)
    [one] = dog.look(60.0, many).opened
    assert (one.places, one.sid, one.seconds) == (1, "SM0", 60.0)
    assert dog.look(70.0, many) == Changes([], [])
    [one] = dog.episodes.values()
    assert (one.places, one.waiting) == (100, 500)


def test_what_a_sender_has_in_two_places_is_counted_once_with_what_is_in_rows() -> None:
    """It waits for two classes of destinations, for two reasons, and the queue is one."""
    dog = Watchdog(PATIENCE)
    group = WaitingGroup(1, "carrier", Reason.NO_BIND)
    lines = [
        Sight((1, "us"), group, 0, 1809, "SM1", 17_800, queue=1),
        Sight((1, "ca"), group._replace(reason=Reason.NO_WINDOW), 0, 1809, "SM2", 17_800, queue=1),
        Sight((2, "us"), group, 0, 5, "SM3", queue=2),
    ]
    dog.look(0.0, lines)
    dog.look(60.0, lines)
    [episode] = dog.episodes.values()
    assert (episode.places, episode.waiting, episode.in_rows) == (2, 1814, 17_800)


def test_a_cause_that_changes_does_not_begin_the_time_anew() -> None:
    """A bind that comes and goes, with nothing sent, is as bad as one that is down."""
    dog = Watchdog(PATIENCE)
    for now in range(0, 60, 10):
        reason = Reason.NO_BIND if now % 20 else Reason.NO_WINDOW
        assert reasons(dog.look(float(now), [sight(reason)])) == ([], [])
    assert reasons(dog.look(60.0, [sight(Reason.NO_WINDOW)])) == ([Reason.NO_WINDOW], [])


def test_only_a_wake_up_that_is_seen_lost_all_the_time_is_one() -> None:
    """With a rate or a window there is always a moment at which a message could just go."""
    dog = Watchdog(PATIENCE)
    for now in range(0, 200, 10):
        reason = Reason.LOST_WAKEUP if now % 20 else Reason.RATE
        assert reasons(dog.look(float(now), [sight(reason)])) == ([], [])
    for now in (200.0, 219.0):  # it is seen lost since 190
        assert reasons(dog.look(now, [sight(Reason.LOST_WAKEUP)])) == ([], [])
    assert reasons(dog.look(220.0, [sight(Reason.LOST_WAKEUP)])) == ([Reason.LOST_WAKEUP], [])


def test_places_that_are_gone_are_forgotten() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(0.0, [sight(Reason.NO_BIND, place=n) for n in range(1000)])
    dog.look(1.0, [])
    assert dog.still == {}
    assert len(dog._places) == 0

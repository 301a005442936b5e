"""What is kept of what comes again: bounds, owners, and when it is over."""

from __future__ import annotations

from gateway.runtime.second_sight import MOST_OCTETS, SEEN, SecondSight

Cache = SecondSight[str, int]


def keep(cache: Cache, key: str, value: int = 1, *, owner: int = 1, epoch: int = 0) -> None:
    for _ in range(2):
        cache.offer(owner, key, len(key), epoch, value)


def test_what_comes_once_is_not_kept() -> None:
    cache = Cache()
    cache.offer(1, "a", 1, 0, 7)
    assert cache.get("a", 0) is None
    cache.offer(1, "a", 1, 0, 8)
    assert cache.get("a", 0) == 8
    assert (cache.hits, cache.misses, len(cache)) == (1, 1, 1)


def test_another_epoch_ends_it_and_the_next_offer_takes_its_place() -> None:
    cache = Cache()
    keep(cache, "a", 7)
    assert cache.get("a", 1) is None
    cache.offer(1, "a", 1, 1, 8)
    assert cache.get("a", 1) == 8
    assert len(cache) == 1


def test_an_owner_has_so_many_and_gives_way_to_himself() -> None:
    cache = Cache(most_of_owner=3)
    keep(cache, "other", owner=2)
    for name in "abcd":
        keep(cache, name)
    assert [cache.get(name, 0) for name in "abcd"] == [None, 1, 1, 1]
    assert cache.get("other", 0) == 1


def test_where_all_places_are_taken_he_who_has_most_gives_way() -> None:
    cache = Cache(4, 3)
    for name in "abc":
        keep(cache, name)
    keep(cache, "other", owner=2)
    keep(cache, "third", owner=3)
    assert len(cache) == 4
    assert [cache.get(name, 0) for name in ("a", "b", "c", "other", "third")] == [None, 1, 1, 1, 1]


def test_keys_are_bounded_in_octets() -> None:
    cache = Cache()
    for size in (MOST_OCTETS, MOST_OCTETS + 1):
        keep(cache, "x" * size)
    assert len(cache) == 1


def test_what_came_once_is_forgotten_after_so_many_others() -> None:
    cache = Cache()
    cache.offer(1, "a", 1, 0, 1)
    for number in range(2 * SEEN):
        cache.offer(2, f"n{number}", 1, 0, 1)
    cache.offer(1, "a", 1, 0, 1)
    assert len(cache) == 0
    assert len(cache._seen) + len(cache._seen_before) <= 2 * SEEN


def test_one_that_is_off_keeps_nothing() -> None:
    cache = Cache(on=False)
    keep(cache, "a")
    assert cache.get("a", 0) is None

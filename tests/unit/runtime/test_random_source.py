"""Random numbers that are fetched many at a time."""

from __future__ import annotations

import pytest

from gateway.runtime.random_source import FETCH, Chance


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 32, 63, 64, 128, FETCH * 8, FETCH * 8 + 1])
def test_numbers_have_their_bits_all_of_them(bits: int) -> None:
    chance = Chance()
    numbers = [chance.getrandbits(bits) for _ in range(64)]
    assert all(0 <= number < 1 << bits for number in numbers)
    seen = 0
    for number in numbers:
        seen |= number
    assert seen == (1 << bits) - 1, "with 64 draws a bit that is never set is no chance"


def test_no_octet_is_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = iter([bytes(range(256)) * 16, bytes(range(255, -1, -1)) * 16])
    monkeypatch.setattr("gateway.runtime.random_source.os.urandom", lambda size: next(fetched))
    chance = Chance()
    taken = [chance.getrandbits(8) for _ in range(FETCH)]
    assert taken == list(range(256)) * 16
    assert chance.getrandbits(12) == 0xFFF  # of FF FE, the first twelve
    assert chance.getrandbits(8) == 0xFD


def test_what_is_left_over_is_not_joined_with_what_is_fetched() -> None:
    chance = Chance()
    chance.getrandbits((FETCH - 1) * 8)
    assert chance.getrandbits(64) < 1 << 64
    assert chance.getrandbits(0) == 0


def test_there_are_no_negative_bits() -> None:
    with pytest.raises(ValueError, match="negative"):
        Chance().getrandbits(-1)

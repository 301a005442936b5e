"""Passwords at rest."""

from __future__ import annotations

import pytest

from gateway.channels.smpp.seal import SHORTEST_SECRET, Seal, SealBroken

OLD, NEW = "an old secret key", "a new secret key"


def test_what_is_sealed_opens_again_and_never_looks_the_same() -> None:
    seal = Seal(OLD)
    one, two = seal.close("päss"), seal.close("päss")
    assert one != two
    assert "päss".encode() not in one
    assert seal.open(one) == seal.open(two) == "päss"


def test_another_secret_does_not_open_it_and_nothing_else_does() -> None:
    sealed = Seal(OLD).close("secret")
    for wrong in (sealed[:-1], b"", b"nonsense", sealed[:-4] + b"AAAA"):
        with pytest.raises(SealBroken):
            Seal(OLD).open(wrong)
    with pytest.raises(SealBroken, match="another TANDEM_SECRET_KEY"):
        Seal(NEW).open(sealed)


def test_a_secret_is_replaced_by_putting_the_new_one_first() -> None:
    sealed = Seal(OLD).close("secret")
    both = Seal(f"{NEW}, {OLD}")
    assert both.open(sealed) == "secret"
    assert Seal(NEW).open(both.close("secret")) == "secret"


def test_a_short_secret_is_refused_and_the_shortest_is_taken() -> None:
    Seal("x" * SHORTEST_SECRET)
    for short in ("x" * (SHORTEST_SECRET - 1), "", f"{NEW},"):
        with pytest.raises(ValueError, match="at least 16 characters"):
            Seal(short)

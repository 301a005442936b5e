"""Durations of conversations' timers, as ISO 8601 writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.conversations.timers import interval_of


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT1M", timedelta(minutes=1)),
        ("PT600S", timedelta(minutes=10)),
        ("P1D", timedelta(days=1)),
        ("P2WT1H", timedelta(weeks=2, hours=1)),
        ("P3650D", timedelta(days=3650)),
        ("PT0S", None),
        ("", None),
        (None, None),
    ],
)
def test_a_duration_is_read(text: str | None, length: timedelta | None) -> None:
    assert interval_of(text) == length


@pytest.mark.parametrize(
    "text", ["1M", "P", "PT", "P1DT", "PT1.5H", "P1M", "P1Y", "-PT1M", "soon", "P3650DT1S"]
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        interval_of(text)

"""Default rates (docs/spec/messaging-services.md#rates,
docs/spec/messaging-services.md#queue-limits)."""

from __future__ import annotations

from enum import IntEnum

import pytest

from gateway.pacing.rates import (
    DestinationClass,
    Rate,
    default_rate,
    destination_class,
    queue_limit,
)


class Kind(IntEnum):
    LONG_CODE = 0
    TOLL_FREE = 1
    SHORT_CODE = 2
    ALPHA = 3
    WHATSAPP = 4
    RCS = 5


@pytest.mark.parametrize(
    ("kind", "sender", "destination", "media", "rate"),
    [
        (Kind.LONG_CODE, "US", "US", False, Rate(1, 36_000)),
        (Kind.LONG_CODE, "US", "CA", False, Rate(1, 36_000)),
        (Kind.LONG_CODE, "US", "GB", False, Rate(10, 360_000)),
        (Kind.LONG_CODE, "GB", "GB", False, Rate(10, 360_000)),
        (Kind.TOLL_FREE, "US", "US", False, Rate(3, 108_000)),
        (Kind.ALPHA, "", "GB", False, Rate(10, 360_000)),
        (Kind.SHORT_CODE, "GB", "GB", False, Rate(100, 3_600_000)),
        (Kind.SHORT_CODE, "DE", "DE", False, Rate(100, 3_600_000)),
        (Kind.WHATSAPP, "US", "GB", False, Rate(80, 1_152_000)),
        (Kind.RCS, "US", "GB", True, Rate(100, 3_600_000)),
        (Kind.LONG_CODE, "US", "US", True, Rate(1, 36_000)),
        (Kind.SHORT_CODE, "US", "US", True, Rate(40, 1_440_000)),
    ],
)
def test_defaults_are_the_published_ones(
    kind: Kind, sender: str, destination: str, media: bool, rate: Rate
) -> None:
    assert default_rate(kind, sender, destination, media=media) == rate


def test_a_queue_holds_ten_hours_and_for_whatsapp_four() -> None:
    assert queue_limit(1) == 36_000
    assert queue_limit(80, whatsapp=True) == 1_152_000


def test_destination_classes_are_what_rates_depend_on() -> None:
    assert destination_class("US") is DestinationClass.US
    assert destination_class("CA") is DestinationClass.CA
    assert destination_class("GB") is destination_class("") is DestinationClass.INTERNATIONAL
    assert destination_class("US", media=True) is DestinationClass.MEDIA

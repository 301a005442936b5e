"""Alphanumeric sender IDs: their form, and where they work
(docs/spec/messaging-services.md#alphanumeric-sender-ids).

The country table is operators' data: the packaged one is a beginning, `read` takes another,
and a new `CarrierFacts` puts it to use without a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from gateway import data

_FORM: Final = re.compile(r"(?=[0-9 \-+_&]{0,10}[A-Za-z])[A-Za-z0-9 \-+_&]{1,11}")

# a warning; the message goes out all the same
# (docs/spec/messaging-services.md#sender-id-pre-registration-alert)
PREREGISTRATION_ALERT: Final = 30018


class Preregistration(IntEnum):
    """Whether a country's carriers want to know a sender ID before they pass it."""

    NONE = 0
    RECOMMENDED = 1
    REQUIRED = 2


class AlphaCountry(NamedTuple):
    """What one country does with alphanumeric senders."""

    country: str
    supported: bool
    preregistration: Preregistration
    condition: str  # what it depends on besides, e.g. the sender's own country


def is_alpha_sender(text: str, minimum: int = 1) -> bool:
    """Whether `text` may be an alphanumeric sender ID
    (docs/spec/messaging-services.md#format-of-alphanumeric-ids; else 21709, as From 21212).

    At least one letter, no space at either end. `minimum` is for carriers that want three
    characters.
    """
    return len(text) >= minimum and text == text.strip() and _FORM.fullmatch(text) is not None


def read(rows: Iterable[Mapping[str, str]]) -> dict[str, AlphaCountry]:
    """The country table from its CSV rows; other columns are for people."""
    return {
        row["iso"]: AlphaCountry(
            row["iso"],
            row["alpha_supported"] == "yes",
            Preregistration[row["preregistration"].upper()],
            row.get("condition") or "",
        )
        for row in rows
    }


@cache
def packaged() -> Mapping[str, AlphaCountry]:
    """The packaged table of 246 countries."""
    return read(data.rows("alpha_sender_countries.csv"))


def alert_is_due(treatment: AlphaCountry, registered: bool, sender_is_local_number: bool) -> bool:
    """Whether a message should raise the pre-registration alert 30018
    (docs/spec/messaging-services.md#sender-id-pre-registration-alert).

    `registered`: the sender is an alphanumeric ID that the account has an approved registration
    of for the country; another one's does not help.
    `sender_is_local_number`: the chosen sender is a number or short code of that country.
    The service's own switch is the caller's to ask.
    """
    return (
        treatment.preregistration is not Preregistration.NONE
        and not registered
        and not sender_is_local_number
    )

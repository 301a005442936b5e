"""Every code of the error table is produced by a test, or named here with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import data

TESTS = Path(__file__).parents[1]
CODES = {int(row["code"]) for row in data.rows("error_codes.csv")}

# Of channels that no connector carries yet: WhatsApp and RCS.
CHANNELS = {code for code in CODES if 63000 <= code < 64000 and code != 63007} | {30485}
NOT_HERE = {
    21622: "MMS is not an account's right here: a number has it or not (21621)",
    21626: "StatusCallbackEvent is of voice calls",
    21702: "a service is never away by itself: the gateway is (20503), or it was deleted (21701)",
    21902: "invoices are not kept",
    30037: "there is no switch for outbound messages alone: an account is suspended (30002)",
    30103: "links are stored with their message, in one transaction: there is no failing half",
    30453: "a verdict of the provider's own fraud service",
    30500: "what fails inside is told at once (20500), and nothing is stored",
}


def test_meanings_are_for_the_client_and_speak_of_no_specification() -> None:
    for row in data.rows("error_codes.csv"):
        assert not re.search(r"\b(a?sync|decision|plain From)\b|§", row["meaning"]), row["code"]


@pytest.fixture(scope="module")
def sources() -> str:
    """What all other tests say."""
    here = Path(__file__).name
    return "\n".join(
        path.read_text() for path in sorted(TESTS.rglob("*.py")) if path.name != here
    ).replace("_", "")


@pytest.mark.parametrize("code", sorted(CODES - CHANNELS - set(NOT_HERE)))
def test_the_code_is_produced_somewhere(code: int, sources: str) -> None:
    assert re.search(rf"(?<![0-9]){code}(?![0-9])", sources), f"no test speaks of {code}"


def test_the_exceptions_are_codes_that_no_test_produces(sources: str) -> None:
    assert set(NOT_HERE) <= CODES
    for code in NOT_HERE:
        assert not re.search(rf"(?<![0-9]){code}(?![0-9])", sources), code

"""Alphanumeric senders (docs/spec/messaging-services.md#alphanumeric-sender-ids)."""

from __future__ import annotations

import pytest

from gateway import data
from gateway.routing.alpha import (
    AlphaCountry,
    Preregistration,
    alert_is_due,
    is_alpha_sender,
    packaged,
    read,
)


@pytest.mark.parametrize(
    "text", ["A", "Tandem", "My Shop", "a-b+c_d&e", "1A", "ABCDEFGHIJK", "24x7"]
)
def test_these_are_sender_ids(text: str) -> None:
    assert is_alpha_sender(text)


@pytest.mark.parametrize(
    "text",
    ["", "12345", "ABCDEFGHIJKL", " A", "A ", "Café", "a.b", "a\n", "&+-_", "A\u00a0B"],
)
def test_these_are_not(text: str) -> None:
    assert not is_alpha_sender(text)


def test_a_carriers_minimum_can_be_asked_for() -> None:
    assert is_alpha_sender("ABC", minimum=3)
    assert not is_alpha_sender("AB", minimum=3)


def test_the_packaged_table_has_246_countries() -> None:
    table = packaged()
    assert len(table) == 246
    assert table["GB"].supported
    assert not table["US"].supported
    assert table["AE"].preregistration is Preregistration.REQUIRED


def test_operators_can_read_their_own_table() -> None:
    lines = ["# ours", "iso,alpha_supported,preregistration", "XX,yes,recommended"]
    assert read(data.parse(lines)) == {
        "XX": AlphaCountry("XX", True, Preregistration.RECOMMENDED, "")
    }


@pytest.mark.parametrize(
    ("preregistration", "registered", "local", "due"),
    [
        (Preregistration.REQUIRED, False, False, True),
        (Preregistration.RECOMMENDED, False, False, True),
        (Preregistration.NONE, False, False, False),
        (Preregistration.REQUIRED, True, False, False),
        (Preregistration.REQUIRED, False, True, False),
    ],
)
def test_the_alert_is_for_unregistered_accounts_without_a_local_number(
    preregistration: Preregistration, registered: bool, local: bool, due: bool
) -> None:
    assert alert_is_due(AlphaCountry("AE", True, preregistration, ""), registered, local) is due

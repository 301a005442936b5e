"""Smart Encoding (docs/spec/messaging-services.md#smart-encoding)."""

from __future__ import annotations

import pytest

from gateway.content.encoding import Encoding, encode
from gateway.content.smart import replacements, smarten
from smpp.alphabet import is_gsm7


def test_the_table_has_271_rows_and_all_give_gsm7() -> None:
    assert len(replacements()) == 271
    assert all(is_gsm7(replacement) for replacement in replacements().values())


def test_the_table_leaves_gsm7_characters_alone() -> None:
    assert not any(is_gsm7(chr(codepoint)) for codepoint in replacements())


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("\u201chello\u201d", '"hello"'),
        ("it\u2019s", "it's"),
        ("a\u2014b", "a-b"),
        ("\u201ehi\u200c\u201d", '"hi"'),
        ("\u201a", ","),
        ("«x»", '"x"'),
        ("`", "'"),
        ("wait\u2026", "wait..."),
        ("\t", " " * 7),
    ],
)
def test_typography_becomes_gsm7(text: str, result: str) -> None:
    assert smarten(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "\u201chi\u201d😱",  # one emoji left: nothing is replaced
        "\u201c中\u201d",
        "\u201cçava\u201d",  # not in the table, on purpose
        "\u2011",
        "e\u0301",  # no normalisation
        "a\x1bb",
        "™ ©",
    ],
)
def test_a_text_that_stays_outside_gsm7_is_left_as_submitted(text: str) -> None:
    assert smarten(text) is text
    assert encode(text, smart=True).encoding is Encoding.UCS2


def test_a_gsm7_text_is_left_as_it_is() -> None:
    text = "plain @ €"
    assert smarten(text) is text


def test_off_means_off() -> None:
    assert encode("\u201chello\u201d").text == "\u201chello\u201d"


@pytest.mark.parametrize("text", ["\u200b", "\u200b\ufeff" * 80])
def test_a_text_of_which_nothing_would_be_left_is_left_alone(text: str) -> None:
    assert smarten(text) is text
    content = encode(text, smart=True)
    assert (content.text, content.encoding) == (text, Encoding.UCS2)
    assert smarten("\u200ba") == "a"

"""National language shift tables (3GPP TS 23.038 §6.2.1.2,
docs/spec/messaging-services.md#choice-of-encoding)."""

from __future__ import annotations

import pytest

from gateway.content import national
from gateway.content.encoding import Encoding, encode

TURKISH, SPANISH, PORTUGUESE, HINDI = 1, 2, 3, 6


def test_default_tables_are_those_of_the_alphabet() -> None:
    tables = national._tables()
    assert tables["basic", 0] == national.locking_table(0)
    assert tables["extension", 0] == national.single_table(0)


def test_every_language_has_a_table_and_every_table_a_language() -> None:
    languages = {language for _, language in national._tables()} - {0}
    assert languages == set(national.LANGUAGES)


@pytest.mark.parametrize(("elements", "single", "part"), [(1, 155, 149), (2, 152, 146)])
def test_capacity_shrinks_with_each_element(elements: int, single: int, part: int) -> None:
    assert national.capacity(elements) == (single, part)


def test_tables_are_not_used_unless_listed() -> None:
    assert encode("ş" * 80).encoding is Encoding.UCS2


def test_a_table_that_saves_a_segment_is_used() -> None:
    content = encode("ş" * 75 + "a" * 5, national_tables=[TURKISH])
    assert content.encoding is Encoding.GSM7
    assert (content.locking, content.single) == (0, TURKISH)
    assert content.segments == 1
    assert national.decode(content.parts[0], 0, TURKISH) == content.text


def test_a_table_that_saves_nothing_is_not_used() -> None:
    assert encode("ş", national_tables=[TURKISH]).encoding is Encoding.UCS2


def test_a_locking_table_is_taken_when_escapes_would_cost_a_segment() -> None:
    text = "ş" * 155
    content = encode(text, national_tables=[TURKISH])
    assert (content.locking, content.single, content.segments) == (TURKISH, 0, 1)
    assert national.decode(content.parts[0], TURKISH) == text


def test_both_tables_serve_a_text_that_needs_both() -> None:
    text = "हिन्दी में लंबा संदेश ०१२ ॐ " * 5
    content = encode(text, national_tables=[HINDI])
    assert content.locking == HINDI
    joined = b"".join(content.parts)
    assert national.decode(joined, content.locking, content.single) == text


def test_spanish_has_a_single_shift_table_only() -> None:
    content = encode("á" * 75, national_tables=[SPANISH])
    assert (content.locking, content.single, content.segments) == (0, SPANISH, 1)


def test_a_text_outside_every_listed_table_stays_ucs2() -> None:
    assert encode("中" * 100, national_tables=[TURKISH, HINDI]).encoding is Encoding.UCS2


def test_decoding_is_tolerant() -> None:
    assert national.decode(b"a\x1b", 0, TURKISH) == "a "
    assert national.decode(b"\x1b\x1ba", 0, TURKISH) == " a"
    assert national.decode(b"\x1bA", 0, TURKISH) == "A"
    assert national.decode(b"\xff", 0, TURKISH) == " "

"""What may stand in an opt-out configuration, and what may not
(docs/spec/messaging-services.md#modes-of-opt-out,
docs/spec/messaging-services.md#which-keywords-apply)."""

from __future__ import annotations

import contextlib
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.opt_out import entries
from gateway.opt_out.entries import BadEntry
from gateway.opt_out.keywords import languages

STOP = ("STOP.ALL", "ALL")
SPANISH = ("STOP.SPANISH", "MX")


def words(name: tuple[str, str], *given: str) -> dict[str, Any]:
    return entries.read_keywords(name, list(given))


@pytest.mark.parametrize(
    ("keyword_type", "message_type", "name"),
    [
        ("STOP.ALL", "ALL", STOP),
        ("stop.spanish", "mx", SPANISH),
        ("HELP.ZULU", "ALL", ("HELP.ZULU", "ALL")),
    ],
)
def test_a_name_is_a_type_with_a_language_and_a_country(
    keyword_type: str, message_type: str, name: tuple[str, str]
) -> None:
    assert entries.read_name(keyword_type, message_type) == name


@pytest.mark.parametrize(
    ("keyword_type", "message_type"),
    [
        ("STOP", "ALL"),
        ("PAUSE.ALL", "ALL"),
        ("NONE.ALL", "ALL"),
        ("STOP.KLINGON", "ALL"),
        ("STOP.SPANISH", "XX"),
        ("STOP.SPANISH", None),
        ("STOP.ALL", "MX"),  # a country's entry needs a language
        (None, "ALL"),
    ],
)
def test_an_unknown_type_language_or_country_is_refused(
    keyword_type: object, message_type: object
) -> None:
    with pytest.raises(BadEntry):
        entries.read_name(keyword_type, message_type)


def test_standard_keywords_are_letters_and_digits_others_any_letters() -> None:
    assert words(STOP, "stop", "stop2")["keywords"] == ["STOP", "STOP2"]
    for word in ("ARRÊT", "STOP!", "STOP IT", ""):
        with pytest.raises(BadEntry):
            words(STOP, word)
    assert words(("STOP.FRENCH", "ALL"), "arrêt")["keywords"] == ["ARRÊT"]
    assert words(("STOP.ARABIC", "ALL"), "قف")["keywords"] == ["قف"]
    with pytest.raises(BadEntry):
        words(("STOP.FRENCH", "ALL"), "arrêt!")


def test_letters_digits_and_marks_are_words_whichever_way_they_are_looked_at() -> None:
    """`isalnum` is asked first, and must take nothing else."""
    for character in map(chr, range(0x110000)):
        if character.isalnum():
            assert unicodedata.category(character)[0] in "LN"


def test_a_letter_that_is_a_sentence_is_no_keyword() -> None:
    assert words(("STOP.ARABIC", "ALL"), "\ufdf2")["keywords"] == ["\ufdf2"]  # a word
    with pytest.raises(BadEntry, match="several words"):
        words(("STOP.ARABIC", "ALL"), "\ufdfa")


@pytest.mark.parametrize("name", [STOP, SPANISH])
def test_a_keyword_has_34_characters_at_most(name: tuple[str, str]) -> None:
    assert words(name, "A" * 34)
    with pytest.raises(BadEntry):
        words(name, "A" * 35)


@pytest.mark.parametrize(("name", "most"), [(STOP, 1600), (SPANISH, 320)])
def test_a_reply_has_a_length(name: tuple[str, str], most: int) -> None:
    assert entries.read_reply(name, "x" * most)["message"] == "x" * most
    for text in ("x" * (most + 1), "", " ", None, 7, "a\x00b"):
        with pytest.raises(BadEntry):
            entries.read_reply(name, text)


def test_reserved_words_stay_and_keep_their_meaning() -> None:
    entries.check([words(STOP, "STOP", "BASTA")])
    with pytest.raises(BadEntry, match="STOP can't be taken away"):
        entries.check([words(STOP, "BASTA")])
    with pytest.raises(BadEntry, match="UNSTOP"):
        entries.check([words(("START.ALL", "ALL"), "START")])  # UNSTOP is gone
    with pytest.raises(BadEntry, match="HELP would mean"):
        entries.check([words(SPANISH, "HELP")])


def test_a_keyword_stands_once_in_a_country_whatever_the_language() -> None:
    spanish, english = words(SPANISH, "ALTO"), words(("STOP.ENGLISH", "MX"), "ALTO")
    with pytest.raises(BadEntry, match="ALTO stands in"):
        entries.check([spanish, english])
    entries.check([spanish, words(("STOP.SPANISH", "ES"), "ALTO")])
    entries.check([words(SPANISH, "STOP", "ALTO")])  # the standard set is another message type


def test_a_keyword_has_one_meaning_everywhere() -> None:
    with pytest.raises(BadEntry, match="would mean"):
        entries.check([words(SPANISH, "ALTO"), words(("HELP.SPANISH", "ES"), "ALTO")])
    with pytest.raises(BadEntry, match="would mean"):
        entries.check([words(("HELP.SPANISH", "MX"), "CANCEL")])  # of the standard STOP set
    entries.check([words(STOP, "STOP"), words(("HELP.SPANISH", "MX"), "CANCEL")])


def test_bounds_of_a_configuration() -> None:
    many = [f"W{n}" for n in range(entries.MOST_KEYWORDS)]
    assert len(words(STOP, *many)["keywords"]) == entries.MOST_KEYWORDS
    with pytest.raises(BadEntry):
        words(STOP, *many, "ONE")
    countries = sorted(entries.COUNTRIES)
    rows = [
        {"keyword_type": f"STOP.{language}", "message_type": country, "keywords": []}
        for language in languages()[1:6]
        for country in countries
    ]
    assert len(entries.without_doubles(rows[: entries.MOST_ENTRIES])) == entries.MOST_ENTRIES
    with pytest.raises(BadEntry, match="at most"):
        entries.without_doubles(rows[: entries.MOST_ENTRIES + 1])
    with pytest.raises(BadEntry, match="twice"):
        entries.without_doubles([rows[0], rows[0]])


def test_countries_are_declared_and_taken_away_with_their_entries() -> None:
    rows = [words(STOP, "STOP"), words(SPANISH, "ALTO")]
    wanted = [{"message_type": "MX", "languages": ["SPANISH"]}]
    assert entries.with_countries(rows, wanted)[:2] == rows
    shown = entries.languages_by_country(entries.with_countries(rows, wanted))
    assert shown == [{"message_type": "ALL", "languages": ["ALL"]}, *wanted]
    added = entries.with_countries(rows, [{"message_type": "CA", "languages": ["FRENCH"]}])
    assert {row["message_type"] for row in added} == {"ALL", "CA"}
    assert entries.with_countries(rows, []) == rows[:1]
    for bad in ("MX", [{"message_type": "MX", "languages": []}], [{"message_type": "MX"}], ["MX"]):
        with pytest.raises(BadEntry):
            entries.with_countries(rows, bad)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_an_entry_or_a_bad_one(word: str, reply: str) -> None:
    for read in (
        lambda: entries.read_keywords(SPANISH, [word]),
        lambda: entries.read_reply(SPANISH, reply),
        lambda: entries.read_name(word, reply),
    ):
        with contextlib.suppress(BadEntry):  # nothing else is raised
            assert read()


@pytest.mark.parametrize("word", ["🛑", "STOP🛑", "\ufe0f", "\u034f", "\u3164", "?"])
def test_a_keyword_that_nobody_could_write_is_refused(word: str) -> None:
    with pytest.raises(BadEntry):
        entries.read_keywords(("STOP.SPANISH", "MX"), [word])

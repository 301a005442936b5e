"""Keywords: which texts match, in which order sets are tried, and what each does
(docs/spec/messaging-services.md#opt-out-management)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.opt_out.keywords import (
    ANY,
    NO_EFFECT,
    Book,
    Keyword,
    KeywordEffect,
    KeywordEntry,
    default_book,
    effect,
    languages,
    normal,
    reserved,
)

ALTO = KeywordEntry(Keyword.STOP, "SPANISH", "MX", frozenset({"alto"}), "Adiós")
ARRET = KeywordEntry(Keyword.STOP, "FRENCH", ANY, frozenset({"arret"}), "Au revoir")
MX_HELP = KeywordEntry(Keyword.HELP, "SPANISH", "MX", frozenset({"info"}), "Ayuda")


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        " stop\n",
        "'Stop'",
        "“STOP”",
        "stop.",
        "Stop!!!",
        "ＳＴＯＰ",
        "stopall",
        "STOP ALL",
        "Opt out",
        "OPT-OUT",
        "optout",
        "revoke",
        "unsubscribe;",
        "cancel",
        "end",
        "quit",
    ],
)
def test_the_whole_message_is_a_stop_word_in_any_dress(text: str) -> None:
    match = default_book().match(text, "GB")
    assert match is not None
    assert match.entry.keyword is Keyword.STOP


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b", "\u200c", "\u200d", "\u200e", "\u202a", "\u202c", "\u2060", "\u2066", "\u2069",
        "\ufeff", "\u00ad", "\ufe0f", "\ufe0e", "\U000e0101", "\U000e0041", "\u180e", "\u180b",
        "\u034f", "\u061c", "\u3164", "\u115f", "\uffa0", "\ufff9", "\u2065",
        "\x00", "\x03", "\x1a", "\x1b", "\x7f", "\x80", "\x9f", "\u20e3", "\u0336",
    ],
)  # fmt: skip
def test_what_nobody_sees_hides_no_keyword_wherever_it_is(hidden: str) -> None:
    for text in (
        f"STOP{hidden}",
        f"{hidden}STOP",
        f"S{hidden}TO{hidden * 3}P",
        hidden * 300 + "STOP",
    ):
        match = default_book().match(text, "GB")
        assert match is not None, ascii(text)
        assert match.entry.keyword is Keyword.STOP


def test_every_format_character_and_control_is_hidden() -> None:
    seen = [
        character
        for character in map(chr, range(0x110000))
        if unicodedata.category(character) in ("Cf", "Cc")
        and not character.isspace()
        and normal(f"st{character}op") != "stop"
    ]
    assert seen == []


@pytest.mark.parametrize(
    "text",
    [
        "STOP。", "(STOP)", "*STOP*", "¡STOP!", "STOP？", "「STOP」", "《STOP》", "STOP।",
        "STOP؟", "STOP；", "STOP🛑", "🛑 STOP 🛑", "STOP ✋🏽", "#STOP", "STOP…",
        "-STOP-", "_STOP_", "[STOP]", "<STOP>", "STOP=",
        "~STOP~", "STOP\u2014", "‹STOP›", "STOP·", "STOP\ufffd", "STOP@",
        "STOP\ue412", "STOP\u00a0.",
    ],
)  # fmt: skip
def test_punctuation_and_symbols_of_any_script_are_none_at_either_end(text: str) -> None:
    match = default_book().match(text, "GB")
    assert match is not None
    assert match.entry.keyword is Keyword.STOP


@pytest.mark.parametrize(
    "text",
    [
        " " * 250 + "STOP",
        "!" * 250 + "STOP",
        "🛑 " * 19_000 + "STOP",
        "STOP" + " " * 250,
        "STOP" + "!" * 39_000,
        "STOP" + " " * 39_000 + "all",
        "\u0301" * 250 + "STOP",
        "".join(letter + "\u0338\u0322\u031b" * 30 for letter in "STOP"),
    ],
    ids=range(8),
)
def test_what_is_no_part_of_a_word_may_be_as_long_as_it_likes(text: str) -> None:
    match = default_book().match(text, "GB")
    assert match is not None
    assert match.entry.keyword is Keyword.STOP


@pytest.mark.parametrize("between", [" ", "!", "\u200b ", "\u0301", "\n"])
@pytest.mark.parametrize("more", ["and some text", "a", "." * 300 + "a", "stop"])
def test_a_text_goes_on_behind_whatever_stands_there(between: str, more: str) -> None:
    assert default_book().match(f"STOP {between * 200} {more}", "GB") is None


@pytest.mark.parametrize(
    "text",
    [
        *("STOP\u0301", "STOP\u0e3a", "STOP\u3099", "STOP\u0670", "STOP\u0301!", "STOP!\u0301"),
        *("S\u0301TO\u0e3aP", "stóp", "ŠTOP", "STÖP.", "\u0301STOP", "Stop Àll", "öpt-out"),
        *("🆂🆃🅾🅿", "🅢🅣🅞🅟", "🅂🅃🄾🄿", "ⓈⓉⓄⓅ", "ⓢⓣⓞⓟ", "⒮⒯⒪⒫", "🄢🄣🄞🄟"),
        *("ꜱᴛᴏᴘ", "𝐒𝐓𝐎𝐏", "𝕾𝕿𝕺𝕻", "ˢᵗᵒᵖ", "🆂🆃🅾🅿!", "🛑 🅢🅣🅞🅟 🛑", "🅾️🅿️🆃 out"),
    ],
)
def test_what_a_reader_would_call_stop_is_stop(text: str) -> None:
    match = default_book().match(text, "GB")
    assert match is not None, ascii(text)
    assert match.entry.keyword is Keyword.STOP


def test_a_keyword_with_marks_goes_before_the_one_without() -> None:
    accented = ARRET._replace(words=frozenset({"arrêt"}), reply="É")
    book = Book([accented, ARRET])
    assert _keyword_and_reply(book, "ARRÊT", "FR") == (Keyword.STOP, "É")
    assert _keyword_and_reply(book, "arret", "FR") == (Keyword.STOP, "Au revoir")
    assert _keyword_and_reply(Book([accented]), "arret", "FR") == (Keyword.STOP, "É")


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("CANCELACIÓN", "cancelacion"),
        ("REZYGNUJĘ", "Rezygnuje"),
        ("ZRUŠIT", "zrusit"),
        ("τέλος", "ΤΕΛΟΣ"),
        ("τέλος", "τελος"),
        ("ΔΙΑΚΟΠΗ", "διακοπή"),
        ("ΔΙΑΚΟΠΗ", "ΔIAKOΠH"),  # as GSM-7 has it: Latin letters for those that look the same
        ("إيقاف", "ايقاف"),
        ("СТОЙ", "стой"),
        ("STOP", "🇸🇹🇴🇵"),
        ("STOP", "ST⠀OP"),
        ("STOP", "ʼSTOPʻ"),
    ],
)
def test_a_phone_that_cant_write_all_of_a_keyword_writes_it_all_the_same(
    keyword: str, text: str
) -> None:
    book = Book([ARRET._replace(words=frozenset({normal(keyword)}))])
    assert _keyword_and_reply(book, text, "FR") == (Keyword.STOP, "Au revoir")


@pytest.mark.parametrize("text", ["cancelaciones", "rezygnu", "τέλοσα", "ايقافا", "para"])
def test_what_is_another_word_without_its_marks_is_none(text: str) -> None:
    words = frozenset(map(normal, ("CANCELACIÓN", "REZYGNUJĘ", "τέλος", "إيقاف")))
    assert Book([ARRET._replace(words=words)]).match(text, "FR") is None


def test_marks_of_other_scripts_are_letters() -> None:
    hindi = ALTO._replace(words=frozenset({"रक"}))
    assert Book([hindi]).match("रोकें", "MX") is None
    assert Book([ALTO]).match("ал\u0301то", "MX") is None


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("İPTAL", "iptal"),
        ("İPTAL", "İptal"),
        ("iptal", "I\u0307PTAL"),
        ("iptal", "ıptal"),
        ("ÇIKIŞ", "çıkış"),
        ("ALTO", "¡Alto!"),
        ("取消", "取消。"),
        ("退订", "【退订】"),
        ("إيقاف", "إيقاف؟"),
        ("إيقاف", "إيقـــاف"),
        ("रोकें", "रोकें।"),
        ("לא", "לא׃"),
        ("СТОП", "«стоп»"),
        ("หยุด", "หยุด๚"),
        ("정지", "정지!"),
        ("STRASSE", "straße"),
        ("OPTOUT", "opt\u2011out"),
    ],
)
def test_a_keyword_of_any_script_is_known_in_any_dress(keyword: str, text: str) -> None:
    assert normal(text) == normal(keyword)


@pytest.mark.parametrize("text", ["🛑", "?!", "\u200b", "...", "\x00"])
def test_what_has_no_letter_and_no_digit_is_no_keyword(text: str) -> None:
    assert normal(text) == ""
    assert Book([ALTO._replace(words=frozenset({""}))]).match(text, "MX") is None


def test_what_a_letter_carries_is_part_of_it() -> None:
    assert normal("arrêt.") == "arrêt" != normal("arret")
    assert normal("रोकें") != normal("रोक")


@pytest.mark.parametrize("text", ["stop please", "please stop", "st op", "", "stopp", "s", "ends"])
def test_anything_else_is_an_ordinary_message(text: str) -> None:
    assert default_book().match(text, "GB") is None


@given(st.text("aZiI019Kſ", min_size=1, max_size=40), st.integers(1, 8))
def test_a_plain_word_is_read_the_short_way_as_the_long_one(text: str, times: int) -> None:
    assert normal(text * times) == normal("\u200b" + text * times)


def test_a_long_text_costs_no_more_than_a_short_one() -> None:
    assert len(normal("STOP " * 10_000)) <= 200


def test_a_countrys_entry_comes_before_the_standard_one() -> None:
    book = Book([ALTO, MX_HELP, *_standard()])
    assert _keyword_and_reply(book, "info", "MX") == (Keyword.HELP, "Ayuda")
    assert _keyword_and_reply(book, "info", "GB")[1] != "Ayuda"
    assert _keyword_and_reply(book, "stop", "MX")[0] is Keyword.STOP  # the standard set, step 2


def test_language_sets_of_any_country_come_last() -> None:
    book = Book([ALTO, ARRET, *_standard()])
    assert _keyword_and_reply(book, "ALTO", "GB") == (Keyword.STOP, "Adiós")
    assert _keyword_and_reply(book, "arret", "MX") == (Keyword.STOP, "Au revoir")


def test_the_languages_and_reserved_words_are_those_of_the_table() -> None:
    assert {"ALL", "ENGLISH", "SPANISH", "ZULU"} <= set(languages())
    assert reserved() == {
        Keyword.STOP: {"stop"},
        Keyword.START: {"start", "unstop"},
        Keyword.HELP: {"help"},
    }


@pytest.mark.parametrize(
    ("word", "advanced", "blocked", "network", "expected"),
    [
        ("stop", False, False, False, KeywordEffect(Keyword.STOP, True, True)),
        ("stop", False, True, False, KeywordEffect(Keyword.STOP, None, False)),
        ("stop", False, False, True, KeywordEffect(Keyword.STOP, True, False)),
        ("stop", False, True, True, KeywordEffect(Keyword.STOP, True, False)),
        ("start", False, True, False, KeywordEffect(Keyword.START, False, True)),
        ("start", False, True, True, KeywordEffect(Keyword.START, False, True)),
        ("start", False, False, False, KeywordEffect(Keyword.START, None, False)),
        ("start", True, False, False, KeywordEffect(Keyword.START, None, True)),
        ("yes", False, True, False, KeywordEffect(Keyword.START, False, True)),
        ("yes", False, True, True, NO_EFFECT),
        ("yes", False, False, False, NO_EFFECT),
        ("yes", True, False, False, KeywordEffect(Keyword.START, None, True)),
        ("help", False, False, False, KeywordEffect(Keyword.HELP, None, True)),
        ("help", False, True, False, KeywordEffect(Keyword.HELP, None, False)),
    ],
)
def test_the_table_of_effects(
    word: str, advanced: bool, blocked: bool, network: bool, expected: KeywordEffect
) -> None:
    match = default_book().match(word, "US")
    assert effect(match, advanced=advanced, blocked=blocked, network=network) == expected


def test_an_ordinary_message_does_nothing() -> None:
    assert effect(None, advanced=True, blocked=True, network=False) == NO_EFFECT


def _standard() -> list[KeywordEntry]:
    return [
        KeywordEntry(Keyword.STOP, ANY, ANY, frozenset({"stop"}), "bye"),
        KeywordEntry(Keyword.HELP, ANY, ANY, frozenset({"help", "info"}), "help"),
    ]


def _keyword_and_reply(book: Book, text: str, country: str) -> tuple[Keyword, str]:
    match = book.match(text, country)
    assert match is not None
    return match.entry.keyword, match.entry.reply

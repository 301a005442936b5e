"""Which inbound texts are keywords, what they do, and which confirmation answers them
(docs/spec/messaging-services.md#opt-out-management). Pure.

A `Book` is the keywords of one service, or the default ones. Its entries are those of the
`/v3/OptOuts` resource: a keyword type in a language (`STOP.SPANISH`; `ALL` is the standard
language), for one country or, as `ALL`, for any.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from functools import cache, lru_cache
from string import ascii_lowercase
from typing import Any, Final, NamedTuple

from gateway import data

ANY: Final = "ALL"  # country or language
_MOST_TEXT: Final = 40_000  # characters looked at: as many as an SMS can have in all its parts
_MOST_WORD: Final = 200  # of them that are left of a keyword, or it is none
# Keywords of configurations whose normal forms are remembered: more than one of 64 KiB has.
MOST_FORMS: Final = 16_384
# What nobody sees, or what only adorns: format characters (Cf), fillers, joiners and selectors
# (default ignorable), marks that enclose or strike out, the Arabic elongation; and controls (Cc),
# but those that part words. A test holds it against Python's own tables.
_HIDDEN: Final = re.compile(
    "[\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u0334-\u0338\u034f\u0488\u0489\u0600-\u0605"
    "\u061c\u0640\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u1abe"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20dd-\u20e0\u20e2-\u20e4\u3164\ua670-\ua672"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# Letters in a frame, in small capitals or in the negative, which Unicode takes for symbols or for
# letters of their own: who writes a word with them means the word.
_FRAMES: Final = (0x249C, 0x24B6, 0x24D0, 0x1F110, 0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
_SMALL_CAPITALS: Final = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ"
_PLAIN: Final[dict[int, str | None]] = {
    0x2800: None,  # a blank of Braille
    **dict.fromkeys((0x2B9, 0x2BB, 0x2BC, 0x2BD, 0x2BE, 0x2BF), "'"),  # letters by name only
    **{first + at: letter for first in _FRAMES for at, letter in enumerate(ascii_lowercase)},
    **{ord(small): letter for small, letter in zip(_SMALL_CAPITALS, ascii_lowercase, strict=True)},
}
_LETTER: Final = re.compile(r"[^\W_]")  # or a digit
_ADORNMENT: Final = re.compile(r"[^\w\s]+")  # neither, nor a space: marks too
_DASHES: Final = re.compile("[\u2010-\u2015\u2212\u058a\u05be\u30a0]")
# Turkish has two letters i: casefold makes an i and a dot above it of İ, and leaves ı alone.
_DOT_ABOVE: Final = "\u0307"
_DOTLESS_I: Final = str.maketrans("ı", "i")
# Two words that mean one keyword (docs/spec/messaging-services.md#keywords).
_JOINED: Final = {"stop all": "stopall", "opt out": "optout", "opt-out": "optout"}
# What a toll-free network undoes a block with: `YES` and the like cannot
# (docs/spec/messaging-services.md#effects-of-keywords).
_NETWORK_START: Final = frozenset({"start", "unstop"})
ONLY_FOR_BLOCKED: Final = "yes"  # by default an ordinary word, unless there is a block to undo


class Keyword(IntEnum):
    """What an inbound text asks for (docs/spec/messaging-services.md#opt-out-management)."""

    NONE = 0
    STOP = 1
    START = 2
    HELP = 3


class KeywordEntry(NamedTuple):
    """One set of keywords and its reply."""

    keyword: Keyword
    language: str  # ALL: the standard set
    country: str  # ISO; ALL: any
    words: frozenset[str]  # normalised
    reply: str


class Match(NamedTuple):
    """An entry, and the word that matched it."""

    entry: KeywordEntry
    word: str


class KeywordEffect(NamedTuple):
    """What a keyword does (docs/spec/messaging-services.md#effects-of-keywords)."""

    keyword: Keyword
    blocks: bool | None  # put on the list, taken off it, or left as it is
    replies: bool


NO_EFFECT: Final = KeywordEffect(Keyword.NONE, None, False)


def normal(text: str) -> str:
    """A text as keywords are compared: the whole of it, without case, and without what hides it.

    What nobody sees is no part of a word, wherever it is; quotes, punctuation and symbols of any
    script are none at either end. What stays there is a letter, a digit or a mark of one. Empty for
    what is longer than any keyword then: only now may a text be cut.
    """
    if len(text) <= _MOST_WORD and text.isascii() and text.isalnum():  # most are, and hide nothing
        return text.lower()
    seen = _HIDDEN.sub("", text[:_MOST_TEXT])
    if not seen.isascii():
        seen = seen.translate(_PLAIN)
    found = " ".join(_bare(seen).split())
    if len(found) > _MOST_WORD:
        if len(_ADORNMENT.sub("", found)) > _MOST_WORD:
            return ""
        found = _unmarked(found)  # letters under heaps of marks
    folded = unicodedata.normalize("NFKC", found).casefold()
    folded = folded.replace("i" + _DOT_ABOVE, "i").translate(_DOTLESS_I)
    words = " ".join(_bare(unicodedata.normalize("NFKC", folded)).split())
    words = _DASHES.sub("-", words)
    return _JOINED.get(words, words)


@lru_cache(maxsize=MOST_FORMS)
def form(word: str) -> str:
    """The normal form of a configuration's keyword, remembered: who changes one entry must not pay
    for all the others again.
    """
    return normal(word)


def _bare(text: str) -> str:
    """The text from its first letter or digit to its last, with the marks of that."""
    first, last = _LETTER.search(text), _LETTER.search(text[::-1])
    if first is None or last is None:
        return ""
    end = len(text) - last.start()
    while end < len(text) and unicodedata.category(text[end])[0] == "M":
        end += 1
    return text[first.start() : end]


# Marks that a phone leaves out where its alphabet has none: of Latin, Greek and Cyrillic letters,
# and the vowels and hamzas of Arabic and Hebrew. Elsewhere marks are letters.
_OPTIONAL_MARKS: Final = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u0655\u0670]+")
# In GSM-7 a Latin letter stands for the Greek capital that looks the same (TS 23.038 §6.2.1).
_LOOKING_ALIKE: Final = str.maketrans("αβεζηικμνορτυχς", "abezhikmnoptyxσ")


def plain(word: str) -> str:
    """A normal form as it is left of a phone that can't write all of it."""
    apart = unicodedata.normalize("NFD", word)
    return _OPTIONAL_MARKS.sub("", apart).translate(_LOOKING_ALIKE)


def _unmarked(word: str) -> str:
    """The word without accents and other marks of its letters."""
    apart = unicodedata.normalize("NFD", word)
    return "".join(letter for letter in apart if unicodedata.category(letter)[0] != "M")


class Book:
    """The entries of one configuration, in the order they are tried
    (docs/spec/messaging-services.md#which-keywords-apply)."""

    def __init__(self, entries: Iterable[KeywordEntry]) -> None:
        self._countries: dict[str, dict[str, KeywordEntry]] = {}
        self._standard: dict[str, KeywordEntry] = {}
        self._languages: dict[str, KeywordEntry] = {}
        for entry in entries:
            if entry.country != ANY:
                table = self._countries.setdefault(entry.country, {})
            elif entry.language == ANY:
                table = self._standard
            else:
                table = self._languages
            for word in entry.words:
                table.setdefault(word, entry)
        tables = (*self._countries.values(), self._standard, self._languages)
        # Words by what a phone may leave of them.
        self._plain: dict[str, str] = {}
        for word in (word for table in tables for word in table):
            self._plain.setdefault(plain(word), word)
        # Step 2 tries language sets of any country after the standard ones.
        for table in list(self._countries.values()):
            for word, entry in table.items():
                if entry.language != ANY:
                    self._languages.setdefault(word, entry)

    def match(self, text: str, country: str) -> Match | None:
        """The entry of a text whose sender is in `country`; None for an ordinary message."""
        word = normal(text)
        if not word:
            return None
        found = self._match(word, country)
        if found is None and not word.isascii() and (bare := normal(_unmarked(word))).isascii():
            # `stóp`, or with a mark of another script: a Latin word with marks that it has in no
            # keyword is meant as the one without. Elsewhere marks are letters.
            found = self._match(bare, country)
        if found is None and (meant := self._plain.get(plain(word))) is not None:
            found = self._match(meant, country)  # `arret` for `arrêt`
        return found

    def _match(self, word: str, country: str) -> Match | None:
        entry = (
            self._countries.get(country, {}).get(word)
            or self._standard.get(word)
            or self._languages.get(word)
        )
        return Match(entry, word) if entry is not None else None


def effect(match: Match | None, *, advanced: bool, blocked: bool, network: bool) -> KeywordEffect:
    """What a match does.

    `blocked`: the sender is on the list now. `network`: the network itself handles STOP and
    START for this number (toll-free in the US and Canada), and sends its own reply to STOP.
    """
    if match is None:
        return NO_EFFECT
    keyword = match.entry.keyword
    if keyword is Keyword.STOP:
        # A network's own block is noted even on top of another: no API may lift it then.
        return KeywordEffect(
            keyword, True if network or not blocked else None, not blocked and not network
        )
    if keyword is Keyword.HELP:
        return KeywordEffect(keyword, None, not blocked)
    if blocked:
        if network and match.word not in _NETWORK_START:
            return NO_EFFECT
        return KeywordEffect(keyword, False, True)
    if not advanced and match.word == ONLY_FOR_BLOCKED:
        return NO_EFFECT
    return KeywordEffect(keyword, None, advanced)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(data.text("optout_keywords.json"))
    return table


def languages() -> Sequence[str]:
    """The languages that keyword types may name."""
    return tuple(_table()["languages"])


@cache
def reserved() -> Mapping[Keyword, frozenset[str]]:
    """Keywords that cannot be taken away or given another meaning, normalised."""
    return {
        Keyword[name]: frozenset(normal(word) for word in row["reserved"])
        for name, row in _table()["default"].items()
    }


@cache
def default_entries() -> tuple[KeywordEntry, ...]:
    """The standard sets with their replies."""
    return tuple(
        KeywordEntry(
            Keyword[name],
            ANY,
            ANY,
            frozenset(normal(word) for word in row["keywords"]),
            _table()["suggested_replies"][name],
        )
        for name, row in _table()["default"].items()
    )


@cache
def default_book() -> Book:
    return Book(default_entries())

"""Which inbound texts are keywords, and what they do (messaging-services §7). Pure.

A `Book` is the keywords of one service, or the default ones. Its entries are those of the
`/v3/OptOuts` resource: a keyword type in a language (`STOP.SPANISH`; `ALL` is the standard
language), for one country or, as `ALL`, for any.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cache
from typing import Any, Final, NamedTuple

from gateway import data

ANY: Final = "ALL"  # country or language
_QUOTES: Final = "\"'“”‘’«»„`"
_TRAILING: Final = ".,!?;:"
# Two words that mean one keyword (§7.1).
_JOINED: Final = {"stop all": "stopall", "opt out": "optout", "opt-out": "optout"}
# What a toll-free network undoes a block with: `YES` and the like cannot (§7.4).
_NETWORK_START: Final = frozenset({"start", "unstop"})
ONLY_FOR_BLOCKED: Final = "yes"  # by default an ordinary word, unless there is a block to undo


class Keyword(IntEnum):
    """What an inbound text asks for (messaging-services §7)."""

    NONE = 0
    STOP = 1
    START = 2
    HELP = 3


class Entry(NamedTuple):
    """One set of keywords and its reply."""

    keyword: Keyword
    language: str  # ALL: the standard set
    country: str  # ISO; ALL: any
    words: frozenset[str]  # normalised
    reply: str


class Match(NamedTuple):
    """An entry, and the word that matched it."""

    entry: Entry
    word: str


class Effect(NamedTuple):
    """What a keyword does (§7.4)."""

    keyword: Keyword
    blocks: bool | None  # put on the list, taken off it, or left as it is
    replies: bool


NO_EFFECT: Final = Effect(Keyword.NONE, None, False)


def normal(text: str) -> str:
    """A text as keywords are compared: the whole of it, without case, quotes and punctuation."""
    text = unicodedata.normalize("NFKC", text[:200]).strip().strip(_QUOTES)
    text = text.rstrip(_TRAILING).strip().strip(_QUOTES).casefold()
    return _JOINED.get(" ".join(text.split()), text)


class Book:
    """The entries of one configuration, in the order they are tried (§7.3)."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._countries: dict[str, dict[str, Entry]] = {}
        self._standard: dict[str, Entry] = {}
        self._languages: dict[str, Entry] = {}
        for entry in entries:
            if entry.country != ANY:
                table = self._countries.setdefault(entry.country, {})
            elif entry.language == ANY:
                table = self._standard
            else:
                table = self._languages
            for word in entry.words:
                table.setdefault(word, entry)
        # Step 2 tries language sets of any country after the standard ones.
        for table in list(self._countries.values()):
            for word, entry in table.items():
                if entry.language != ANY:
                    self._languages.setdefault(word, entry)

    def match(self, text: str, country: str) -> Match | None:
        """The entry of a text whose sender is in `country`; None for an ordinary message."""
        word = normal(text)
        entry = (
            self._countries.get(country, {}).get(word)
            or self._standard.get(word)
            or self._languages.get(word)
        )
        return Match(entry, word) if entry is not None else None


def effect(match: Match | None, *, advanced: bool, blocked: bool, network: bool) -> Effect:
    """What a match does.

    `blocked`: the sender is on the list now. `network`: the network itself handles STOP and
    START for this number (toll-free in the US and Canada), and sends its own reply to STOP.
    """
    if match is None:
        return NO_EFFECT
    keyword = match.entry.keyword
    if keyword is Keyword.STOP:
        # A network's own block is noted even on top of another: no API may lift it then.
        return Effect(
            keyword, True if network or not blocked else None, not blocked and not network
        )
    if keyword is Keyword.HELP:
        return Effect(keyword, None, not blocked)
    if blocked:
        if network and match.word not in _NETWORK_START:
            return NO_EFFECT
        return Effect(keyword, False, True)
    if not advanced and match.word == ONLY_FOR_BLOCKED:
        return NO_EFFECT
    return Effect(keyword, None, advanced)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(data.text("optout_keywords.json"))
    return table


def languages() -> Sequence[str]:
    """The languages that keyword types may name."""
    return tuple(_table()["languages"])


def reserved() -> dict[Keyword, frozenset[str]]:
    """Keywords that cannot be taken away or given another meaning, normalised."""
    return {
        Keyword[name]: frozenset(normal(word) for word in row["reserved"])
        for name, row in _table()["default"].items()
    }


@cache
def default_entries() -> tuple[Entry, ...]:
    """The standard sets with their replies."""
    return tuple(
        Entry(
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

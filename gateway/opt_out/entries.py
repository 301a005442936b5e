"""The rules of an Advanced Opt-Out configuration's entries
(docs/spec/messaging-services.md#modes-of-opt-out,
docs/spec/messaging-services.md#which-keywords-apply). Pure.

An entry is named by a keyword type (`STOP.SPANISH`; `ALL` is the standard language) and a message
type (a country, or `ALL` for any). Keywords are compared as inbound texts are (`keywords.normal`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import phonenumbers

from gateway.opt_out.keywords import ANY, Keyword, default_entries, form, languages, reserved

COUNTRIES: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)
KEYWORD_LIMIT: Final = 34  # characters
REPLY_LIMIT: Final = 320  # characters of a language's or country's reply
STANDARD_REPLY_LIMIT: Final = 1_600  # of a reply of the standard set
MOST_KEYWORDS: Final = 100  # of one entry
MOST_ENTRIES: Final = 1_000  # of one configuration
STANDARD_WORD: Final = re.compile(rf"[A-Z0-9]{{1,{KEYWORD_LIMIT}}}")
KINDS: Final = (Keyword.STOP, Keyword.START, Keyword.HELP)

EntryRow = dict[str, Any]
Name = tuple[str, str]  # keyword type, message type


class BadEntry(ValueError):
    """An entry can't be in a configuration; the text says why."""


def message_types() -> Sequence[str]:
    return (ANY, *sorted(COUNTRIES))


def name_of(row: Mapping[str, Any]) -> Name:
    return row["keyword_type"], row["message_type"]


def read_name(keyword_type: object, message_type: object) -> Name:
    """A checked name of an entry. Raises BadEntry."""
    kind, _, language = str(keyword_type).upper().partition(".")
    country = str(message_type).upper()
    if kind not in {kind.name for kind in KINDS}:
        raise BadEntry("keyword_type must be STOP, START or HELP, a dot and a language")
    if language not in languages():
        named = f"there is no language {language[:40]}" if language else "a language is missing"
        raise BadEntry(f"{named}: a type is written STOP.ENGLISH")
    if country != ANY and country not in COUNTRIES:
        raise BadEntry("message_type must be ALL or a country's two letters")
    if country != ANY and language == ANY:
        raise BadEntry(f"the entry for {country} needs a language")
    return f"{kind}.{language}", country


def read_keywords(name: Name, words: object) -> EntryRow:
    """An entry of keywords. Raises BadEntry."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadEntry("keywords must be a list of texts")
    if len(words) > MOST_KEYWORDS:
        raise BadEntry(f"an entry has at most {MOST_KEYWORDS} keywords")
    standard = name[0].endswith(f".{ANY}")
    found: dict[str, str] = {}
    for word in words:
        word = unicodedata.normalize("NFC", word.strip()).upper()
        if not (STANDARD_WORD.fullmatch(word) if standard else _is_word(word)):
            letters = "A-Z and 0-9" if standard else "letters and digits"
            raise BadEntry(f"a keyword has 1 to {KEYWORD_LIMIT} {letters}: {word[:40]!r}")
        if not (seen := form(word)):
            raise BadEntry(f"a keyword that nobody sees: {word[:40]!a}")
        if " " in seen:  # one letter of these is a sentence, and costs as much to compare
            raise BadEntry(f"a keyword that is several words: {word[:40]!a}")
        found.setdefault(seen, word)
    return {"keyword_type": name[0], "message_type": name[1], "keywords": list(found.values())}


def read_reply(name: Name, text: object) -> EntryRow:
    """An entry's reply. Raises BadEntry."""
    standard = name[0].endswith(f".{ANY}")
    most = STANDARD_REPLY_LIMIT if standard else REPLY_LIMIT
    if not isinstance(text, str) or not text.strip() or len(text) > most or "\x00" in text:
        raise BadEntry(f"the reply of {name[0]} has 1 to {most} characters")
    return {"keyword_type": name[0], "message_type": name[1], "message": text}


def _is_word(text: str) -> bool:
    return 1 <= len(text) <= KEYWORD_LIMIT and (
        text.isalnum() or all(unicodedata.category(character)[0] in "LMN" for character in text)
    )


def without_doubles(rows: Iterable[EntryRow]) -> list[EntryRow]:
    """The rows; raises BadEntry when two have one name, or there are too many."""
    found: dict[Name, EntryRow] = {}
    for row in rows:
        name = name_of(row)
        if name in found:
            raise BadEntry(f"{name[0]} for {name[1]} stands twice")
        found[name] = row
        if len(found) > MOST_ENTRIES:
            raise BadEntry(f"at most {MOST_ENTRIES} entries")
    return list(found.values())


def with_entry(rows: Sequence[EntryRow], row: EntryRow) -> list[EntryRow]:
    """`rows` with one entry put in place of its former self, or at the end."""
    name = name_of(row)
    changed = [row if name_of(entry) == name else entry for entry in rows]
    return without_doubles(changed if row in changed else [*rows, row])


def check(rows: Sequence[EntryRow]) -> None:
    """The rules between entries of keywords. Raises BadEntry.

    A keyword stands once for one country, whatever the language; it never means two things; the
    reserved ones mean what they always do, and stay in the standard set.
    """
    places: dict[tuple[str, str], str] = {}  # country, word → keyword type
    meanings: dict[str, str] = {}
    for keyword_type, country, words in _effective(rows):
        kind = keyword_type.partition(".")[0]
        for word in words:
            first = places.setdefault((country, word), keyword_type)
            if first != keyword_type:
                raise BadEntry(
                    f"{word.upper()} stands in {first} and in {keyword_type} for {country}"
                )
            if meanings.setdefault(word, kind) != kind:
                raise BadEntry(f"{word.upper()} would mean {meanings[word]} and {kind}")
    for keyword, words in reserved().items():
        standard = f"{keyword.name}.{ANY}"
        for row in rows:
            if name_of(row) == (standard, ANY):
                missing = words - {form(word) for word in row["keywords"]}
                if missing:
                    raise BadEntry(f"{', '.join(sorted(missing)).upper()} can't be taken away")


def _effective(rows: Sequence[EntryRow]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Every entry in force: those given, and the standard ones that none of them replaces.

    The reserved words come first, so that it is the other entry that is called wrong.
    """
    given = {name_of(row) for row in rows}
    for keyword, words in reserved().items():
        yield f"{keyword.name}.{ANY}", ANY, words
    for entry in default_entries():
        name = f"{entry.keyword.name}.{ANY}"
        if (name, ANY) not in given:
            yield name, ANY, entry.words
    for row in rows:
        yield *name_of(row), frozenset(map(form, row["keywords"]))


def languages_by_country(rows: Sequence[EntryRow]) -> list[EntryRow]:
    """The message types of a configuration, as its own resource shows them."""
    found: dict[str, set[str]] = {ANY: {ANY}}
    for row in rows:
        found.setdefault(row["message_type"], set()).add(row["keyword_type"].partition(".")[2])
    return [
        {"message_type": country, "languages": sorted(found[country])} for country in sorted(found)
    ]


def with_countries(rows: Sequence[EntryRow], wanted: object) -> list[EntryRow]:
    """`rows` with exactly these message types and languages: `[{message_type, languages}]`.

    What is not named goes with its keywords; what is new gets empty entries to be filled; the
    standard set is always there. Raises BadEntry.
    """
    if not isinstance(wanted, list):
        raise BadEntry("message_types must be a list")
    standard = {(f"{kind.name}.{ANY}", ANY) for kind in KINDS}
    names: dict[Name, None] = dict.fromkeys(sorted(standard))
    for entry in wanted:
        if not isinstance(entry, dict) or set(entry) != {"message_type", "languages"}:
            raise BadEntry("a message type has the fields message_type and languages")
        if not isinstance(entry["languages"], list) or not entry["languages"]:
            raise BadEntry(f"{str(entry['message_type'])[:40]} needs at least one language")
        for language in entry["languages"]:
            for kind in KINDS:
                names[read_name(f"{kind.name}.{language}", entry["message_type"])] = None
    kept = {name_of(row): row for row in rows if name_of(row) in names}
    new = [
        {"keyword_type": name[0], "message_type": name[1], "keywords": []}
        for name in names
        if name not in kept and name not in standard
    ]
    return without_doubles([*kept.values(), *new])

"""Characters that can't be seen, and what a number makes of them."""

from __future__ import annotations

import unicodedata

from gateway.routing.destination import parse_destination
from gateway.routing.hidden import MOST_NAMED, is_hidden, naming_hidden

EVERY = [chr(number) for number in range(0x110000)]


def test_no_number_holds_what_can_not_be_seen() -> None:
    hidden = [character for character in EVERY if is_hidden(character)]
    assert len(hidden) > 4_000
    assert not [character for character in hidden if parse_destination(f"+44{character}1632960675")]


def test_controls_formats_and_line_separators_are_hidden_and_spaces_are_not() -> None:
    for character in EVERY:
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Zl", "Zp"):
            assert is_hidden(character), ascii(character)
        if category == "Zs":
            assert not is_hidden(character), ascii(character)
            assert parse_destination(f"+44{character}1632960675"), ascii(character)


def test_of_those_that_are_named_each_stands_once_and_five_at_most() -> None:
    marks = "\u200b\u200c\u200d\u2060\ufeff\u2800"
    assert len(marks) == MOST_NAMED + 1
    assert naming_hidden("No.", "+44") == "No."
    named = naming_hidden("No.", "\u3164" * 2)
    assert named == "No. It holds characters that can't be seen: U+3164 hangul filler."
    assert naming_hidden("No", marks[:-1]).count("U+") == MOST_NAMED
    assert naming_hidden("No", marks) == naming_hidden("No", marks[:-1])
    assert "U+FFF0 unassigned" in naming_hidden("No", "\ufff0")
    assert "U+0085 control character" in naming_hidden("No", "\x85")

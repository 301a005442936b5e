"""Characters that can't be seen in an address: they come along when one is copied, and then the
address in an error looks right.

Control and format characters and line separators; what Unicode calls default-ignorable
(UAX #44, Default_Ignorable_Code_Point); and what is drawn blank without being a space. Spaces are
seen.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MOST_NAMED: Final = 5  # in one error
_CATEGORIES: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# The empty Braille pattern, a note without a head, hieroglyphic blanks, the Khitan filler.
_BLANK: Final = frozenset("\u2800\U0001d159\U00013441\U00013442\U00016fe4")


def is_hidden(character: str) -> bool:
    return (
        unicodedata.category(character) in _CATEGORIES
        or character in _BLANK
        or _IGNORABLE.match(character) is not None
    )


def naming_hidden(message: str, text: str) -> str:
    """The message about a text, with the characters of the text that can't be seen."""
    hidden = [character for character in dict.fromkeys(text) if is_hidden(character)]
    if not hidden:
        return message
    named = (f"U+{ord(character):04X} {_name(character)}" for character in hidden[:MOST_NAMED])
    return f"{message.rstrip('.')}. It holds characters that can't be seen: {', '.join(named)}."


def _name(character: str) -> str:
    control = unicodedata.category(character) == "Cc"
    return unicodedata.name(character, "control character" if control else "unassigned").lower()

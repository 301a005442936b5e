"""`{{ name }}` in bulk texts: the part of Liquid that fills in a recipient's variables. Pure.

Output tags with the filters `default`, `upcase`, `downcase`, `capitalize`, `strip`. A variable that
a recipient lacks is empty, as in Liquid. Tags (`{% … %}`) are refused: a text with logic is a
template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from gateway.content.encoding import SENT_LIMIT
from gateway.content.filling import MOST_FILTERS, MOST_PLACES, MOST_READ, Filling, TooLong

_PIECE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)\s*(?::\s*(\"[^\"]*\"|'[^']*'|[0-9.]+))?")
_FILTERS: Final[dict[str, Callable[[str], str]]] = {
    "upcase": str.upper,
    "downcase": str.lower,
    "capitalize": str.capitalize,
    "strip": str.strip,
}


TOO_MANY_FILTERS: Final = f"it has more than {MOST_FILTERS:,} filters"


class LiquidError(ValueError):
    """The text is no template of this kind; says what and where."""


class LiquidTemplate:
    """A text, read once and filled in for each recipient."""

    def __init__(self, text: str) -> None:
        """Raises LiquidError."""
        if len(text) > SENT_LIMIT:  # before anything is read: most of it could never be sent
            raise LiquidError(f"it is longer than {SENT_LIMIT:,} characters")
        if "{%" in text:
            raise LiquidError("tags ({% … %}) are not supported")
        self._parts: list[str | tuple[str, list[tuple[str, str | None]]]] = []
        at = filters = 0
        # Found by hand: every pattern that strips what it finds takes quadratic time or worse.
        while (start := text.find("{{", at)) >= 0:
            end = text.find("}}", start + 2)
            if end < 0:
                raise LiquidError("a {{ has no }}")
            if len(self._parts) >= 2 * MOST_PLACES:
                raise LiquidError(f"it has more than {MOST_PLACES:,} places to fill")
            if text.count("|", start, end) > MOST_FILTERS:  # before they are read
                raise LiquidError(TOO_MANY_FILTERS)
            inside = text[start + 2 : end].removeprefix("-").removesuffix("-")
            self._parts.append(text[at:start])
            expression = _expression(inside.strip())
            filters += len(expression[1])
            if filters > MOST_FILTERS:
                raise LiquidError(TOO_MANY_FILTERS)
            self._parts.append(expression)
            at = end + 2
        self._parts.append(text[at:])

    @property
    def constant(self) -> bool:
        """Whether it is the same for everybody."""
        return len(self._parts) == 1

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text for these variables. Raises TooLong."""
        filling, left = Filling(), MOST_READ
        for part in self._parts:
            if isinstance(part, str):
                filling.add(part)
                continue
            text, filters = _given(part, variables), part[1]
            for used, argument in filters:
                left -= len(text)  # what they leave out costs as much as what they keep
                if left < 0:
                    raise TooLong
                text = text or argument or "" if used == "default" else _FILTERS[used](text)
            filling.add(text)
        return filling.text()


def _expression(text: str) -> tuple[str, list[tuple[str, str | None]]]:
    pieces = []
    for piece in text.split("|"):
        found = _PIECE.fullmatch(piece.strip())
        if found is None:
            raise LiquidError(f"{{{{ {text[:60]} }}}} can't be read")
        argument = found[2]
        if argument is not None and argument[0] in "\"'":
            argument = argument[1:-1]
        pieces.append((found[1], argument))
    (name, argument), *filters = pieces
    if argument is not None:
        raise LiquidError(f"{{{{ {text[:60]} }}}} can't be read")
    for used, given in filters:
        if used != "default" and used not in _FILTERS:
            raise LiquidError(f"there is no filter {used!r}")
        if (used == "default") is (given is None):
            raise LiquidError(f"the filter {used!r} takes {'one' if given is None else 'no'} value")
    return name, filters


def _written(value: object) -> str:
    """A variable as JSON has it, but for texts; nothing for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _given(
    expression: tuple[str, list[tuple[str, str | None]]], variables: Mapping[str, Any]
) -> str:
    """The variable of a place. Raises TooLong."""
    text = _written(variables.get(expression[0]))
    if len(text) > SENT_LIMIT:  # before a filter works on it
        raise TooLong
    return text

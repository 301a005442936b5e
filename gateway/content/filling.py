"""Texts put together from pieces, which count as they go: none grows beyond what can be sent.

A text of a few thousand places and a value of a few hundred thousand characters would be a gigabyte
before anybody looked at its length. Pure.
"""

from __future__ import annotations

from typing import Final

from gateway.content.encoding import SENT_LIMIT

MOST_PLACES: Final = 100  # in one text: each costs something for each recipient
MOST_FILTERS: Final = 100  # of all places together
MOST_READ: Final = 10 * SENT_LIMIT  # characters that the filters of one text may read


class TooLong(Exception):
    """The text is longer than any that is sent (21617)."""


class Filling:
    """A text in the making."""

    __slots__ = ("_left", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._left = SENT_LIMIT

    def add(self, piece: str) -> None:
        """Put a piece behind the others. Raises TooLong."""
        self._left -= len(piece)
        if self._left < 0:
            raise TooLong
        self._pieces.append(piece)

    def text(self) -> str:
        return "".join(self._pieces)

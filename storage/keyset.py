"""Lists by page, both ways: a page is what lies beyond a key, in the list's order or against it.

A statement is written once, with PAST where it compares with the key and ORDER behind each column
that it sorts by.
"""

from __future__ import annotations

from typing import NamedTuple

PAST, ORDER = "@PAST", "@ORDER"


class Pages(NamedTuple):
    """The two statements of a list. Read `back`, the rows come in the opposite order."""

    onwards: str
    back: str

    def of(self, back: bool) -> str:
        return self.back if back else self.onwards


def rising(sql: str) -> Pages:
    """Of a list whose keys rise."""
    return Pages(_with(sql, ">", "ASC"), _with(sql, "<", "DESC"))


def falling(sql: str) -> Pages:
    """Of a list whose keys fall: newest first."""
    return Pages(_with(sql, "<", "DESC"), _with(sql, ">", "ASC"))


def _with(sql: str, past: str, order: str) -> str:
    return sql.replace(PAST, past).replace(ORDER, order)

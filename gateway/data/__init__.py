"""The packaged tables: country, area code, alphabet, rate and error data.

Every CSV begins with a comment line that names its source; the column names follow. Tables
are read when first asked for and cached by whoever turns them into a lookup structure.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib.resources import files


def text(name: str) -> str:
    """The content of one packaged file, e.g. ``optout_keywords.json``."""
    return (files(__name__) / name).read_text(encoding="utf-8")


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one packaged CSV, by column name."""
    return parse(text(name).splitlines())


def parse(lines: Iterable[str]) -> list[dict[str, str]]:
    """Read CSV lines, leaving out comment lines before the header.

    For operators' own versions of a table as well (docs/spec/messaging-services.md#country-table).
    """
    table = iter(lines)
    header = next((line for line in table if not line.startswith("#")), "")
    return list(csv.DictReader(_chain(header, table)))


def columns(lines: Iterable[str]) -> list[str]:
    """The names in the header of CSV lines."""
    return list(csv.DictReader(line for line in lines if not line.startswith("#")).fieldnames or ())


def _chain(header: str, table: Iterable[str]) -> Iterable[str]:
    yield header
    yield from table

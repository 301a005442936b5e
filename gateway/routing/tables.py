"""The operator's tables about carriers, countries and prices, from CSV to what routing asks.

Each is replaced whole. `read_facts` takes the content of those that differ from the packaged ones;
a mistake in a table names its row, and is found before the table is stored.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from gateway import data
from gateway.routing import alpha
from gateway.routing.networks import NetworkFacts, PrefixTable
from gateway.routing.prices import CONTENTS, DIRECTIONS, SENDER_TYPES, Prices

TableRow = Mapping[str, str]
_YES_NO: Final = ("yes", "no")


class Table(NamedTuple):
    """What the CSV of a table holds: its columns, and the check of one row."""

    columns: tuple[str, ...]
    key: tuple[str, ...]  # those of them that no two rows have in common
    check: Callable[[TableRow], str]  # what is wrong, or ""
    packaged: str = ""  # the file that stands where the operator has none


def _country(row: TableRow, column: str = "country") -> str:
    known = row[column] in alpha.packaged() or row[column] == ""
    return "" if known else f"{column} {row[column][:20]!r} is no ISO code of a country"


def _prefix(row: TableRow) -> str:
    if not (row["prefix"].isascii() and row["prefix"].isdigit() and len(row["prefix"]) <= 15):
        return "prefix must be 1 to 15 digits, without +"
    return "" if row["carrier"] else "carrier is empty"


def _support(row: TableRow) -> str:
    for column in ("short_codes", "mms"):
        if row[column] not in _YES_NO:
            return f"{column} must be yes or no"
    return "carrier is empty" if not row["carrier"] else _country(row)


def _alpha(row: TableRow) -> str:
    if row["alpha_supported"] not in _YES_NO:
        return "alpha_supported must be yes or no"
    if row["preregistration"] not in ("none", "recommended", "required"):
        return "preregistration must be none, recommended or required"
    return "" if len(row["iso"]) == 2 else "iso must be two letters"


def _price(row: TableRow) -> str:
    for column, choices in (
        ("direction", DIRECTIONS),
        ("sender_type", SENDER_TYPES),
        ("content", CONTENTS),
    ):
        if row[column] not in choices:
            return f"{column} must be one of {', '.join(choices)} (empty: any)"
    try:
        price = Decimal(row["price"])
    except InvalidOperation:
        return "price is no number"
    if not price.is_finite() or not 0 <= price < 1000:
        return "price must be from 0 to 1000"
    return _country(row)


TABLES: Final[Mapping[str, Table]] = {
    "carriers_by_prefix": Table(("prefix", "carrier"), ("prefix",), _prefix),
    "carrier_support": Table(
        ("country", "carrier", "short_codes", "mms"), ("country", "carrier"), _support
    ),
    "mms_countries": Table(("country",), ("country",), _country),
    "alpha_sender_countries": Table(
        ("iso", "alpha_supported", "preregistration"),
        ("iso",),
        _alpha,
        "alpha_sender_countries.csv",
    ),
    "prices": Table(
        ("country", "direction", "sender_type", "content", "price"),
        ("country", "direction", "sender_type", "content"),
        _price,
    ),
}


def read(name: str, content: str) -> list[dict[str, str]]:
    """The rows of a table. Raises ValueError, naming what is missing, or the row that is wrong."""
    table = TABLES[name]
    lines = content.splitlines()
    try:
        named, rows = data.columns(lines), data.parse(lines)
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from None
    for column in table.columns:
        if column not in named:
            raise ValueError(f"no column {column} in the header")
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows, start=1):
        missing = [column for column in table.columns if row.get(column) is None]
        if missing:
            raise ValueError(f"row {number}: no column {missing[0]}")
        if problem := table.check(row):
            raise ValueError(f"row {number}: {problem}")
        key = tuple(row[column] for column in table.key)
        if key in seen:
            what = ", ".join(f"{column} {row[column][:20]}" for column in table.key if row[column])
            raise ValueError(f"row {number}: {what or 'the same'} was there before")
        seen.add(key)
    return rows


def read_facts(contents: Mapping[str, str]) -> NetworkFacts:
    """The facts of checked tables; what is not there is as packaged."""
    rows = {name: read(name, content) for name, content in contents.items()}
    facts = NetworkFacts()
    support = rows.get("carrier_support", [])
    countries = rows.get("mms_countries")
    return NetworkFacts(
        prefixes=PrefixTable(
            {row["prefix"]: row["carrier"] for row in rows.get("carriers_by_prefix", [])}
        ),
        without_short_codes=frozenset(
            (row["country"], row["carrier"]) for row in support if row["short_codes"] == "no"
        ),
        without_mms=frozenset(
            (row["country"], row["carrier"]) for row in support if row["mms"] == "no"
        ),
        mms_countries=(
            facts.mms_countries
            if countries is None
            else frozenset(row["country"] for row in countries)
        ),
        alpha_countries=(
            alpha.read(rows["alpha_sender_countries"])
            if "alpha_sender_countries" in rows
            else facts.alpha_countries
        ),
        prices=Prices.of(rows.get("prices", [])),
    )

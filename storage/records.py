"""What queries return: records of the driver, each described by a TypedDict beside its query.

A connection's rows are `Any`, so that they take the type that the query's function promises, and
nothing is converted. What they promise is held to the schema by
`tests/unit/storage/test_row_types.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class DatedRow(TypedDict):
    created_at: datetime
    updated_at: datetime


class ResourceRow(DatedRow):
    id: int
    sid: str


def columns(record: type) -> str:
    """A select list: the columns that a record describes."""
    return ", ".join(record.__annotations__)

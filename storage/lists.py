"""Lists of rows, read for whoever asks: each statement has a time, and no list holds up the others.

A list that may have to look at many rows looks at them in slices, with a statement and a moment of
the pool for each.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from storage.database import Connection, ConnectionPool

# One tenant's list has one process of the server, and no compiler, and is planned for this tenant:
# what is best for one that has nearly all rows is the worst for the others. A slice reads by the
# index that has its order, whatever the statistics of a growing day say.
TUNED: Final = (
    "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off;"
    " SET LOCAL plan_cache_mode = force_custom_plan"
)
BY_INDEX: Final = (
    "SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
)


SLICE_ROWS: Final = 10_000  # that one statement looks at


class ListTooLong(Exception):
    """A list took longer than it may."""


class Lists:
    """What lists are read from. Each has `most_s` seconds, and a slice so many rows."""

    def __init__(self, pool: ConnectionPool, most_s: float, slice_rows: int = SLICE_ROWS) -> None:
        self.slice_rows = slice_rows
        self._pool = pool
        self._most_s = most_s

    def until(self) -> float:
        """When a list that begins now must have ended, for `check`."""
        return time.monotonic() + self._most_s

    def check(self, until: float) -> None:
        """Raises ListTooLong when the time of a list of several statements is over."""
        if time.monotonic() > until:
            raise ListTooLong

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        """As the pool's. Raises ListTooLong, and what DatabaseUnavailable names."""
        async with self._reading(TUNED) as connection:
            return await connection.fetch(statement, *values)

    async def fetch_by_index(self, statement: str, *values: object) -> list[Any]:
        """The same, of a statement whose order an index has."""
        async with self._reading(f"{TUNED}; {BY_INDEX}") as connection:
            return await connection.fetch(statement, *values)

    @asynccontextmanager
    async def _reading(self, settings: str) -> AsyncIterator[Connection]:
        most_ms = max(1, int(self._most_s * 1000))
        try:
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute(f"SET LOCAL statement_timeout = {most_ms}; {settings}")
                yield connection
        except asyncpg.QueryCanceledError as error:
            raise ListTooLong from error

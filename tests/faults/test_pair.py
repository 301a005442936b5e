"""Two gateways on one database, and what comes between them: nothing is lost, nothing goes twice
without a mark, and a STOP is answered by the one who works.

Three rows here, all of them with TANDEM_PAIR=all (`make nightly`); `python -m pair` tells times.
"""

from __future__ import annotations

import os

import pytest
from pair.namespace import play, refusal
from pair.rows import ROWS

ENDS = "partitioned", "frozen", "answers"  # rows in which A is there again, and must end
QUICK = (
    "A partitioned from the database",
    "A frozen",
    "A partitioned in the middle of an accept",
)
CHOSEN = tuple(ROWS) if os.environ.get("TANDEM_PAIR") == "all" else QUICK


@pytest.mark.skipif(
    refusal() is not None, reason=f"no network namespace can be made here: {refusal()}"
)
@pytest.mark.parametrize("row", CHOSEN)
async def test_the_second_gateway_takes_over_and_nothing_is_lost_or_doubled(row: str) -> None:
    outcome = await play(row)
    assert outcome.clean, outcome
    assert outcome.accepted > 100
    if any(word in row for word in ENDS):
        assert outcome.ended == 1

"""The published statement is what the code does."""

from __future__ import annotations

from pathlib import Path

from smpp.conformance import statement

DOCUMENT = Path(__file__).parents[3] / "docs" / "smpp-conformance.md"


def test_the_published_statement_is_the_one_the_tables_give():
    assert DOCUMENT.read_text(encoding="utf-8") == statement(), (
        "run: python -m smpp.conformance > docs/smpp-conformance.md"
    )

"""What outsiders write stands in a line of the log, and does nothing else there."""

from __future__ import annotations

import logging

import orjson
import pytest

from gateway.observe.logs import JsonFormatter, TextFormatter

ODD = "a\x00b\x1b[31mc\x9bd\x7f\r\n12:00:00.000 warning forged\u2028e\udcff"


@pytest.mark.parametrize("where", ["message", "extra"])
def test_a_line_of_text_is_one_line_and_steers_no_terminal(where: str) -> None:
    fields = {"msg": "%s", "args": (ODD,)} if where == "message" else {"msg": "x", "path": ODD}
    first, *more = TextFormatter().format(logging.makeLogRecord(fields)).split("\n")
    assert "a\\x00b\\x1b[31mc\\x9bd\\x7f\\x0d" in first
    assert all(line.startswith("    ") for line in more), "indented: none passes for another event"
    assert "".join([first, *more]).isprintable()


def test_a_line_of_json_is_json_whatever_was_written() -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (ODD,), "path": ODD})
    assert orjson.loads(JsonFormatter().format(record))["message"].startswith("a\\x00b")

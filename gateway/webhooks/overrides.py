"""Connection overrides in a webhook URL's fragment: `#rc=2&rp=5xx,ct&tt=8000`
(docs/spec/twilio-api.md#our-http-client).

The fragment is never sent and never signed. `sni` and `e` are read and have no effect here: the
server's name is always told, and there are no edges to leave from. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

BAD_EDGE: Final = 11240
BAD_RETRY_POLICY: Final = 11243
CONNECT, READ, CLIENT_ERROR, SERVER_ERROR = "ct", "rt", "4xx", "5xx"
POLICIES: Final = frozenset({CONNECT, READ, CLIENT_ERROR, SERVER_ERROR})
EDGES: Final = frozenset(
    ("ashburn", "umatilla", "dublin", "frankfurt", "sao-paulo", "singapore", "sydney", "tokyo")
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """How one URL is to be called. None: as configured for all."""

    connect_s: float | None = None
    read_s: float | None = None
    total_s: float | None = None  # all attempts together
    retries: int = 1
    retried: frozenset[str] = frozenset({CONNECT})  # a failed TLS handshake counts as `ct`
    problem: int = 0  # the code of an alert; the rest of the overrides still holds


DEFAULT: Final = Overrides()


def overrides_of(url: str) -> Overrides:
    """What the fragment of `url` asks for; a value out of its range is left at its default."""
    if "#" not in url:
        return DEFAULT
    given = {
        name: unquote(value)
        for name, separator, value in (
            pair.partition("=") for pair in urlsplit(url).fragment.split("&")
        )
        if separator
    }
    problem = 0
    retried = DEFAULT.retried
    if "rp" in given:
        named = frozenset(given["rp"].lower().split(","))
        if named == {"all"}:
            retried = POLICIES
        elif named <= POLICIES:
            retried = named
        else:
            problem = BAD_RETRY_POLICY
    if "e" in given and not set(given["e"].split(",")) <= EDGES:
        problem = BAD_EDGE
    retries = _whole(given.get("rc"), 0, 5)
    return Overrides(
        connect_s=_seconds(given.get("ct"), 10_000),
        read_s=_seconds(given.get("rt"), 15_000),
        total_s=_seconds(given.get("tt"), 15_000),
        retries=DEFAULT.retries if retries is None else retries,
        retried=retried,
        problem=problem,
    )


def _whole(text: str | None, low: int, high: int) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 6):
        return None
    return int(text) if low <= int(text) <= high else None


def _seconds(text: str | None, most_ms: int) -> float | None:
    value = _whole(text, 100, most_ms)
    return None if value is None else value / 1000

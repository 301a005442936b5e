"""Lists: both envelopes, with keyset tokens (twilio-api §2.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gateway.api.errors import ApiError
from gateway.api.values import read_whole

DEFAULT_SIZE, LARGEST_SIZE = 50, 1000
LARGEST_NUMBER = 999_999_999
_OWN = ("Page", "PageSize", "PageToken")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: `token` names the last row of the page before, `number` is bookkeeping."""

    size: int
    number: int
    token: str | None
    filters: tuple[tuple[str, str], ...]

    def query(self, number: int, token: str | None) -> str:
        pairs = [*self.filters, ("PageSize", str(self.size)), ("Page", str(number))]
        if token is not None:
            pairs.append(("PageToken", token))
        return urlencode(pairs)


def page_request(query: Sequence[tuple[str, str]]) -> PageRequest:
    """Read the paging parameters; a size above 1000 is clamped. Raises ApiError 20001."""
    values = dict(query)

    def number(name: str, default: int) -> int:
        text = values.get(name)
        if text is None or text == "":
            return default
        value = read_whole(text, 0, LARGEST_NUMBER)
        if value is None:
            raise ApiError(20001, f"{name} must be a whole number up to {LARGEST_NUMBER}")
        return value

    size = number("PageSize", DEFAULT_SIZE)
    if size < 1:
        raise ApiError(20001, "PageSize must be at least 1")
    return PageRequest(
        size=min(size, LARGEST_SIZE),
        number=number("Page", 0),
        token=values.get("PageToken"),
        filters=tuple(pair for pair in query if pair[0] not in _OWN),
    )


def cut(rows: Sequence[Any], request: PageRequest, sid_of: Any) -> tuple[Sequence[Any], str | None]:
    """One page of `rows` (fetched with one row to spare) and the token of the next."""
    if len(rows) <= request.size:
        return rows, None
    rows = rows[: request.size]
    return rows, "PA" + sid_of(rows[-1])


def in_memory(items: Sequence[Any], request: PageRequest, sid_of: Any) -> Sequence[Any]:
    """The rest of an ordered list after the page token, with one row to spare."""
    start = 0
    if request.token is not None:
        wanted = request.token.removeprefix("PA")
        for index, item in enumerate(items):
            if sid_of(item) == wanted:
                start = index + 1
                break
        else:
            raise ApiError(20001, "PageToken is not valid")
    return items[start : start + request.size + 1]


def envelope_2010(
    key: str, rows: Sequence[Mapping[str, Any]], uri: str, request: PageRequest, token: str | None
) -> dict[str, Any]:
    """The list body of the 2010-04-01 API; nothing but paging keys beside `key`."""
    start = request.number * request.size
    return {
        key: rows,
        "page": request.number,
        "page_size": request.size,
        "start": start if rows else 0,
        "end": start + len(rows) - 1 if rows else 0,
        "uri": f"{uri}?{request.query(request.number, request.token)}",
        "first_page_uri": f"{uri}?{request.query(0, None)}",
        "next_page_uri": f"{uri}?{request.query(request.number + 1, token)}" if token else None,
        "previous_page_uri": None,
    }


def envelope_v1(
    key: str, rows: Sequence[Mapping[str, Any]], url: str, request: PageRequest, token: str | None
) -> dict[str, Any]:
    """The list body of the v1 APIs: absolute URLs under `meta`."""
    return {
        key: rows,
        "meta": {
            "key": key,
            "page": request.number,
            "page_size": request.size,
            "url": f"{url}?{request.query(request.number, request.token)}",
            "first_page_url": f"{url}?{request.query(0, None)}",
            "next_page_url": f"{url}?{request.query(request.number + 1, token)}" if token else None,
            "previous_page_url": None,
        },
    }

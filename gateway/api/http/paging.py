"""Lists: both envelopes, with keyset tokens (docs/spec/twilio-api.md#paging)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from gateway.api.http.errors import ApiError
from gateway.api.http.values import read_whole

DEFAULT_SIZE, LARGEST_SIZE = 50, 1000
LARGEST_NUMBER = 999_999_999
_OWN = ("Page", "PageSize", "PageToken")
RowT = TypeVar("RowT")


ONWARDS, BACK = "PA", "PB"


class Tokens(NamedTuple):
    """Of the pages beside one; None where there is none."""

    next: str | None
    previous: str | None


ALONE = Tokens(None, None)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: `token` names the row that it comes behind (`PA…`), or before (`PB…`), `number`
    is bookkeeping.
    """

    size: int
    number: int
    token: str | None
    filters: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str | None:
        """The row that the token names."""
        return self.token[len(ONWARDS) :] if self.token is not None else None

    @property
    def back(self) -> bool:
        """Whether the page before that row is wanted: its rows are read against the order."""
        return self.token is not None and self.token.startswith(BACK)

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
    page, token = number("Page", 0), values.get("PageToken") or None
    if token is None and page > 0:
        # Whoever counts pages up must not see the first one for ever.
        raise ApiError(20001, "a page above 0 needs the PageToken that next_page gives")
    if token is not None and not token.startswith((ONWARDS, BACK)):
        raise ApiError(20001, "PageToken is not valid")
    return PageRequest(
        size=min(size, LARGEST_SIZE),
        number=page,
        token=token,
        filters=tuple(pair for pair in query if pair[0] not in _OWN),
    )


def cut(
    rows: Sequence[RowT], request: PageRequest, sid_of: Callable[[RowT], str]
) -> tuple[Sequence[RowT], Tokens]:
    """One page of `rows` and the tokens of those beside it.

    They were fetched with one row to spare and, where the request leads back, the nearest first.
    """
    spare = len(rows) > request.size
    rows = rows[: request.size]
    if not rows:
        return rows, ALONE
    if request.back:
        rows = rows[::-1]
    following = spare or request.back
    before = spare if request.back else request.token is not None
    return rows, Tokens(
        ONWARDS + sid_of(rows[-1]) if following else None,
        BACK + sid_of(rows[0]) if before else None,
    )


def in_memory(
    items: Sequence[RowT], request: PageRequest, sid_of: Callable[[RowT], str]
) -> Sequence[RowT]:
    """What lies beyond the page token in an ordered list, nearest first, with one row to spare."""
    if request.token is None:
        return items[: request.size + 1]
    place = next((at for at, item in enumerate(items) if sid_of(item) == request.key), None)
    if place is None:
        raise ApiError(20001, "PageToken is not valid")
    if request.back:
        return items[max(0, place - request.size - 1) : place][::-1]
    return items[place + 1 : place + request.size + 2]


def envelope_2010(
    key: str, rows: Sequence[Mapping[str, Any]], uri: str, request: PageRequest, tokens: Tokens
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
        "next_page_uri": _beside(uri, request, 1, tokens.next),
        "previous_page_uri": _beside(uri, request, -1, tokens.previous),
    }


def envelope_v1(
    key: str, rows: Sequence[Mapping[str, Any]], url: str, request: PageRequest, tokens: Tokens
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
            "next_page_url": _beside(url, request, 1, tokens.next),
            "previous_page_url": _beside(url, request, -1, tokens.previous),
        },
    }


def _beside(url: str, request: PageRequest, step: int, token: str | None) -> str | None:
    """The address of the page before or behind."""
    if token is None:
        return None
    return f"{url}?{request.query(max(0, request.number + step), token)}"

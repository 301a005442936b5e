"""Pages of a list, onwards and back: none twice, none left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.http.errors import ApiError
from gateway.api.http.paging import PageRequest, Tokens, cut, envelope_2010, in_memory, page_request

Row = str
Read = Callable[[PageRequest], Sequence[Row]]


def of_memory(rows: Sequence[Row]) -> Read:
    return lambda request: in_memory(rows, request, str)


def of_database(rows: Sequence[Row]) -> Read:
    """As a keyset statement reads: beyond the key, nearest first, with one to spare."""

    def read(request: PageRequest) -> Sequence[Row]:
        if request.back:
            found = [row for row in reversed(rows) if row < (request.key or "")]
        else:
            found = [row for row in rows if request.key is None or row > request.key]
        return found[: request.size + 1]

    return read


def page(read: Read, query: str) -> tuple[list[Row], dict[str, str | None]]:
    request = page_request(parse_qsl(query))
    rows, tokens = cut(read(request), request, str)
    body = envelope_2010("rows", [{"sid": row} for row in rows], "/x", request, tokens)
    links = {way: body[f"{way}_page_uri"] for way in ("next", "previous")}
    return list(rows), {way: urlsplit(link).query if link else None for way, link in links.items()}


@given(st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(1, 5), st.booleans())
def test_all_pages_onwards_and_the_same_pages_back(keys: set[str], size: int, memory: bool) -> None:
    rows = sorted(keys)
    read = of_memory(rows) if memory else of_database(rows)
    there: list[list[Row]] = []
    query: str | None = f"PageSize={size}"
    last = ""
    while query:
        last = query
        found, links = page(read, query)
        there.append(found)
        query = links["next"]
    assert [row for found in there for row in found] == rows
    back: list[list[Row]] = []
    query = last
    while query:
        found, links = page(read, query)
        back.append(found)
        query = links["previous"]
    assert back[::-1] == there


def test_the_first_page_has_none_before_it_and_the_last_none_behind_it() -> None:
    read = of_memory(["a", "b", "c"])
    assert page(read, "PageSize=3") == (["a", "b", "c"], {"next": None, "previous": None})
    _, links = page(read, "PageSize=2")
    found, links = page(read, links["next"] or "")
    assert (found, links["next"]) == (["c"], None)
    found, links = page(read, links["previous"] or "")
    assert (found, links["previous"]) == (["a", "b"], None)


@pytest.mark.parametrize(("number", "token"), [(1, None), (7, None), (1, "")])
def test_a_page_above_the_first_needs_its_token(number: int, token: str | None) -> None:
    query = [("Page", str(number))] + ([("PageToken", token)] if token is not None else [])
    with pytest.raises(ApiError) as refused:
        page_request(query)
    assert (refused.value.status, refused.value.code) == (400, 20001)


def test_page_zero_needs_none_and_a_number_beside_a_token_is_bookkeeping() -> None:
    assert page_request([("Page", "0")]).token is None
    assert page_request([("Page", "9"), ("PageToken", "PAx")]).key == "x"


@pytest.mark.parametrize("token", ["x", "P", "PC", "pa1"])
def test_a_token_of_no_kind_is_refused(token: str) -> None:
    with pytest.raises(ApiError):
        page_request([("PageToken", token)])


def test_a_row_that_is_gone_is_told() -> None:
    with pytest.raises(ApiError):
        page(of_memory(["a"]), "PageToken=PAzz&Page=1")


def test_no_rows_have_no_neighbours() -> None:
    assert cut([], page_request([("PageToken", "PAx")]), str) == ([], Tokens(None, None))

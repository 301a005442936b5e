"""Form bodies, typed fields, and which product a request is for."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.http.errors import ApiError, meaning
from gateway.api.http.forms import check_form_type, check_url, parse_form
from gateway.api.http.origin import RequestTarget, resolve
from gateway.api.http.paging import page_request
from gateway.api.http.render import rfc2822

text = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.tuples(text.filter(bool), text), max_size=10))
def test_a_form_is_read_as_the_standard_library_reads_it(pairs: list[tuple[str, str]]) -> None:
    body = urlencode(pairs).encode()
    form = parse_form(body)
    expected = parse_qs(body.decode(), keep_blank_values=True)
    assert {name: form.all(name) for name in expected} == expected


@given(st.binary(max_size=200))
def test_any_octets_are_a_form_or_a_clear_error(body: bytes) -> None:
    try:
        body.decode()
        form = parse_form(body)
    except UnicodeDecodeError:
        return  # not text before its escapes: what is left to say is in the next test
    except ApiError as error:
        form = None
        code = error.code
    assert form is not None or code == 20001


def test_a_body_that_is_not_utf8_is_refused() -> None:
    for body in (b"Body=%ff", b"Body=\xff"):
        with pytest.raises(ApiError) as caught:
            parse_form(body)
        assert caught.value.code == 20001


def test_of_a_repeated_name_every_value_is_kept() -> None:
    form = parse_form(b"MediaUrl=a&MediaUrl=b&Body=")
    assert form.all("MediaUrl") == ["a", "b"]
    assert form.get("Body") == ""
    assert form.get("To") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False)],
)
def test_booleans(value: str, expected: bool) -> None:
    assert parse_form(f"x={value}".encode()).flag("x") is expected


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (
            "a.org",
            "/api/2010-04-01/Accounts.json",
            RequestTarget("api", "/2010-04-01/Accounts.json", "/api"),
        ),
        (
            "a.org",
            "/2010-04-01/Accounts.json",
            RequestTarget("api", "/2010-04-01/Accounts.json", ""),
        ),
        ("api.twilio.com", "/2010-04-01/x", RequestTarget("api", "/2010-04-01/x", "")),
        ("messaging.twilio.com", "/v1/Services", RequestTarget("messaging", "/v1/Services", "")),
        (
            "messaging.sydney.au1.twilio.com",
            "/v1/Services",
            RequestTarget("messaging", "/v1/Services", ""),
        ),
        (
            "conversations.twilio.com:443",
            "/v1/Services",
            RequestTarget("conversations", "/v1/Services", ""),
        ),
        ("messaging.gw.example", "/v1/Services", RequestTarget("messaging", "/v1/Services", "")),
        (
            "a.org",
            "/messaging/v1/Services",
            RequestTarget("messaging", "/v1/Services", "/messaging"),
        ),
        ("a.org", "/v1/Services/IS1", RequestTarget("conversations", "/v1/Services/IS1", "")),
        ("a.org", "/v1/Services/MG1", RequestTarget("messaging", "/v1/Services/MG1", "")),
        ("a.org", "/v1/Alerts", RequestTarget("monitor", "/v1/Alerts", "")),
        ("a.org", "/v1/Conversations", RequestTarget("conversations", "/v1/Conversations", "")),
        ("a.org", "/v1/Deactivations", RequestTarget("messaging", "/v1/Deactivations", "")),
        ("a.org", "/favicon.ico", None),
    ],
)
def test_products(host: str, path: str, expected: RequestTarget | None) -> None:
    assert resolve(host, path, "gw.example") == expected


@pytest.mark.parametrize(("size", "expected"), [("1", 1), ("1000", 1000), ("1001", 1000), ("", 50)])
def test_page_sizes_are_clamped(size: str, expected: int) -> None:
    assert page_request([("PageSize", size)]).size == expected


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5", "9" * 10])
def test_page_sizes_that_make_no_sense_are_refused(size: str) -> None:
    with pytest.raises(ApiError):
        page_request([("PageSize", size)])


def test_dates_are_rfc_2822_in_gmt() -> None:
    assert rfc2822(1558716286.9) == "Fri, 24 May 2019 16:44:46 +0000"


def test_every_code_that_is_shown_has_a_meaning() -> None:
    for code in (20003, 20404, 21211, 21604, 21703, 21711, 30008, 30036, 30410):
        assert meaning(code) != "unknown error"


@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        (b"application/x-www-form-urlencoded", True),
        (b"Application/X-WWW-Form-Urlencoded ; charset=UTF-8", True),
        (b"application/x-www-form-urlencoded;charset=utf-8", True),
        (b"application/x-www-form-urlencodedfoo", False),
        (b"application/x-www-form-urlencoded foo", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_the_type_of_a_form(content_type: bytes, good: bool) -> None:
    if good:
        check_form_type(content_type)
        return
    with pytest.raises(ApiError) as caught:
        check_form_type(content_type)
    assert (caught.value.code, caught.value.status) == (20415, 415)


@pytest.mark.parametrize(
    ("given_url", "stored"),
    [
        ("http://a.example/a b?q=ü ä", "http://a.example/a%20b?q=%C3%BC%20%C3%A4"),
        (" http://a.example/ ", "http://a.example/"),
        ("http://bücher.example:81/ü", "http://xn--bcher-kva.example:81/%C3%BC"),
        ("http://u:p@bücher.example/", "http://u:p@xn--bcher-kva.example/"),
        ("http://a.example/x?", "http://a.example/x"),
        ("http://a.example/x?#rc=2", "http://a.example/x?#rc=2"),
        ("http://a.example/x??", "http://a.example/x??"),
        ("http://[::1]:8/", "http://[::1]:8/"),
        (f"http://{'a' * 63}.example/", f"http://{'a' * 63}.example/"),
        ("http://localhost./", "http://localhost./"),
    ],
)
def test_a_url_is_stored_as_it_is_signed_and_called(given_url: str, stored: str) -> None:
    assert check_url(given_url, "StatusCallback", 21609) == stored


@pytest.mark.parametrize(
    "url",
    [
        f"http://{'a' * 64}.example/",
        f"http://{'.'.join(['a' * 60] * 5)}/",
        "http://a_b.example/",
        "http://a\x00.example/",
        "http://a.example/\x07",
        "http://[::1/",
        "http://a:b/",
        "//a.example/",
        "ftp://a.example/",
    ],
)
def test_a_url_that_nobody_can_call_is_refused_where_it_is_given(url: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_url(url, "StatusCallback", 21609)
    assert refused.value.code == 21609

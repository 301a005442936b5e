"""Links in texts: which parts are one, and what stands in their place."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.shortening import CODE, LENGTH, codes_in, shorten
from gateway.enrichment.media_links import new_code

BASE = "https://go.example/"


def urls_in(text: str) -> list[str]:
    return [link.url for link in shorten(text, BASE, lambda: "Aaaaaaaaa1")[1]]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see http://a.example", ["http://a.example"]),
        ("HTTPS://A.example/x?y=1#z now", ["HTTPS://A.example/x?y=1#z"]),
        ("(https://a.example/b).", ["https://a.example/b"]),
        ("https://a.example/b_(c)!", ["https://a.example/b_(c)"]),
        ("“https://a.example/b”, ‘http://c.example’", ["https://a.example/b", "http://c.example"]),
        ("<https://a.example/b>", ["https://a.example/b"]),
        ("https://a.example/ä", ["https://a.example/ä"]),
        ("a.example, ftp://a.example and mailto:a@a.example", []),
        ("http:// https://? http:///x", []),
        ("https://go.example/Abcdefghi1 is short", []),
    ],
)
def test_each_http_url_is_a_link_without_the_sentence_around_it(text: str, urls: list[str]) -> None:
    assert urls_in(text) == urls


def test_what_is_around_a_link_stays() -> None:
    codes = iter(["Aaaaaaaaa1", "Bbbbbbbbb2"])
    text, links = shorten(
        "Go (http://a.example/x), or http://a.example/x!", BASE, lambda: next(codes)
    )
    assert text == f"Go ({BASE}Aaaaaaaaa1), or {BASE}Bbbbbbbbb2!"
    assert links == [("Aaaaaaaaa1", "http://a.example/x"), ("Bbbbbbbbb2", "http://a.example/x")]
    assert codes_in(text, BASE) == ["Aaaaaaaaa1", "Bbbbbbbbb2"]


@given(st.text(), st.text(alphabet="abc/?=.,()&%-", min_size=1), st.text())
def test_the_long_text_comes_back_from_the_short_one(before: str, path: str, after: str) -> None:
    long = f"{before} http://x.example/{path} {after}"
    random = Random(1)
    text, links = shorten(long, BASE, lambda: new_code(random, LENGTH))
    assert links
    assert all(CODE.match(link.code) for link in links)
    for link in links:
        text = text.replace(BASE + link.code, link.url)
    assert text == long

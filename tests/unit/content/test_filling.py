"""Texts that are filled in: what they say, and that none grows beyond what can be sent."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.encoding import SENT_LIMIT
from gateway.content.filling import MOST_FILTERS, MOST_PLACES, MOST_READ, Filling, TooLong
from gateway.content.liquid import LiquidError, LiquidTemplate
from gateway.content.templates import fill


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        ("Hi {{ name }}!", {"name": "Ada"}, "Hi Ada!"),
        ("Hi {{name}}{{ name }}", {"name": "A"}, "Hi AA"),
        ("{{- name -}}", {"name": "A"}, "A"),
        ("{{ name | upcase }}", {"name": "a"}, "A"),
        ("{{ name | default: 'you' | capitalize }}", {}, "You"),
        ('{{ name | default : "you" }}', {"name": ""}, "you"),
        ("{{ missing }}.", {}, "."),
        ("no places", {}, "no places"),
        ("{ {{a}} }", {"a": 1}, "{ 1 }"),
    ],
)
def test_a_text_is_filled_in(text: str, variables: dict[str, Any], said: str) -> None:
    assert LiquidTemplate(text).render(variables) == said


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{{",
            "{{ }}",
            "{{ a",
            "{% if %}",
            "{{ a | nothing }}",
            "{{ a: 1 }}",
            "{{ a | default }}",
        ),
        *("{{ a b }}", "{{ 'a' }}", "{{a\n|\n}}", "{{" * 3),
    ],
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(LiquidError):
        LiquidTemplate(text)


@pytest.mark.parametrize("places", [1, 4, MOST_FILTERS])
def test_filters_are_bounded_in_all_places_together(places: int) -> None:
    """A text that comes out empty costs as much as a long one, for each of its recipients."""
    each = MOST_FILTERS // places
    fits = ("{{a" + "|upcase" * each + "}}") * places
    assert LiquidTemplate(fits).render({"a": ""}) == ""
    for more in ("{{a|strip}}", "{{a" + "|" * 10_000 + "}}"):
        if places < MOST_PLACES:
            with pytest.raises(LiquidError, match="filters"):
                LiquidTemplate(fits + more)


def test_what_filters_read_is_bounded_whatever_they_leave() -> None:
    each = SENT_LIMIT // 2
    template = LiquidTemplate("{{a" + "|upcase" * (MOST_READ // each - 1) + "|strip}}{{b|upcase}}")
    assert template.render({"a": " " * each}) == ""
    with pytest.raises(TooLong):
        template.render({"a": " " * each, "b": "x"})


def test_the_length_of_a_text_is_looked_at_before_it_is_read() -> None:
    LiquidTemplate("x" * SENT_LIMIT)
    with pytest.raises(LiquidError, match="longer"):
        LiquidTemplate("x" * (SENT_LIMIT + 1))


def test_a_text_has_so_many_places_and_no_more() -> None:
    LiquidTemplate("{{a}}" * MOST_PLACES)
    with pytest.raises(LiquidError, match="places"):
        LiquidTemplate("{{a}}" * (MOST_PLACES + 1))


@pytest.mark.parametrize("value", ["x" * 300_000, "x" * (SENT_LIMIT + 1)])
def test_a_filled_text_stops_at_the_limit_and_costs_no_more_than_that(value: str) -> None:
    template = LiquidTemplate("{{a}}" * MOST_PLACES)
    tracemalloc.start()
    try:
        with pytest.raises(TooLong):
            template.render({"a": value})
        with pytest.raises(TooLong):
            fill("{{a}}" * 3_000, {"a": value})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * SENT_LIMIT


@given(st.lists(st.text(max_size=9_000), max_size=5))
def test_a_text_of_pieces_is_all_of_them_or_too_long(pieces: list[str]) -> None:
    whole = "".join(pieces)
    filling = Filling()
    try:
        for piece in pieces:
            filling.add(piece)
    except TooLong:
        assert len(whole) > SENT_LIMIT
    else:
        assert filling.text() == whole
        assert len(whole) <= SENT_LIMIT


def test_a_template_is_filled_up_to_the_limit() -> None:
    assert len(fill("{{a}}", {"a": "x" * SENT_LIMIT})) == SENT_LIMIT
    with pytest.raises(TooLong):
        fill("{{a}}.", {"a": "x" * SENT_LIMIT})


def test_what_is_no_text_is_written_as_json_has_it() -> None:
    variables = {"a": {"b": [1, None]}, "t": True, "f": 1.5, "n": None}
    said = LiquidTemplate("{{a}} {{t}} {{f}} {{n}}").render(variables)
    assert said == '{"b":[1,null]} true 1.5 '

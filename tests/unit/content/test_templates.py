"""What a message made from a template says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.content.templates import TemplateError, fill, problem_of, say

TEXT = {"twilio/text": {"body": "Hi {{1}}, {{ shop }}"}}


def test_places_are_filled_by_number_and_name_and_by_defaults() -> None:
    assert say(TEXT, {"1": "you", "shop": "Acme"}, {"1": "Ann"}).body == "Hi Ann, Acme"
    with pytest.raises(TemplateError, match="shop"):
        say(TEXT, {}, {"1": "Ann"})


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    assert fill("{{a}}{{b}}", {"a": "{{b}}", "b": "{{a}}"}) == "{{b}}{{a}}"
    assert fill("{{}} {1} {{a-b}}", {}) == "{{}} {1} {{a-b}}"


def test_an_sms_takes_the_text_type_and_else_the_text_of_another() -> None:
    reply = {"twilio/quick-reply": {"body": "Yes?", "actions": [{"title": "Yes"}]}}
    assert say({**reply, **TEXT}, {"1": "a", "shop": "b"}, {}).body == "Hi a, b"
    assert say(reply, {}, {}) == ("Yes?", [])
    card = {"twilio/card": {"title": "Shoes", "media": ["https://a/{{1}}.png"]}}
    assert say(card, {"1": "x"}, {}) == ("Shoes", ["https://a/x.png"])
    assert say({"twilio/media": {"media": ["https://a/1"]}}, {}, {}) == ("", ["https://a/1"])


@pytest.mark.parametrize(
    "types",
    [
        None,
        {},
        {"twilio/pigeon": {"body": "x"}},
        {"twilio/text": "x"},
        {"twilio/text": {}},
        {"twilio/text": {"body": 5}},
        {"twilio/media": {"body": "", "media": []}},
        {"twilio/media": {"media": "https://a/1"}},
    ],
)
def test_a_template_without_a_text_is_none(types: Any) -> None:
    assert problem_of(types)


def test_a_template_with_a_text_or_media_is_one() -> None:
    assert problem_of(TEXT) == ""
    assert problem_of({"twilio/media": {"media": ["https://a/1"]}}) == ""

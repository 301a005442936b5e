"""Content templates: what an SMS says of one, with its variables filled in
(docs/spec/messaging-services.md#further-features).

A template has its content in one or more types; SMS and MMS take the text of `twilio/text` if it is
there, else the text of another type, without buttons and lists. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.content.filling import Filling

# The types with a text, in the order in which an SMS takes them, and the field that it stands in.
TEXT_OF: Final[Mapping[str, str]] = {
    "twilio/text": "body",
    "twilio/media": "body",
    "twilio/quick-reply": "body",
    "twilio/call-to-action": "body",
    "twilio/list-picker": "body",
    "twilio/card": "title",
}
MOST_VARIABLES: Final = 100
_PLACE: Final = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*\}\}")


class TemplateError(Exception):
    """The variables do not fit the template; the text says why (21656)."""


class Said(NamedTuple):
    """What a message made from a template says."""

    body: str
    media: list[str]


def problem_of(types: object) -> str:
    """What is wrong with the types of a new template; "" where nothing is."""
    if not isinstance(types, dict) or not types:
        return "types must be an object with at least one type"
    for name, content in types.items():
        field = TEXT_OF.get(name)
        if field is None:
            return f"{name[:40]} is not one of {', '.join(TEXT_OF)}"
        if not isinstance(content, dict):
            return f"{name} must be an object"
        media = content.get("media")
        if media is not None and not _is_list_of_texts(media):
            return f"{name}: media must be a list of URLs"
        text = content.get(field)
        if text is not None and not isinstance(text, str):
            return f"{name}: {field} must be a text"
        if not text and not (name == "twilio/media" and media):
            return f"{name}: {field} is missing"
    return ""


def say(
    types: Mapping[str, Any], defaults: Mapping[str, str], variables: Mapping[str, str]
) -> Said:
    """The text and media of a checked template. Raises TemplateError, TooLong."""
    values = {**defaults, **variables}
    name = next(name for name in TEXT_OF if name in types)
    content = types[name]
    body = fill(content.get(TEXT_OF[name]) or "", values)
    carries_media = name in ("twilio/media", "twilio/card")
    media = content.get("media") or [] if carries_media else []
    return Said(body, [fill(url, values) for url in media])


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its places filled; what is filled in is not looked at again.

    Raises TemplateError for a variable without a value, TooLong.
    """
    filling, at = Filling(), 0
    for place in _PLACE.finditer(text):
        name = place[1]
        if name not in values:
            raise TemplateError(f"the variable {name} has no value")
        filling.add(text[at : place.start()])
        filling.add(values[name])
        at = place.end()
    filling.add(text[at:])
    return filling.text()


def _is_list_of_texts(media: object) -> bool:
    return isinstance(media, list) and all(isinstance(url, str) for url in media)

"""The variables of content templates, as JSON."""

from __future__ import annotations

import orjson

from gateway.api.http.errors import ApiError
from gateway.content.templates import MOST_VARIABLES


def variables_of(given: object, code: int) -> dict[str, str]:
    """A JSON object of texts and numbers, as texts. Raises ApiError `code`."""
    if not isinstance(given, dict) or len(given) > MOST_VARIABLES:
        raise ApiError(code, f"variables must be a JSON object of at most {MOST_VARIABLES} values")
    values = {}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ApiError(code, f"the variable {name[:64]} must be a text")
        values[name] = str(value)
    return values


def read_variables(text: str | None) -> dict[str, str]:
    """`ContentVariables`. Raises ApiError 21656."""
    if not text:
        return {}
    try:
        return variables_of(orjson.loads(text), 21656)
    except orjson.JSONDecodeError:
        raise ApiError(21656, "ContentVariables must be a JSON object") from None

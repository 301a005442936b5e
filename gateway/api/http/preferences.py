"""Which kinds of sender a service prefers, by country: parameters in JSON (extensions)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.api.http.errors import ApiError
from gateway.routing import alpha
from gateway.routing.sender_pool import SenderKind

KINDS: Final = tuple(
    kind.name.lower()
    for kind in (
        SenderKind.LONG_CODE,
        SenderKind.TOLL_FREE,
        SenderKind.SHORT_CODE,
        SenderKind.ALPHA,
    )
)
HEAVIEST: Final = 1_000


def priority(parameter: str, text: str) -> dict[str, list[str]]:
    """`{"US": ["toll_free", "long_code"]}`: kinds in the order to be tried. Raises ApiError."""
    found = _by_country(parameter, text)
    for kinds in found.values():
        if not isinstance(kinds, list) or not _known(kinds) or len(set(kinds)) != len(kinds):
            raise ApiError(20001, f"{parameter}: lists of {', '.join(KINDS)}, by country")
    return found


def weights(parameter: str, text: str) -> dict[str, dict[str, int]]:
    """`{"US": {"toll_free": 1, "long_code": 3}}`: shares of recipients. Raises ApiError."""
    found = _by_country(parameter, text)
    for shares in found.values():
        if (
            not isinstance(shares, dict)
            or not _known(list(shares))
            or not all(type(share) is int and 0 <= share <= HEAVIEST for share in shares.values())
        ):
            raise ApiError(
                20001, f"{parameter}: 0 to {HEAVIEST} by kind ({', '.join(KINDS)}), by country"
            )
    return found


def _by_country(parameter: str, text: str) -> dict[str, Any]:
    """A JSON object by ISO code; an empty text is an empty one."""
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        raise ApiError(20001, f"{parameter} must be a JSON object") from None
    if not isinstance(found, dict) or any(country not in alpha.packaged() for country in found):
        raise ApiError(20001, f"{parameter} must be a JSON object by ISO code of a country")
    return found


def _known(kinds: list[Any]) -> bool:
    return bool(kinds) and all(kind in KINDS for kind in kinds)

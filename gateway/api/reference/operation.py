"""How one operation of the API is put down in the coverage table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Support(StrEnum):
    """What becomes of a parameter."""

    DONE = "yes"
    STORED = "stored"  # kept and shown, without effect
    IGNORED = "ignored"
    REFUSED = "refused"  # an error says so


_NONE: Final[Mapping[str, Support]] = MappingProxyType({})


class Operation(NamedTuple):
    method: str
    path: str  # as in gateway.api.routes
    parameters: Mapping[str, Support] = _NONE
    sdk: str = ""  # the SDK's call that a test compares parameters with
    note: str = ""


def all_(state: Support, names: str) -> dict[str, Support]:
    return dict.fromkeys(names.split(), state)

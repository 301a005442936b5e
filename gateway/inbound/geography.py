"""Where a number is from, as far as its digits tell: `FromCity`, `ToState` and so on.

Cities come from the geodata of `phonenumbers`. Its own door to them loads the numbers of the whole
world (100 MB); ours reads the first few of its files, which hold the North American plan, and
keeps a compact copy.
"""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from importlib import util
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import phonenumbers

from gateway.routing.destination import parse_destination
from gateway.routing.nanp import area_codes

NANP = "1"
LONGEST, SHORTEST = 11, 4  # digits of a prefix, with the country's 1
REMEMBERED = 20_000  # numbers


class Region(NamedTuple):
    """Upper case; "" where it is not known."""

    country: str
    city: str = ""
    state: str = ""
    zip: str = ""
    in_nanp: bool = False


@lru_cache(maxsize=REMEMBERED)
def place_of(address: str) -> Region:
    """Where a number in E.164 is from; nowhere for anything else."""
    number = parse_destination(address) if address.startswith("+") else None
    if number is None:
        return Region("")
    if number.calling_code != NANP:
        return Region(number.country)
    code = area_codes().get(number.e164[2:5])
    state = code.region if code is not None and "/" not in code.region else ""
    city, comma, state_of_city = _description(number.e164[1:]).rpartition(", ")
    if comma:
        return Region(number.country, city.upper(), state_of_city.upper(), in_nanp=True)
    return Region(number.country, "", state.upper(), in_nanp=True)  # only the area code tells


def _description(digits: str) -> str:
    """`Jersey City, NJ`, or of a code without a city `New Jersey`, or ""."""
    known = cities()
    for length in range(LONGEST, SHORTEST - 1, -1):
        found = known.get(int(digits[:length]))
        if found is not None:
            return found
    return ""


@cache
def cities() -> dict[int, str]:
    """Prefix (with the 1) to description, read once: some 20 ms, a few MB."""
    found: dict[int, str] = {}
    folder = Path(phonenumbers.__file__).parent / "geodata"
    for number in count():
        path = folder / f"data{number}.py"
        data = _load(path) if path.exists() else {}
        for prefix, names in data.items():
            if not prefix.startswith(NANP):
                return found
            if "en" in names:
                found[int(prefix)] = sys.intern(names["en"])
        if not data:
            return found
    raise AssertionError("count() ended")


def _load(path: Path) -> dict[str, dict[str, str]]:
    spec = util.spec_from_file_location(f"phonenumbers.geodata.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data: Any = module.data
    return dict(data)

"""No pattern of the product takes more than linear time over what comes from outside.

Every compiled pattern is walked, wherever it is: those that modules keep, and those written where
they are used. Each is tried with texts made of its own characters, repeated, that end in what it
does not expect: that is what makes a pattern with two ways to read a text try them all.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import gateway
import smpp
import storage

pytestmark = pytest.mark.slow

FIRST, LONGEST = 12, 12 * 2**9  # characters of the texts; each twice as long as that before
FACTOR = 4
MOST_RATIO = 8.0  # of the time for a text FACTOR times as long: linear is 4, quadratic 16
WORTH_A_LOOK_S = 0.004  # quadratic time over the longest is fifty times this
ROUNDS = 5
ROOTS = (gateway, smpp, storage)


def modules() -> Iterator[Any]:
    for root in ROOTS:
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def kept_patterns() -> dict[tuple[Any, int], str]:
    """Those that are attributes of modules: by pattern and flags, where it is."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                found.setdefault((value.pattern, value.flags), f"{module.__name__}.{name}")
    return found


def written_patterns() -> dict[tuple[Any, int], str]:
    """Those that stand as constants in a call of `re`."""
    found = {}
    for root in ROOTS:
        for file in Path(root.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "re"
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                    and isinstance(node.args[0].value, str | bytes)
                ):
                    pattern = re.compile(node.args[0].value)
                    found.setdefault((pattern.pattern, pattern.flags), f"{file}:{node.lineno}")
    return found


PATTERNS = {**written_patterns(), **kept_patterns()}


def characters(tree: Any) -> Iterator[str]:
    """One character of each kind that the pattern speaks of."""
    for kind, value in tree:
        if kind in (constants.LITERAL, constants.NOT_LITERAL):
            yield chr(value)
        elif kind is constants.RANGE:
            yield chr(value[0])
            yield chr(value[1])
        elif kind is constants.CATEGORY:
            yield {
                constants.CATEGORY_SPACE: " ",
                constants.CATEGORY_DIGIT: "7",
                constants.CATEGORY_WORD: "w",
            }.get(value, "!")
        elif kind is constants.IN:
            yield from characters(value)
        elif kind is constants.ANY:
            yield "z"
        elif kind in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT):
            yield from characters(value[2])
        elif kind is constants.SUBPATTERN:
            yield from characters(value[3])
        elif kind is constants.ATOMIC_GROUP:
            yield from characters(value)
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from characters(branch)
        elif kind in (constants.ASSERT, constants.ASSERT_NOT):
            yield from characters(value[1])


def literal_start(tree: Any) -> str:
    """What a match begins with in any case."""
    start = ""
    for kind, value in tree:
        if kind is not constants.LITERAL:
            break
        start += chr(value)
    return start


def texts(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Makers of adversarial texts of about so many characters."""
    source = pattern.pattern
    tree = parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(source, bytes) else 0)
    kinds = sorted(set(characters(tree)))[:12]
    start = literal_start(tree)
    units = [*kinds, *(first + second for first in kinds[:6] for second in kinds[:6])]
    if start:
        units += [start, *(start + kind for kind in kinds)]

    def text(before: str, unit: str, after: str, size: int) -> Any:
        whole = before + unit * (size // len(unit)) + after
        return whole.encode("latin-1", "replace") if isinstance(source, bytes) else whole

    for unit in units:
        for before in dict.fromkeys(("", start)):
            for after in ("", "\x00", "!"):
                yield lambda size, b=before, u=unit, a=after: text(b, u, a, size)  # type: ignore[misc]


def _ratio(
    do: Callable[[Any], object], make: Callable[[int], Any], size: int, rounds: int
) -> float:
    return cost(do, make(size), rounds) / max(cost(do, make(size // FACTOR), rounds), 1e-6)


def cost(do: Callable[[Any], object], text: Any, rounds: int) -> float:
    """CPU seconds, the best of so many rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        do(text)
        best = min(best, time.process_time() - began)
    return best


def is_super_linear(pattern: re.Pattern[Any]) -> str:
    """The text that shows it, or "". Whatever is cheap anyhow is not measured further."""
    for make in texts(pattern):
        for do in (pattern.fullmatch, pattern.search):
            size = FIRST
            while size <= LONGEST:  # step by step, so that what takes exponential time ends, too
                text = make(size)
                if cost(do, text, 1) > WORTH_A_LOOK_S:
                    if all(_ratio(do, make, size, rounds) > MOST_RATIO for rounds in (1, ROUNDS)):
                        return repr(text[:60])
                    break
                size *= 2
    return ""


def test_the_walk_finds_the_patterns_of_the_product() -> None:
    places = " ".join(PATTERNS.values())
    for name in ("destination._PUNCTUATION", "receipt._FIELD", "templates._PLACE", "settings"):
        assert name in places
    assert len(PATTERNS) > 40


@pytest.mark.parametrize("source", PATTERNS, ids=[PATTERNS[source] for source in PATTERNS])
def test_a_pattern_takes_linear_time(source: tuple[Any, int]) -> None:
    assert is_super_linear(re.compile(*source)) == ""


@pytest.mark.parametrize(
    "source",
    [r"\{\{-?\s*(.*?)\s*-?\}\}", r"(a+)+$", r"\s+x", r"^(?:\d+,?)*!$", r"=(.*?)=(.*?)=end"],
)
def test_the_measure_knows_a_pattern_that_does_not(source: str) -> None:
    assert is_super_linear(re.compile(source, re.DOTALL))

"""What no linter knows of how this code is to read: run by `make lint`.

* A class has a name that no other package's class has: one word, one meaning.
* No variable is called `one`: the noun says what is gone through.
* No docstring begins with a pronoun that stands for a noun somewhere else.
* What is said of a field stands before it.
* A function has at most 70 lines, so that it is seen at once; a table may be longer.
* What is built is given at most five collaborators by place; hooks and values are named.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("gateway", "smpp", "storage")
LONGEST = 70
GIVEN = 5
# Not collaborators: the values that make one question, one command, one table entry.
OF_VALUES = {
    "gateway/routing/question.py",
    "gateway/loadtest/sends.py",
    "gateway/api/opt_outs/opt_out_entries.py",
}
PRONOUN = re.compile(
    r"(It|Its|They|Their|Theirs|Them|Those|He|His|She|Her|Such"
    r"|These (are|were|wait)|This (is|was|one)|One (has|who|that))\b"
)
# Long for a reason: closures over one protocol object, on the path of every request.
LONG = {"gateway/api/fastlane.py: fast_lane"}


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def shared_class_names() -> Iterator[str]:
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for name, tree in trees(*PRODUCT):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(name)
    for name, files in sorted(homes.items()):
        if len(files) > 1:
            yield f"class {name} is defined in {', '.join(sorted(files))}"


def is_called_one(node: ast.AST) -> bool:
    stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "one"
    return stored or (isinstance(node, ast.arg) and node.arg == "one")


def said_after(body: list[ast.stmt]) -> Iterator[int]:
    """Lines of texts that stand after the field they tell of."""
    for before, node in pairwise(body):
        if (
            isinstance(before, ast.Assign | ast.AnnAssign)
            and isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno


def complaints() -> Iterator[str]:
    yield from shared_class_names()
    for name, tree in trees(*PRODUCT, "bench"):
        for node in ast.walk(tree):
            where = f"{name}:{getattr(node, 'lineno', 1)}"
            if is_called_one(node):
                yield f"{where}: a variable is called `one`"
            if isinstance(body := getattr(node, "body", None), list):
                for line in said_after(body):
                    yield f"{name}:{line}: a text stands after its field"
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                said = ast.get_docstring(node)
                if said and PRONOUN.match(said):
                    yield f"{where}: a docstring begins with a pronoun: {said.splitlines()[0]}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                given = len(node.args.args) - 1
                if node.name == "__init__" and given > GIVEN and name not in OF_VALUES:
                    yield f"{where}: it is given {given} collaborators"
                if lines > LONGEST and f"{name}: {node.name}" not in LONG:
                    yield f"{where}: {node.name} has {lines} lines"


def main() -> int:
    found = list(complaints())
    print("\n".join(found) or "the house is in order")
    return len(found) > 0


if __name__ == "__main__":
    sys.exit(main())

"""What a comment, a docstring, an answer or a page cites is in the repository."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

from gateway.routing.selector import RULES

ROOT = Path(__file__).parents[2]
CITED = re.compile(r"\b(docs/[\w./-]+\.md)(?:#([\w-]+))?")
LINKED = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *$")


def texts(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    if not listed:  # an archive without a history
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
    hidden = (".venv/", ".tandem/", ".git/")
    return [
        ROOT / name
        for name in listed
        if name.endswith(suffixes) and not name.startswith(hidden) and (ROOT / name).exists()
    ]


@cache
def anchors(page: Path) -> frozenset[str]:
    found: Counter[str] = Counter()
    names = set()
    fenced = False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        heading = HEADING.match(line)
        if heading is None or fenced:
            continue
        name = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1])
        name = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", name).lower()).replace(" ", "-")
        names.add(name if not found[name] else f"{name}-{found[name]}")
        found[name] += 1
    return frozenset(names)


def broken(page: Path, anchor: str | None) -> bool:
    return not page.exists() or bool(anchor and anchor not in anchors(page))


def test_what_code_cites_is_there() -> None:
    cited = [
        (f"{path.relative_to(ROOT)}: {page}#{anchor}", ROOT / page, anchor)
        for path in texts(".py", ".sql", ".toml", ".sh")
        for page, anchor in CITED.findall(path.read_text())
    ]
    assert len(cited) > 150
    assert [what for what, page, anchor in cited if broken(page, anchor)] == []


def test_what_pages_link_to_is_there() -> None:
    missing = []
    for path in texts(".md"):
        for target in LINKED.findall(path.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            page = (path.parent / name).resolve() if name else path
            if broken(page, anchor if page.suffix == ".md" else None):
                missing.append(f"{path.relative_to(ROOT)}: {target}")
    assert missing == []


def test_what_explain_names_as_a_source_is_there() -> None:
    for rule in RULES:
        page, _, anchor = rule.source.partition("#")
        assert not broken(ROOT / page, anchor), rule.name


def test_sections_are_cited_of_standards_alone() -> None:
    """A number of a section says nothing where its document is not at hand."""
    ours = re.compile(r"(messaging-services|twilio-api|\bdesign)(\.md)? §")
    for path in texts(".py", ".sql", ".md"):
        if path.name != Path(__file__).name:
            assert ours.search(path.read_text()) is None, path

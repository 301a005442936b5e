"""The metrics of several workers as one text: each sample with the worker that it is of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

END: Final = "# EOF"  # of OpenMetrics


def merged(texts: Iterable[tuple[int, bytes]]) -> bytes:
    """Expositions by worker, in one of the two text formats, joined family by family."""
    families: dict[str, tuple[list[str], list[str]]] = {}  # comments and samples, by name
    ends = False
    for worker, text in texts:
        comments: list[str] = []
        samples: list[str] = []
        for line in text.decode().splitlines():
            if line == END:
                ends = True
            elif line.startswith("#"):
                _, _, name, *_ = line.split(" ", 3)
                comments, samples = families.setdefault(name, ([], []))
                if line not in comments:
                    comments.append(line)
            elif line:
                samples.append(_labelled(line, worker))
    lines = [line for parts in families.values() for part in parts for line in part]
    return ("\n".join([*lines, *([END] if ends else [])]) + "\n").encode()


def _labelled(sample: str, worker: int) -> str:
    label = f'worker="{worker}"'
    at = min(at for at in (sample.find("{"), sample.find(" ")) if at >= 0)
    if sample[at] == " ":
        return f"{sample[:at]}{{{label}}}{sample[at:]}"
    comma = "" if sample[at + 1] == "}" else ","
    return f"{sample[:at]}{{{label}{comma}{sample[at + 1 :]}"

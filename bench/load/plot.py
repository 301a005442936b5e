"""The table as a picture: throughput, CPU per message, and the latency curve."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Final

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from bench.load.rows import LATENCY, TABLED, Rounds

COLOURS: Final = {"tandem": "#1f77b4", "floor": "#9aa5b1", "kannel": "#d98c3f"}
OTHERS: Final = "#7db07d"  # other checkouts
NINES: Final = (0, 90, 99, 99.9, 99.99)


def draw(results: dict[str, Rounds], file: Path) -> Path:
    """Write the picture as SVG; its path."""
    figure, (rates, costs, latency) = pyplot.subplots(1, 3, figsize=(15, 4.5))
    _bars(rates, results, "carried_per_second", "messages carried per second")
    _bars(costs, results, "cpu_us", "CPU per message, µs")
    for side, runs in results.get(LATENCY.name, {}).items():
        counts: dict[int, int] = {}
        for run in runs:
            for highest, count in run.buckets:
                counts[highest] = counts.get(highest, 0) + count
        values = sorted(counts)
        seen = list(accumulate(counts[value] for value in values))
        # As HDR plots have it: each nine of the percentile is as wide as the one before.
        x = [seen[-1] / max(seen[-1] - second, 1) for second in seen]
        latency.plot(
            x, [value / 1000 for value in values], label=side, color=COLOURS.get(side, OTHERS)
        )
    latency.set_xscale("log")
    latency.set_xticks([100 / (100 - percent) for percent in NINES])
    latency.set_xticklabels([f"{percent:g} %" for percent in NINES])
    latency.set_title("accept latency at half of the maximum, ms")
    latency.set_ylim(bottom=0)
    if latency.get_lines():
        latency.legend()
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
    return file


def _bars(axes, results: dict[str, Rounds], name: str, title: str) -> None:  # type: ignore[no-untyped-def]
    rows = [row for row in TABLED if row.name in results]
    sides = list(dict.fromkeys(side for row in rows for side in results[row.name]))
    width = 0.8 / max(len(sides), 1)
    for at, side in enumerate(sides):
        places, heights = [], []
        for number, row in enumerate(rows):
            runs = results[row.name].get(side)
            if runs:
                places.append(number + at * width)
                heights.append(median(getattr(run, name) for run in runs))
        axes.bar(places, heights, width, label=side, color=COLOURS.get(side, OTHERS))
    axes.set_xticks([number + 0.4 - width / 2 for number in range(len(rows))])
    axes.set_xticklabels([row.name for row in rows])
    axes.set_title(title)
    axes.legend()

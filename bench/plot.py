"""The report as a picture: every ratio to P, and every peer beside headrace."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.report import FOLDER, Contents, goals

FILE = FOLDER / "bench.png"
MET, MISSED, PLAIN = "#2a7f62", "#c0392b", "#4a6fa5"
VERSUS = "vs_"


def draw(report: Contents) -> Path:
    """Write ``build/bench/bench.png`` and give its path."""
    ratios = report["ratios"]
    of_p = {n: r for n, r in ratios.items() if n in report["runs"] and report["runs"][n]["of"] == "P"}
    versus = {n: r for n, r in ratios.items() if n.startswith(VERSUS)}
    parts = [(t, v) for t, v in (("share of P", of_p), ("times the peer", versus)) if v] or [("share of P", of_p)]
    heights = [max(len(v), 3) for _, v in parts]
    figure, axes = pyplot.subplots(
        len(parts),
        1,
        figsize=(9, 1.2 + 0.34 * sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, values) in zip(axes[:, 0], parts, strict=True):
        _bars(ax, values, report, title)
    figure.savefig(FILE, dpi=120)
    pyplot.close(figure)
    return FILE


def _bars(ax: Axes, values: dict[str, float], report: Contents, title: str) -> None:
    floors = goals()
    names = list(values)
    for place, name in enumerate(names):
        value, floor = values[name], floors.get(name)
        colour = PLAIN if floor is None else MET if value >= floor else MISSED
        ax.barh(place, value, color=colour, height=0.7)
        if name in report["runs"]:
            runs = report["runs"][name]["ratios"]
            ax.plot([min(runs), max(runs)], [place, place], color="black", linewidth=1)
        if floor is not None:
            ax.plot([floor, floor], [place - 0.42, place + 0.42], color="black", linewidth=2)
        ax.annotate(f" {value:.2f}", (value, place), va="center", fontsize=8, xytext=(6, 0), textcoords="offset points")
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    if title.startswith("times"):
        ax.set_xscale("log")
    ax.set_xlabel(f"{title} (black bar: floor; line: min to max)", fontsize=8)
    ax.margins(x=0.12)
    ax.spines[["top", "right"]].set_visible(False)

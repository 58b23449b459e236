"""The report's plots as SVG that stands in a page: text stays text, and colour is never all that tells."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from headrace.jobs.whatif.curves import BARS
from headrace.jobs.whatif.report import Report
from headrace.jobs.whatif.slices import Group, OverTime
from headrace.jobs.whatif.words import span, tame

PRODUCTION, CANDIDATE = "#5b6875", "#0b6bcb"
BETTER, WORSE, UNCLEAR = "#14733c", "#b3261e", "#9aa7b4"
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headrace",
    "text.parse_math": False,  # a stranger's $ is a dollar
    "font.size": 9,
    "axes.titlesize": 10,
}
_LINES: dict[str, dict[str, Any]] = {
    "production": {"color": PRODUCTION, "marker": "s", "linestyle": "--"},
    "candidate": {"color": CANDIDATE, "marker": "o", "linestyle": "-"},
}
Draw = Callable[[Figure], None]


def over_time(found: OverTime) -> str:
    """AUC and log loss of both models in each span; spans that a model had mostly seen are hatched."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, 2)
        names = [span(b.start, b.stop, found.unit) for b in found.buckets]
        for axis, metric, title in (
            (axes[0], "log_loss", "log loss (lower is better)"),
            (axes[1], "auc", "AUC (higher is better)"),
        ):
            for model, style in _LINES.items():
                values = [_value(getattr(b.figures, model, None), metric) for b in found.buckets]
                axis.plot(range(len(names)), values, label=model, markersize=4, **style)
            told = "mostly seen in training or validation"
            for i, b in enumerate(found.buckets):
                if b.rows and b.seen > b.rows / 2:
                    edge = {"facecolor": "#f0f3f6", "edgecolor": "#c4ccd4", "hatch": "///", "linewidth": 0}
                    axis.axvspan(i - 0.5, i + 0.5, zorder=0, label=told, **edge)
                    told = "_nolegend_"
            axis.set_title(title)
            axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
            _plain(axis)
        _legend(figure, axes[0])

    return _svg(draw, 10.5, 3.6)


def spread(report: Report) -> str:
    """How both models' scores are spread."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        edges = np.linspace(0, 1, BARS + 1)
        p, c = (np.array(report.curves.spread[m]) for m in _LINES)
        axis.stairs(p, edges, fill=True, color="#cfd6dd", label="production")
        axis.stairs(c, edges, color=CANDIDATE, linewidth=1.8, label="candidate")
        threshold = report.flips.threshold
        axis.axvline(threshold, color="#1b2733", linestyle=":", linewidth=1.2, label=f"threshold {threshold:g}")
        axis.set_xlabel("score")
        axis.set_ylabel("records")
        axis.set_xlim(0, 1)
        _counts(axis.yaxis)
        _plain(axis)
        _legend(figure, axis)

    return _svg(draw, 5.2, 3.6)


def calibration(report: Report) -> str:
    """How often label 1 came where a model gave a score: on the diagonal the score is the share."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color="#9aa7b4", linewidth=1, linestyle=":", label="as foretold")
        for model, style in _LINES.items():
            points = report.curves.calibration[model]
            axis.plot([p.score for p in points], [p.share for p in points], label=model, markersize=4, **style)
        axis.set_xlabel("mean score")
        axis.set_ylabel("share of label 1")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        _plain(axis)
        _legend(figure, axis)

    return _svg(draw, 5.2, 3.6)


def differences(group: Group) -> str:
    """Difference in log loss for each value of a group, with its 95 % interval."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        values = group.values[::-1]
        places = range(len(values))
        for i, v in enumerate(values):
            colour, hatch = {"better": (BETTER, ""), "worse": (WORSE, "///")}.get(v.figures.verdict, (UNCLEAR, "..."))
            axis.barh(i, v.figures.difference.log_loss, color=colour, hatch=hatch, edgecolor="white", height=0.7)
            if v.figures.margin is not None:
                axis.errorbar(v.figures.difference.log_loss, i, xerr=v.figures.margin, color="#1b2733", capsize=2)
        axis.axvline(0, color="#1b2733", linewidth=0.8)
        axis.set_yticks(places, [f"{tame(v.value)[:24]} ({v.figures.rows:,})" for v in values])
        axis.set_ylim(-0.6, len(values) - 0.4)
        axis.set_xlabel("difference in log loss: left of 0 the candidate is better")
        _plain(axis)
        kinds = (("better", BETTER, ""), ("worse", WORSE, "///"), ("no clear difference", UNCLEAR, "..."))
        there = {v.figures.verdict for v in values}
        for name, colour, hatch in kinds:
            if name in there:
                axis.barh(0, 0, color=colour, hatch=hatch, edgecolor="white", label=name)
        _legend(figure, axis)

    return _svg(draw, 10.5, 1.3 + 0.27 * len(group.values))


def decisions(report: Report) -> str:
    """The decisions that would change, and for those judged, how they turned out."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        f = report.flips
        bars = [("no, would be yes", f.no_yes, UNCLEAR, ""), ("yes, would be no", f.yes_no, UNCLEAR, "")]
        bars += [("judged: for the better", f.better, BETTER, ""), ("judged: for the worse", f.worse, WORSE, "///")]
        for i, (_, count, colour, hatch) in enumerate(reversed(bars)):
            axis.barh(i, count, color=colour, hatch=hatch, edgecolor="white", height=0.65)
            axis.annotate(f"{count:,}", (count, i), xytext=(4, 0), textcoords="offset points", va="center")
        axis.set_yticks(range(len(bars)), [name for name, *_ in reversed(bars)])
        axis.set_xlim(0, max(1, *(count for _, count, *_ in bars)) * 1.12)
        axis.set_xlabel("records")
        _counts(axis.xaxis)
        _plain(axis)

    return _svg(draw, 10.5, 2.1)


def _value(merit: object, metric: str) -> float:
    found = getattr(merit, metric, None)
    return float("nan") if found is None else float(found)


def _counts(axis: Axis) -> None:
    """Whole numbers alone."""
    axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _plain(axis: Axes) -> None:
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, axis: Axes) -> None:
    """Above the axes, where no curve can run through it."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False)


def _svg(draw: Draw, width: float, height: float) -> str:
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts of its own
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]

"""A view as a screen."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from headrace.query.decisions import Decision
from headrace.query.watch.look import MEASURES
from headrace.query.watch.view import View

MOVED, MOVING = 0.25, 0.1
"""Population stability index over which a feature has moved much, and somewhat (Siddiqi 2006)."""
FEATURES = 8
MODELS = 8
WIDE = 100
"""Columns of a terminal from which on every measure is shown."""
LEFT_OUT = ("brier", "calibration_error")
BAR = 40
"""Characters of the longest bar."""
GAP = 2
"""Columns between two columns of a table."""


def screen(view: View, width: int) -> RenderableType:
    """Everything a view shows, for a terminal 80 columns wide or more."""
    parts: list[RenderableType] = [
        Text.assemble((view.pipeline, "bold"), f"  {view.at:%Y-%m-%d %H:%M:%S} UTC"),
        *(Text(str(trouble), "bold red") for trouble in view.troubles),
        _flows(view),
        _models(view),
    ]
    if view.accuracy:
        parts.append(_accuracy(view, width))
    if view.drift:
        parts.append(_drift(view, width))
    if view.decisions:
        parts.append(_decisions(view.decisions, width))
    if view.dead:
        dead = ", ".join(f"{k} {n:,}" for k, n in view.dead.items())
        parts.append(Text(f"dead letters since the watch began: {dead}", "yellow"))
    spaced = [part for shown in parts for part in (shown, Text())]
    return Group(*spaced[:-1])


def _flows(view: View) -> Table:
    table = _table("processor", *map(_number, ("workers", "offsets/s", "records to come")))
    for flow in view.flows:
        style = None if flow.members else "dim"
        table.add_row(flow.processor, str(flow.members), f"{flow.per_second:,.0f}", f"{flow.lag:,}", style=style)
    return table


def _models(view: View) -> RenderableType:
    if not view.models:
        return Text("no model is in force yet", "yellow")
    table = _table("partition", _name("model in force"), _number("since offset"), "answers", "shadows")
    for row in view.models:
        answers = " / ".join(f"{share:.0%}" for share in row.shares)
        table.add_row(str(row.partition), row.model_id[:12], f"{row.offset:,}", answers, str(row.shadows))
    return table


def _accuracy(view: View, width: int) -> Table:
    shown = [measure for measure in MEASURES if width >= WIDE or measure not in LEFT_OUT]
    table = _table(_name("model"), _name("route"), _name("window to"), *(_number(_HEADS[m]) for m in shown))
    ruling = {row.model_id for row in view.models}
    for row in view.accuracy[:MODELS]:
        window = f"{row.window_end:%y-%m-%d %H:%M}" + (f" v{row.version}" if row.version > 1 else "")
        figures = [_figure(measure, row.values.get(measure)) for measure in shown]
        style = "bold" if row.model_id in ruling else None
        table.add_row(row.model_id[:12], row.route, window, *figures, style=style)
    return table


def _figure(measure: str, value: float | None) -> str:
    if value is None:
        return ""
    if measure == "predictions":
        return f"{value:,.0f}"
    return f"{value:.1%}" if measure == "labels_missing" else f"{value:.3f}"


_HEADS = {
    "log_loss": "log loss",
    "auc": "AUC",
    "brier": "Brier",
    "calibration_error": "calib.",
    "labels_missing": "no label",
    "predictions": "scored",
}


def _drift(view: View, width: int) -> Table:
    first = view.drift[0]
    title = f"drift under {first.model_id[:12]}, window to {first.window_end:%Y-%m-%d %H:%M}"
    rows = view.drift[:FEATURES]
    # The longest bar is the largest index, but no small one fills the line.
    full = max(MOVED, *(row.psi or 0.0 for row in rows))
    room = min(BAR, max(10, width - 2 * len("0.000  ") - max(len(row.feature) for row in rows) - 4))
    table = _table(_name("feature"), _number("PSI"), _number("KS"), "", title=title)
    for row in rows:
        psi = row.psi or 0.0
        style = "bold red" if psi > MOVED else "yellow" if psi > MOVING else None
        bar = "#" * round(psi / full * room)
        table.add_row(row.feature, f"{psi:.3f}", "" if row.ks is None else f"{row.ks:.3f}", bar, style=style)
    return table


def _decisions(decisions: list[Decision], width: int) -> Table:
    """The last decisions: who decided what of which model, and as much of why as there is room for."""
    rows = [_decision(d) for d in decisions]
    heads = ("decided", "decision", "model", "by")
    columns = zip(heads, *rows, strict=True)
    used = sum(max(map(len, cells)) + GAP for cells in columns)
    table = _table(*map(_name, heads), Column("why", no_wrap=True))
    for row, d in zip(rows, decisions, strict=True):
        why = Text(d.what)
        why.truncate(max(0, width - used), overflow="ellipsis")
        table.add_row(*row, why)
    return table


def _decision(decision: Decision) -> tuple[str, str, str, str]:
    return f"{decision.at:%m-%d %H:%M:%S}", decision.kind, decision.model_id[:12], decision.by


def _name(head: str) -> Column:
    return Column(head, no_wrap=True)


def _number(head: str) -> Column:
    return Column(head, justify="right", no_wrap=True)


def _table(*columns: str | Column, title: str = "") -> Table:
    return Table(
        *columns,
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=None,
        header_style="cyan",
        pad_edge=False,
        padding=(0, GAP, 0, 0),
    )

"""A view as a screen."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from headrace.query.watch.look import MEASURES
from headrace.query.watch.view import View

MOVED, MOVING = 0.25, 0.1
"""Population stability index over which a feature has moved much, and somewhat (Siddiqi 2006)."""
FEATURES = 8
MODELS = 8


def screen(view: View) -> RenderableType:
    """Everything a view shows, for a terminal 80 columns wide or more."""
    parts: list[RenderableType] = [
        Text.assemble((view.pipeline, "bold"), f"  {view.at:%Y-%m-%d %H:%M:%S} UTC"),
        _flows(view),
        _models(view),
    ]
    if view.accuracy:
        parts.append(_accuracy(view))
    if view.drift:
        parts.append(_drift(view))
    if view.decisions:
        parts.append(_decisions(view))
    if view.dead:
        parts.append(Text("dead letters since now: " + ", ".join(f"{k} {n:,}" for k, n in view.dead.items()), "yellow"))
    return Group(*parts)


def _flows(view: View) -> Table:
    table = _table("processor", *(Column(name, justify="right") for name in ("workers", "offsets/s", "to come")))
    for flow in view.flows:
        style = None if flow.members else "dim"
        table.add_row(flow.processor, str(flow.members), f"{flow.per_second:,.0f}", f"{flow.lag:,}", style=style)
    return table


def _models(view: View) -> RenderableType:
    if not view.models:
        return Text("no model rules yet", "yellow")
    table = _table("partition", "model in force", Column("since offset", justify="right"), "answers", "shadows")
    for row in view.models:
        answers = " / ".join(f"{share:.0%}" for share in row.shares)
        table.add_row(str(row.partition), row.model_id[:12], f"{row.offset:,}", answers, str(row.shadows))
    return table


def _accuracy(view: View) -> Table:
    names = [name.replace("_", " ") for name in MEASURES]
    table = _table(
        "model", "route", Column("window to", no_wrap=True), *(Column(name, justify="right") for name in names)
    )
    ruling = {row.model_id for row in view.models}
    for row in view.accuracy[:MODELS]:
        window = f"{row.window_end:%Y-%m-%d %H:%M}" + (f" v{row.version}" if row.version > 1 else "")
        figures = [_figure(name, row.values.get(name)) for name in MEASURES]
        style = "bold" if row.model_id in ruling else None
        table.add_row(row.model_id[:12], row.route, window, *figures, style=style)
    return table


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "predictions":
        return f"{value:,.0f}"
    return f"{value:.1%}" if name == "labels_missing" else f"{value:.3f}"


def _drift(view: View) -> Table:
    title = f"drift under {view.drift[0].model_id[:12]}, window to {view.drift[0].window_end:%Y-%m-%d %H:%M}"
    table = _table(title, Column("PSI", justify="right"), Column("KS", justify="right"), "")
    for row in view.drift[:FEATURES]:
        psi = row.psi or 0.0
        style = "bold red" if psi > MOVED else "yellow" if psi > MOVING else None
        bar = "#" * min(40, round(psi * 40))
        table.add_row(row.feature, f"{psi:.3f}", "" if row.ks is None else f"{row.ks:.3f}", bar, style=style)
    return table


def _decisions(view: View) -> Table:
    table = _table("decided", "", "model", "by", Column("", overflow="ellipsis", no_wrap=True))
    for row in view.decisions:
        table.add_row(f"{row.at:%m-%d %H:%M:%S}", row.kind, row.model_id[:12], row.by, row.what)
    return table


def _table(*columns: str | Column) -> Table:
    return Table(*columns, box=None, header_style="cyan", pad_edge=False)

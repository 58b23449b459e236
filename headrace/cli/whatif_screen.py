"""The report on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from headrace.cli.tables import details, fold, name, number, table
from headrace.jobs.whatif.cautions import cautions, headline
from headrace.jobs.whatif.extremes import Extreme
from headrace.jobs.whatif.figures import Comparison
from headrace.jobs.whatif.report import Report
from headrace.jobs.whatif.words import figure, margin, moment, span, tame, verdict

ROWS = 10
"""Single records shown on either side; the page and JSON hold them all."""
BOTH = ("AUC\nprod.", "AUC\ncand.", "loss\nprod.", "loss\ncand.", "\ndifference")
"""Heads of two models' figures, in two lines for 80 columns."""
STYLES = {"better": "bold green", "worse": "bold red", "no clear difference": "bold"}


def show(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(_asked(report))
    console.print()
    console.print(Text(verdict(report), style=STYLES[report.headline.verdict] if report.headline else "bold yellow"))
    console.print(Text(f"judged: {headline(report)}"))
    if report.headline is not None:
        _apart(console, _figures(report.headline), _parts(report))
    console.print()
    for text in cautions(report):
        console.print(Text(f"! {text}", style="yellow"))
    if report.over_time is not None:
        _apart(console, _over_time(report))
    _apart(console, *_groups(report))
    console.print()
    _flips(report, console)
    _shift(report, console)
    for title, rows in (
        ("where the candidate is further off", report.extremes.worst),
        ("where production was further off", report.extremes.best),
    ):
        if rows:
            _apart(console, _rows(title, rows))


def _apart(console: Console, *tables: Table) -> None:
    """Print tables with an empty line before each."""
    for shown in tables:
        console.print()
        console.print(shown)


def _asked(report: Report) -> Table:
    asked, counts = report.asked, report.counts
    manifest = asked.candidate
    shown = details(f"what if: {asked.pipeline} under {manifest.model_id[:12]}")
    shown.add_row("candidate", f"{manifest.algorithm}, {manifest.lineage.records:,} examples")
    offsets = "  ".join(f"{p}:{a:,}-{b:,}" for p, (a, b) in asked.ranges.items())
    shown.add_row("features", Text(offsets, overflow="fold"))
    if report.event_times is not None:
        shown.add_row("event time", " to ".join(map(moment, report.event_times)))
    answered = "  ".join(f"{m.model_id[:12]} {m.share:.1%}" for m in report.models)
    shown.add_row("answered by", Text(answered, overflow="fold"))
    told = f"{counts.records:,}, of them {counts.answered:,} answered, {counts.labelled:,} labelled, "
    shown.add_row("records", f"{told}{counts.unfit:,} unfit for the candidate")
    return shown


def _figures(c: Comparison) -> Table:
    shown = _table(fold("figure"), *_right("production", "candidate", "difference"))
    p, q, d = c.production, c.candidate, c.difference
    shown.add_row("log loss (lower is better)", figure(p.log_loss), figure(q.log_loss), margin(c))
    shown.add_row("AUC (higher is better)", figure(p.auc), figure(q.auc), figure(d.auc, signed=True))
    shown.add_row("Brier score (lower is better)", figure(p.brier), figure(q.brier), figure(d.brier, signed=True))
    shown.add_row("share of label 1", figure(c.base_rate), "", "")
    return shown


def _parts(report: Report) -> Table:
    o = report.overall
    shown = _table(name("read before by"), number("records"), *_right(*BOTH), title="who had seen the records")
    for reader, part in (
        ("neither", o.fresh),
        ("the candidate", o.seen),
        ("production's alone", o.known),
        ("all", o.all),
    ):
        shown.add_row(reader, *_both(part))
    return shown


def _over_time(report: Report) -> Table:
    assert report.over_time is not None
    unit = report.over_time.unit
    shown = _table(name(unit), number("records"), number("seen"), *_right(*BOTH), title="over time, labelled records")
    for b in report.over_time.buckets:
        count, *figures = _both(b.figures)
        shown.add_row(span(b.start, b.stop, unit), count, f"{b.seen / b.rows:.0%}" if b.rows else "", *figures)
    return shown


def _groups(report: Report) -> list[Table]:
    tables = []
    for group in report.groups:
        shown = _table(
            Column(Text(group.name), overflow="fold"), number("records"), *_right(*BOTH), title=Text(f"by {group.name}")
        )
        for v in group.values:
            shown.add_row(Text(tame(v.value)), *_both(v.figures))
        if group.others:
            shown.add_row(
                Text(f"{group.others:,} other values", style="dim"), f"{group.other_rows:,}", *[""] * len(BOTH)
            )
        if group.values:
            tables.append(shown)
    return tables


def _flips(report: Report, console: Console) -> None:
    f = report.flips
    share = f" ({f.flips / f.rows:.2%})" if f.rows else ""
    shown = _table(name("production"), *_right("candidate no", "candidate yes"), title=f"decisions at {f.threshold:g}")
    shown.add_row("no", f"{f.no_no:,}", Text(f"{f.no_yes:,}", style="bold"))
    shown.add_row("yes", Text(f"{f.yes_no:,}", style="bold"), f"{f.yes_yes:,}")
    console.print(shown)
    told = f"{f.flips:,} of {f.rows:,} would change{share}; of those judged "
    console.print(Text(f"{told}{f.better:,} for the better, {f.worse:,} for the worse"))


def _shift(report: Report, console: Console) -> None:
    if (s := report.shift) is not None:
        told = (
            f"scores: {s.mean:+.4f} on average, {s.mean_absolute:.4f} apart, {s.largest:.4f} at most, PSI {s.psi:.4f}"
        )
        console.print(Text(told))


def _rows(title: str, rows: tuple[Extreme, ...]) -> Table:
    names = ", ".join(tame(name) for name in rows[0].groups)
    wide = [Column(Text(names), overflow="fold")] if names else []
    shown = _table(
        *(Column("id", overflow="fold"), Column("record", no_wrap=True), Column("event time", no_wrap=True), *wide),
        *_right("prod.", "cand.", "label"),
        Column("log loss", justify="right", min_width=6),
        title=title,
    )
    for r in rows[:ROWS]:
        scores = (f"{r.production:.3f}", f"{r.candidate:.3f}", str(r.label), f"{r.excess:+.3f}")
        groups = [Text(", ".join(map(tame, r.groups.values())))] if names else []
        shown.add_row(Text(tame(r.id)), r.at, moment(r.event_time), *groups, *scores)
    if len(rows) > ROWS:
        shown.caption = f"and {len(rows) - ROWS} more with --html or --json"
    return shown


def _both(c: Comparison | None) -> list[str | Text]:
    if c is None:
        return ["0", *[""] * len(BOTH)]
    told = Text(figure(c.difference.log_loss, signed=True), style=STYLES[c.verdict].replace("bold", "").strip())
    told.append({"better": " better", "worse": "  worse", "no clear difference": ""}[c.verdict])
    p, q = c.production, c.candidate
    return [f"{c.rows:,}", figure(p.auc), figure(q.auc), figure(p.log_loss), figure(q.log_loss), told]


def _right(*names: str) -> list[Column]:
    return [number(head) for head in names]


def _table(*columns: Column, title: str | Text = "") -> Table:
    found = table(*columns)
    found.title, found.caption_justify = title or None, "left"
    return found

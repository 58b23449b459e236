"""An audit's report as tables."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from headrace.cli.tables import fold, name, number, say, table
from headrace.query.audit.report import RULES, Report

SHOWN = 50


def show(report: Report, pipeline: str, console: Console) -> None:
    """Print the report."""
    shown = table(fold("promise"), fold("about"), number("checked"), number("violations"), title=f"audit of {pipeline}")
    order = list(RULES)
    last = ""
    for (rule, subject), line in sorted(report.lines.items(), key=lambda item: order.index(item[0][0])):
        said = RULES[rule] if rule != last else ""
        last = rule
        style = "bold red" if line.broken else None
        shown.add_row(said, subject, f"{line.checked:,}", f"{line.broken:,}", style=style)
    console.print(shown)
    for what, count in report.notes.items():
        say(console, f"note: {count:,} {what}")
    _violations(report, console)
    if report.ok:
        say(console, "every promise was kept", "bold green")
    else:
        say(console, "promises were broken", "bold red")


def _violations(report: Report, console: Console) -> None:
    if not report.violations:
        return
    found = table(name("rule"), fold("record"), fold("what is wrong"), title="violations")
    for v in report.violations[:SHOWN]:
        found.add_row(v.rule, Text(v.where), Text(v.what))
    console.print(found)
    if more := len(report.violations) + report.not_listed - len(report.violations[:SHOWN]):
        rest = f", and counts the other {report.not_listed:,}" if report.not_listed else ""
        say(console, f"and {more:,} more: --json lists {len(report.violations):,} of them{rest}")

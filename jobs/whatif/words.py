"""Figures and strangers' strings as people read them, on the screen and on the page alike."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.jobs.whatif.figures import Comparison
from headrace.jobs.whatif.report import Report

LONGEST = 48
"""Characters of an id or a group's value that are shown."""
NOTHING = "n/a"


def figure(value: float | None, signed: bool = False) -> str:
    """Four decimals; a value there is none of is said so."""
    if value is None:
        return NOTHING
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def margin(c: Comparison) -> str:
    """The difference in log loss with half its 95 % interval."""
    told = figure(c.difference.log_loss, signed=True)
    return told if c.margin is None else f"{told} ± {c.margin:.4f}"


def tame(value: str | None) -> str:
    """Someone's string on one line: nothing in it moves a cursor or turns text about, and it is not endless."""
    if value is None:
        return "(none)"
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def moment(when: datetime) -> str:
    """A time to the minute."""
    return f"{when:%Y-%m-%d %H:%M}"


def span(start: datetime, stop: datetime, unit: str) -> str:
    """The name of a bucket."""
    match unit:
        case "year":
            return f"{start:%Y}"
        case "month":
            return f"{start:%b %Y}"
        case "quarter" | "week" | "day":
            return f"{start:%Y-%m-%d}"
    return moment(start) if stop - start >= timedelta(hours=1) else f"{start:%m-%d %H:%M:%S}"


def verdict(report: Report) -> str:
    """The report in one sentence."""
    found = report.headline
    if found is None:
        return "There is nothing to judge by."
    words = {
        "better": "The candidate would have been better",
        "worse": "The candidate would have been worse",
        "no clear difference": "There is no clear difference",
    }[found.verdict]
    return (
        f"{words}: log loss {figure(found.candidate.log_loss)} against {figure(found.production.log_loss)} "
        f"({margin(found)})."
    )

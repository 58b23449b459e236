"""The report as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from headrace.jobs.whatif import plots
from headrace.jobs.whatif.cautions import cautions, headline
from headrace.jobs.whatif.decisions import QUANTILES
from headrace.jobs.whatif.extremes import Extreme
from headrace.jobs.whatif.figures import MODELS, Comparison
from headrace.jobs.whatif.report import Report
from headrace.jobs.whatif.slices import Group
from headrace.jobs.whatif.words import figure, margin, moment, span, tame, verdict

STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733;
  background: #fff }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { margin-top: 2.4rem; font-size: 1.2rem }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
caption { text-align: left; color: #51606e; padding: .2rem 0 }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde3ea; overflow-wrap: anywhere }
th:first-child, td:first-child { min-width: 8rem }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal } td.n { white-space: nowrap }
.better { color: #14733c; font-weight: 600 } .worse { color: #b3261e; font-weight: 600 }
.verdict { font-size: 1.15rem; border-left: 4px solid #9aa7b4; padding: .3rem .8rem; background: #f6f8fa }
ul.cautions { border-left: 4px solid #b26a00; background: #fff8ec; padding: .5rem .8rem .5rem 2rem }
code { background: #f0f3f6; padding: 0 .25rem } figure { margin: .6rem 0 } figcaption { color: #51606e }
svg { max-width: 100%; height: auto } .pair { display: flex; flex-wrap: wrap; gap: 1rem }
.pair figure { flex: 1 1 24rem }
"""
BOTH = ("AUC, production", "AUC, candidate", "log loss, production", "log loss, candidate", "difference in log loss")
Cell = str | tuple[str, str]
"""Text, or text and its class."""


def page(report: Report) -> str:
    """The whole page."""
    asked = report.asked
    title = html.escape(f"What if: {asked.pipeline} under {asked.candidate.model_id[:12]}")
    head = report.headline
    told = "".join(f"<li>{html.escape(c)}</li>" for c in cautions(report))
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="verdict"><b>{html.escape(verdict(report))}</b><br>Judged: {html.escape(headline(report))}.</p>',
        f'<ul class="cautions">{told}</ul>' if told else "",
        _about(report),
    ]
    if head is not None:
        parts += ["<h2>Figures</h2>", _figures(head), _seen(report)]
    if report.over_time is not None:
        parts += ["<h2>Over time</h2>", _over_time(report)]
    parts += [f"<h2>Decisions at {report.flips.threshold:g}</h2>", _decisions(report)]
    parts += ["<h2>Scores</h2>", _scores(report)]
    for group in report.groups:
        if group.values:
            parts += [f"<h2>By {html.escape(group.name)}</h2>", _group(group)]
    if report.extremes.worst or report.extremes.best:
        parts += ["<h2>Records furthest apart</h2>", _extremes(report)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n"""
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style></head><body>\n" + "\n".join(p for p in parts if p) + "\n"
        "</body></html>\n"
    )


def _about(report: Report) -> str:
    asked, counts, lineage = report.asked, report.counts, report.asked.candidate.lineage
    window = [f"from {moment(asked.since)}"] if asked.since else []
    window += [f"to {moment(asked.until)}"] if asked.until else []
    rows: list[tuple[str, str]] = [
        ("candidate", f"{asked.candidate.model_id} ({asked.candidate.algorithm}, {lineage.records:,} examples)"),
        ("validated until", moment(lineage.validation_until)),
        ("came to the log", " ".join(window) or "at any time"),
        ("features offsets", ", ".join(f"{p}:{a:,} to {b:,}" for p, (a, b) in asked.ranges.items())),
        ("event time", " to ".join(map(moment, report.event_times)) if report.event_times else ""),
        ("records", f"{counts.records:,}"),
        ("answered by production", f"{counts.answered:,}"),
        ("labelled", f"{counts.labelled:,}"),
        ("unfit for the candidate", f"{counts.unfit:,}"),
        ("judged", f"{counts.judged:,}"),
    ]
    answered: list[list[Cell]] = [
        [m.model_id[:12], (f"{m.records:,}", "n"), (f"{m.share:.1%}", "n")] for m in report.models
    ]
    return _table(["", ""], rows) + _table(
        ["model", ("records", "n"), ("share", "n")], answered, "Models that answered in production."
    )


def _figures(c: Comparison) -> str:
    p, q, d = c.production, c.candidate, c.difference
    rows = [
        ("log loss (lower is better)", figure(p.log_loss), figure(q.log_loss), margin(c)),
        ("AUC (higher is better)", figure(p.auc), figure(q.auc), figure(d.auc, signed=True)),
        ("Brier score (lower is better)", figure(p.brier), figure(q.brier), figure(d.brier, signed=True)),
    ]
    kinds = (f"n {_class(c)}", "n", "n")
    cells: list[list[Cell]] = [
        [name, (a, "n"), (b, "n"), (apart, kind)] for kind, (name, a, b, apart) in zip(kinds, rows, strict=True)
    ]
    told = (
        f"{c.rows:,} records, label 1 in {c.base_rate:.1%}. The difference in log loss comes with its 95 % interval, "
        "records taken as independent."
    )
    return _table(["figure", ("production", "n"), ("candidate", "n"), ("difference", "n")], cells, told)


def _seen(report: Report) -> str:
    o = report.overall
    parts = [("neither", o.fresh), ("the candidate", o.seen), ("production's model alone", o.known), ("all", o.all)]
    rows = [[name, *_both(c)] for name, c in parts]
    return _table(["had read the records before", *_numbers("records", *BOTH)], rows)


def _over_time(report: Report) -> str:
    assert report.over_time is not None
    unit = report.over_time.unit
    rows = []
    for b in report.over_time.buckets:
        count, *rest = _both(b.figures)
        rows.append([span(b.start, b.stop, unit), count, (f"{b.seen / b.rows:.0%}" if b.rows else "", "n"), *rest])
    table = _table([unit, *_numbers("records", "seen", *BOTH)], rows)
    told = (
        "Both models on all labelled records. Hatched: mostly records that a model had read in training or validation."
    )
    return _drawn(plots.over_time(report.over_time), told) + table


def _decisions(report: Report) -> str:
    f = report.flips
    rows: list[list[Cell]] = [
        ["production no", (f"{f.no_no:,}", "n"), (f"{f.no_yes:,}", "n")],
        ["production yes", (f"{f.yes_no:,}", "n"), (f"{f.yes_yes:,}", "n")],
    ]
    share = f" ({f.flips / f.rows:.2%})" if f.rows else ""
    told = (
        f"{f.flips:,} of {f.rows:,} decisions would change{share}. Of those judged, {f.better:,} for the better and "
        f"{f.worse:,} for the worse."
    )
    return _table(["", *_numbers("candidate no", "candidate yes")], rows, told) + _drawn(
        plots.decisions(report), "Decisions that would change, and how those turned out that are judged."
    )


def _scores(report: Report) -> str:
    spread = _drawn(plots.spread(report), "How the scores of all compared records are spread.")
    calibration = ""
    if report.headline is not None:
        calibration = _drawn(plots.calibration(report), "Calibration: how often label 1 came, by score.")
    told = ""
    if (s := report.shift) is not None:
        rows: list[list[Cell]] = [[model, *((f"{q:.3f}", "n") for q in s.quantiles[model])] for model in MODELS]
        names = [f"{q:.0%}" for q in QUANTILES]
        caption = (
            f"Quantiles of the scores. The candidate's are {s.mean:+.4f} off on average, {s.mean_absolute:.4f} apart "
            f"in size, {s.largest:.4f} at most; PSI {s.psi:.4f} (under 0.1 stable, over 0.25 a major shift)."
        )
        told = _table(["", *_numbers(*names)], rows, caption)
    return f'<div class="pair">{spread}{calibration}</div>{told}'


def _group(group: Group) -> str:
    rows: list[list[Cell]] = [[tame(v.value), *_both(v.figures)] for v in group.values]
    told = f"{group.others:,} other values with {group.other_rows:,} records are left out." if group.others else ""
    drawn = _drawn(
        plots.differences(group), "Difference in log loss with its 95 % interval, and the number of records."
    )
    return drawn + _table([group.name, *_numbers("records", *BOTH)], rows, told)


def _extremes(report: Report) -> str:
    names = [tame(name) for name in next(r.groups for r in (*report.extremes.worst, *report.extremes.best))]
    head: list[Cell] = ["id", "record", ("event time", "n"), *names]
    head += _numbers("production", "candidate", "label", "log loss, more")
    found = ""
    for told, rows in (
        ("Where the candidate is further off.", report.extremes.worst),
        ("Where production was further off.", report.extremes.best),
    ):
        found += _table(head, map(_extreme, rows), told) if rows else ""
    return found


def _extreme(r: Extreme) -> list[Cell]:
    scores = (f"{r.production:.4f}", f"{r.candidate:.4f}", str(r.label), f"{r.excess:+.4f}")
    return [tame(r.id), r.at, (moment(r.event_time), "n"), *map(tame, r.groups.values()), *((s, "n") for s in scores)]


def _both(c: Comparison | None) -> list[Cell]:
    if c is None:
        return [("0", "n"), *[("", "n")] * len(BOTH)]
    p, q = c.production, c.candidate
    cells = [f"{c.rows:,}", figure(p.auc), figure(q.auc), figure(p.log_loss), figure(q.log_loss)]
    return [*((text, "n") for text in cells), (f"{margin(c)}{_word(c)}", f"n {_class(c)}")]


def _word(c: Comparison) -> str:
    return {"better": " better", "worse": " worse"}.get(c.verdict, "")


def _class(c: Comparison) -> str:
    return c.verdict if c.verdict in ("better", "worse") else ""


def _numbers(*names: str) -> list[Cell]:
    return [(name, "n") for name in names]


def _drawn(svg: str, told: str) -> str:
    said = html.escape(told)
    return f'<figure role="img" aria-label="{said}">{svg}<figcaption>{said}</figcaption></figure>'


def _table(head: Sequence[Cell], rows: Iterable[Sequence[Cell]], caption: str = "") -> str:
    told = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    names = "".join(_cell("th", cell) for cell in head)
    first = f"<thead><tr>{names}</tr></thead>" if any(head) else ""
    body = "".join("<tr>" + "".join(_cell("td", cell) for cell in row) + "</tr>" for row in rows)
    return f"<table>{told}{first}<tbody>{body}</tbody></table>"


def _cell(tag: str, cell: Cell) -> str:
    text, kind = (cell, "") if isinstance(cell, str) else cell
    return (
        f'<{tag} class="{kind.strip()}">{html.escape(text)}</{tag}>' if kind else f"<{tag}>{html.escape(text)}</{tag}>"
    )

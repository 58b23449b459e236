"""The demo's report: JSON for machines, one self-contained HTML page with plots for people."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

from headrace.examples.flights.demo.account import Account

matplotlib.use("svg")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733; }
h1 { font-size: 1.6rem } h2 { margin-top: 2.2rem; font-size: 1.2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #dde3ea }
td.n { font-variant-numeric: tabular-nums } .ok { color: #14733c } .bad { color: #b3261e }
code { background: #f0f3f6; padding: 0 .25rem } svg { max-width: 100%; height: auto }
"""


def write(report: dict[str, Any], account: Account, out: Path) -> None:
    """Write ``report.json`` and ``report.html`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.html").write_text(_page(report, account))


def _page(report: dict[str, Any], account: Account) -> str:
    ruled = [m for m in report["models"] if m["markers"]]
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>headrace: a year of flights</title>
<style>{STYLE}</style></head><body>
<h1>A year of New York flights through headrace</h1>
<p>{report["events"]:,} events, {report["predictions"]:,} predictions, {len(ruled)} models in turn,
{report["dead_letters"]} dead letters, {report["wall_s"]:.0f} s. Every figure below was read back from the topics.</p>
<h2>Champion against the frozen first model</h2>
{_plot(report)}
{
        _table(
            ["month", "flights", "late", "champion AUC", "frozen AUC", "champion log loss", "frozen log loss"],
            [
                [
                    m["month"],
                    f"{m['flights']:,}",
                    f"{m['late_share']:.1%}",
                    f"{m['champion_auc']:.3f}",
                    f"{m['frozen_auc']:.3f}",
                    f"{m['champion_log_loss']:.3f}",
                    f"{m['frozen_log_loss']:.3f}",
                ]
                for m in report["monthly"]
            ],
        )
    }
<p>January and February are what the first model was trained on. The frozen model goes on as a shadow: it scores
every record, and never answers.</p>
<h2>Models that ruled</h2>
{
        _table(
            ["model", "trigger", "why", "examples", "algorithm", "AUC", "log loss", "rules from (partition:offset)"],
            [
                [
                    m["id"][:12],
                    m["trigger"],
                    m["detail"],
                    f"{m['examples']:,}",
                    m["algorithm"],
                    f"{m['metrics']['auc']:.3f}",
                    f"{m['metrics']['log_loss']:.3f}",
                    "  ".join(f"{p}:{o:,}" for p, o in m["markers"].items()),
                ]
                for m in ruled
            ],
        )
    }
<h2>The account</h2>
{
        _table(
            ["input", "records", "became", "verdict"],
            [
                [
                    x.what,
                    f"{x.records_in:,}",
                    ", ".join(f"{n:,} {w}" for w, n in x.outcomes.items()),
                    "balances" if x.ok else "DOES NOT BALANCE",
                ]
                for x in account.lines
            ],
        )
    }
<h2>Dead letters</h2>
{
        _table(
            ["stage", "code", "where", "why"],
            [
                [
                    d.stage,
                    d.code,
                    f"{d.topic}[{d.partition}] {d.offset}" if d.partition >= 0 else f"{d.topic}:{d.offset}",
                    d.reason,
                ]
                for d in account.dead
            ],
        )
    }
</body></html>
"""


def _plot(report: dict[str, Any]) -> str:
    months = [m["month"] for m in report["monthly"]]
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
    for axis, metric, title in (
        (axes[0], "auc", "AUC (higher is better)"),
        (axes[1], "log_loss", "log loss (lower is better)"),
    ):
        axis.plot(
            months,
            [m[f"frozen_{metric}"] for m in report["monthly"]],
            "o--",
            color="#9aa7b4",
            label="frozen first model",
        )
        axis.plot(months, [m[f"champion_{metric}"] for m in report["monthly"]], "o-", color="#0b6bcb", label="champion")
        axis.axvspan(min(months) - 0.4, 2.5, color="#f0f3f6")
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("month of 2013")
        axis.set_xticks(months)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.tight_layout()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    plt.close(figure)
    return drawn.getvalue()[drawn.getvalue().index("<svg") :]


def _table(header: list[str], rows: list[list[Any]]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(_cell(v) for v in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    text = str(value)
    kind = {"balances": "ok", "DOES NOT BALANCE": "bad"}.get(text, "n" if text[:1].isdigit() and len(text) < 12 else "")
    return f'<td class="{kind}">{html.escape(text)}</td>'

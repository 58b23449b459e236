"""What the demo shows: lines as things happen, and one screen at the end."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from headrace.examples.flights.demo.account import Account, dead_by_code
from headrace.examples.flights.demo.watch import Event
from headrace.schema.records import (
    Activated,
    Approval,
    DeadLetter,
    GateResult,
    ModelManifest,
    Rejection,
    TrainingTrigger,
)


def line(event: Event) -> str:
    """One line for something that happened on the control topics."""
    match event:
        case TrainingTrigger():
            when = f" at {event.event_time:%d %b}" if event.event_time else ""
            return f"[bold yellow]trigger[/]   {event.reason}{when}: {event.detail}"
        case ModelManifest():
            m = event.metrics
            return (
                f"[bold cyan]model[/]     {event.model_id[:12]} {event.algorithm}, {event.lineage.records:,} examples: "
                f"AUC {m['auc']:.3f}, log loss {m['log_loss']:.3f}"
            )
        case GateResult():
            verdict = "[green]passed[/]" if event.passed else "[red]failed[/]"
            return f"  gate    {event.gate} {verdict}: {event.summary}"
        case Approval():
            return f"  [bold]approval[/] of {event.model_id[:12]} by {event.by} on evidence {event.evidence_hash[:12]}"
        case Rejection():
            return f"[bold red]rejected[/]  {event.model_id[:12]} by {event.by}: {event.reason}"
        case DeadLetter():
            return f"[bold red]no model[/]  {event.code}: {event.reason}"
        case Activated():
            places = ", ".join(f"{m.partition}:{m.offset:,}" for m in event.markers)
            return f"[bold green]swap[/]      {event.model_id[:12]} rules from features offsets {places}"


def final(console: Console, report: dict[str, Any], account: Account) -> None:
    """The last screen: the account, the models, the months, where to look next."""
    lines = Table(
        "input", "records", "became", "", title="the account: one outcome for every record", title_justify="left"
    )
    for row in account.lines:
        parts = ", ".join(f"{n:,} {what}" for what, n in row.outcomes.items())
        lines.add_row(row.what, f"{row.records_in:,}", parts, "[green]balances[/]" if row.ok else "[red]DOES NOT[/]")
    console.print(lines)
    codes = ", ".join(f"{n} {code}" for code, n in sorted(dead_by_code(account.dead).items()))
    verdict = "[green]all as planted[/]" if report["damage_ok"] else "[red]NOT as planted[/]"
    console.print(f"dead letters: {len(account.dead)} ({codes}): {verdict}\n")

    models = Table(
        "model",
        "trigger",
        "trained on",
        "AUC",
        "log loss",
        "rules from (partition:offset)",
        title="models that ruled",
        title_justify="left",
    )
    for m in report["models"]:
        if m["markers"]:
            places = "  ".join(f"{p}:{o:,}" for p, o in m["markers"].items())
            figures = (f"{m['metrics']['auc']:.3f}", f"{m['metrics']['log_loss']:.3f}")
            models.add_row(m["id"][:12], m["trigger"], f"{m['examples']:,}", *figures, places)
    console.print(models)

    months = Table(
        "month",
        "flights",
        "late",
        "champion AUC",
        "frozen AUC",
        "champion log loss",
        "frozen log loss",
        title="champion against the frozen first model",
        title_justify="left",
    )
    for row in report["monthly"]:
        better = row["champion_log_loss"] < row["frozen_log_loss"] - 5e-4
        mark = ("[green]", "[/]") if better else ("", "")
        months.add_row(
            f"{row['month']}" + (" (trained on)" if row["month"] <= 2 else ""),
            f"{row['flights']:,}",
            f"{row['late_share']:.1%}",
            f"{row['champion_auc']:.3f}",
            f"{row['frozen_auc']:.3f}",
            f"{mark[0]}{row['champion_log_loss']:.3f}{mark[1]}",
            f"{row['frozen_log_loss']:.3f}",
        )
    console.print(months)
    memory = ", ".join(
        f"{name} {taken / 2**20:.0f}" for name, taken in sorted(report["memory"].items(), key=lambda kv: -kv[1])
    )
    console.print(f"memory at most, MiB: {memory}; together {report['memory_together'] / 2**20:.0f}", highlight=False)
    state = report["state"]
    console.print(
        f"\n{report['events']:,} events in {report['wall_s']:.0f} s. Next: open [bold]{report['html']}[/]; then "
        f"[bold]headrace up --state {state}[/] brings this Kafka back, and [bold]headrace models list flights[/], "
        "[bold]headrace dead list flights[/], [bold]headrace topics flights[/] look into it.",
        highlight=False,
    )

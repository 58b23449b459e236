"""The report as tables: in the terminal, and as Markdown for docs/performance.md (``python -m bench.tables``)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Column, Table

from bench.report import Contents, goals, read

UNPAIRED = "-"


def verdict(name: str, ratio: float) -> str:
    """What the floor says of a ratio: met, missed, or nothing where it has none."""
    floor = goals().get(name)
    if floor is None:
        return ""
    return f"met ({floor:g})" if ratio >= floor else f"MISSED ({floor:g})"


def ratio_rows(report: Contents, names: Sequence[str] | None = None) -> list[tuple[str, ...]]:
    """Name, what it is a share of, median, range of the runs, records a second, load before, floor."""
    found: list[tuple[str, ...]] = []
    for name in names if names is not None else report["ratios"]:
        if name not in report["ratios"]:
            continue
        ratio, runs = report["ratios"][name], report["runs"].get(name)
        if runs is None:
            found.append((name, UNPAIRED, f"{ratio:.2f}", "", "", "", verdict(name, ratio)))
            continue
        spread = f"{min(runs['ratios']):.2f} to {max(runs['ratios']):.2f}"
        rate = sorted(runs["per_second"])[len(runs["per_second"]) // 2]
        found.append(
            (name, runs["of"], f"{ratio:.2f}", spread, f"{rate:,}", f"{runs['load']:.1f}", verdict(name, ratio))
        )
    return found


HEAD = ("what", "share of", "median", "min to max", "records/s", "load", "floor")


def terminal(report: Contents, names: Sequence[str]) -> list[Table]:
    """What one sitting measured, for the terminal."""
    ratios = Table(Column(HEAD[0], no_wrap=True), *HEAD[1:], title="paired ratios")
    for row in ratio_rows(report, names):
        ratios.add_row(*row, style="red" if row[-1].startswith("MISSED") else None)
    figures = Table(Column("what", no_wrap=True), "figures", "load", title="figures")
    for name in names:
        if name in report["figures"]:
            found = report["figures"][name]
            values = ", ".join(f"{unit} {value:,.1f}" for unit, value in found["values"].items())
            figures.add_row(name, values, f"{found['load']:.1f}")
    missing = Table("what", "why", title="not measured")
    for name in names:
        if name in report["missing"]:
            missing.add_row(name, report["missing"][name])
    return [table for table in (ratios, figures, missing) if table.row_count]


def markdown(report: Contents) -> str:
    """Everything in the report, as Markdown tables."""
    machine, versions = report["machine"], report["versions"]
    lines = [
        f"Machine: {machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory_gb')} GB, "
        f"Python {machine.get('python')}.",
        "Versions: " + ", ".join(f"{name} {v}" for name, v in versions.items()) + ".",
        "",
        *_table(HEAD, ratio_rows(report)),
    ]
    if report["figures"]:
        figures = [
            (name, ", ".join(f"{unit} {value:,.1f}" for unit, value in f["values"].items()), f"{f['load']:.1f}")
            for name, f in report["figures"].items()
        ]
        lines += ["", *_table(("what", "figures", "load"), figures)]
    if report["missing"]:
        lines += ["", *_table(("not measured", "why"), list(report["missing"].items()))]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    print(markdown(read()), end="")

"""``make chaos``: the long run, on one broker and on three. It prints its seed; the same seed does the same."""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.run import ALL_WORKERS, Chaos, Plan, Result
from tests.chaos.schedule import CLUSTER, KINDS, SINGLE_BROKER

FOLDER = Path("build/chaos")
"""Logs of the last run's servers and workers, and what came of it."""
REPORT = FOLDER / "report.json"


def main() -> int:
    """Run what the command line asks for; gives 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, default=150, help="on one broker")
    parser.add_argument("--cluster-faults", type=int, default=60, help="on three brokers; 0: not at all")
    parser.add_argument("--records", type=int, default=80_000, help="raw records on one broker; on three half of it")
    parser.add_argument("--only", action="append", choices=KINDS, help="these kinds of faults alone; repeatable")
    parser.add_argument("--transport", choices=("auto", "native", "python"), default="auto", help="of every processor")
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # what the clients get over by themselves
    console = Console()
    plans = []
    if given.faults:
        kinds = tuple(given.only or SINGLE_BROKER)
        plans.append(Plan(given.seed, given.faults, given.records, kinds))
    if given.cluster_faults:
        kinds = tuple(k for k in given.only or CLUSTER if k in CLUSTER)
        plans.append(Plan(given.seed + 1, given.cluster_faults, given.records // 2, kinds, brokers=3))
    results = []
    for plan in (replace(plan, workers=ALL_WORKERS, transport=given.transport) for plan in plans):
        folder = FOLDER / f"brokers{plan.brokers}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        results.append(Chaos(plan, folder, lambda text: console.print(text, highlight=False)).run())
    REPORT.write_text(json.dumps([r.plain() for r in results], indent=1))
    for result in results:
        console.print(_table(result))
        for violation in result.violations:
            console.print(violation, style="red", markup=False)
    console.print(f"written: {REPORT}")
    return 1 if any(r.violations for r in results) else 0


def _table(result: Result) -> Table:
    plain = result.plain()
    title = (
        f"seed {result.seed}, {result.brokers} broker(s), transport {result.transport}: "
        f"{sum(result.faults.values())} faults, {result.records:,} raw records, {result.shared:,} of them of a shared "
        f"producer, {result.answers:,} features, "
        f"{len(result.violations)} violations; recovery p50 {plain['recovery_p50_s']} s, "
        f"max {plain['recovery_max_s']} s; lag zero after {result.lag_zero_s} s"
    )
    table = Table("fault", "times", "recovery p50", "max", title=title)
    for kind, times in sorted(result.faults.items()):
        found = sorted(result.recovery_s.get(kind, []))
        middle = f"{found[len(found) // 2]:.1f} s" if found else ""
        table.add_row(kind, str(times), middle, f"{found[-1]:.1f} s" if found else "")
    return table


if __name__ == "__main__":
    sys.exit(main())

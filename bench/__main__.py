"""``make bench``: headrace against a plain passthrough, on a Kafka of its own. See docs/performance.md."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable

from rich.console import Console

from bench import plot, tables
from bench.report import FILE, Report
from bench.sets.damage import damage
from bench.sets.door import door
from bench.sets.events import events
from bench.sets.flat import flat
from bench.sets.forward import forward
from bench.sets.http import http
from bench.sets.join import join
from bench.sets.latency import latency
from bench.sets.past import past
from bench.sets.processors import preprocess
from bench.sets.real import real
from bench.sets.replay import replay
from bench.sets.soak import soak
from bench.sets.streams import infer, passthrough
from bench.sets.swap import swap, swaps
from bench.sets.verify import verify
from bench.sets.windows import windows
from bench.sets.workers import pair, start
from bench.sitting import FULL, QUICK, Sitting, load
from bench.stack import started
from headrace.errors import HeadraceError

BUDGET_S = 450.0
"""No set begins after this, so that everything ends within eight minutes. The order is that of importance."""

SETS: dict[str, Callable[[Sitting], None]] = {
    "passthrough": passthrough,
    "infer": infer,
    "latency": latency,
    "start": start,
    "swap": swap,
    "preprocess": preprocess,
    "join": join,
    "replay": replay,
    "verify": verify,
    "flights": real,
    "damage": damage,
    "forward": forward,
    "events": events,
    "door": door,
    "http": http,
    "pair": pair,
    "swaps": swaps,
    "flat": flat,
    "past": past,
    "windows": windows,
    "soak": soak,
}


def main() -> None:
    """Run the sets asked for, print the tables, add to ``build/bench/report.json`` and draw it."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and one run of each: a look, no result")
    parser.add_argument("--only", action="append", choices=SETS, metavar="NAME", help=f"one of: {', '.join(SETS)}")
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # what the clients retry by themselves
    console, report, began = Console(), Report(), time.monotonic()
    console.print(f"starting Kafka; load {load():.1f}", highlight=False)
    with started() as cluster:
        sitting = Sitting(cluster, QUICK if given.quick else FULL, report, console)
        sitting.warm_up()
        for name in given.only or SETS:
            spent = time.monotonic() - began
            if spent > BUDGET_S:
                report.missing(name, f"no time left after {spent:.0f} s; run it with --only {name}")
                continue
            console.rule(f"{name}: load {load():.1f}, {spent:.0f} s so far")
            try:
                SETS[name](sitting)
            except HeadraceError as e:
                console.print(f"  {name} failed: {e}", style="red", markup=False)
                report.missing(name, str(e))
    report.write()
    for table in tables.terminal(report.contents, report.names):
        console.print(table)
    console.print(f"written: {FILE} and {plot.draw(report.contents)} ({time.monotonic() - began:.0f} s)")
    ratios = report.contents["ratios"]
    said = ", ".join(f"{name} {ratios[name]:.2f}" for name in report.names if name in ratios)
    console.print(f"ratios: {said or 'none'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

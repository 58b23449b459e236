"""``headrace demo flights``: a year of flights, end to end, on a real Kafka."""

from __future__ import annotations

from pathlib import Path

from headrace.config import Settings
from headrace.examples.flights.demo.run import Demo


def run(settings: Settings, *, months: int, out: Path) -> bool:
    """Run the demo; True where the account of every record balances.

    Args:
        settings: where the stack's state folder is.
        months: how many months of the year.
        out: folder of the report.
    """
    return Demo(settings, months, out).run()

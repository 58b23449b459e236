"""``python -m tests.passes``: passes a fault point twice, for tests of how faults are armed."""

from __future__ import annotations

from headrace.kafka import faults

if __name__ == "__main__":
    faults.point("after_begin")
    faults.point("after_begin")

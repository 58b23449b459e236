"""For tests of your own: the platform in memory, and suites that hold your code to its contract."""

from headrace.testing.features import ContractBroken, Finding, check_features, examine_features
from headrace.testing.platform import MemoryPlatform, read_events
from headrace.testing.processors import check_processor

__all__ = [
    "ContractBroken",
    "Finding",
    "MemoryPlatform",
    "check_features",
    "check_processor",
    "examine_features",
    "read_events",
]

"""Which model scores which record: a pure function of the log (markers), and of the record's id (routes)."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from headrace.schema.records import Activated, Policy

RouteKind = Literal["champion", "candidate", "shadow"]


class PolicyInForce(NamedTuple):
    """A policy and the marker in one partition from which it is in force."""

    offset: int
    activation_id: str
    policy: Policy


def route_point(salt: str, record_id: str) -> float:
    """A record's place in [0, 1): the first 8 bytes of sha-256(salt, ":", id), big endian, over 2^64."""
    hashed = hashlib.sha256(f"{salt}:{record_id}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def answering(policy: Policy, ids: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each id, the index of the route that answers. Sticky: the same id always gets the same route."""
    if len(policy.routes) == 1:
        return np.zeros(len(ids), dtype=np.int64)
    weights = np.array([r.weight for r in policy.routes], dtype=np.float64)
    edges = np.cumsum(weights)[:-1] / weights.sum()
    points = np.array([route_point(policy.salt, i) for i in ids])
    return np.searchsorted(edges, points, side="right").astype(np.int64)


@dataclass
class PolicyTimeline:
    """The markers of every partition, as the Activated records tell them."""

    _by_partition: dict[int, list[PolicyInForce]] = field(default_factory=dict)

    def add(self, activated: Activated) -> None:
        """Take note of an activation; again is harmless."""
        for marker in activated.markers:
            self.mark(marker.partition, PolicyInForce(marker.offset, activated.activation_id, activated.policy))

    def mark(self, partition: int, marked: PolicyInForce) -> None:
        """Take note of one marker, as met in the partition itself."""
        known = self._by_partition.setdefault(partition, [])
        if all(m.offset != marked.offset for m in known):
            insort(known, marked, key=lambda m: m.offset)

    def at(self, partition: int, offset: int) -> PolicyInForce | None:
        """The policy a record at ``offset`` is scored under: that of the last marker before it; before the
        partition's first marker, that first one's. None while there is no marker."""
        known = self._by_partition.get(partition, [])
        if not known:
            return None
        place = bisect_left(known, offset, key=lambda m: m.offset)
        return known[max(place - 1, 0)]

    def before_first(self, partition: int, offset: int) -> bool:
        """Whether ``offset`` stands before the partition's first marker."""
        known = self._by_partition.get(partition, [])
        return bool(known) and offset < known[0].offset

    def of(self, partition: int) -> list[PolicyInForce]:
        """The markers of a partition in the order of the log."""
        return list(self._by_partition.get(partition, ()))

    def marked_partitions(self) -> set[int]:
        """Partitions that have a marker."""
        return set(self._by_partition)

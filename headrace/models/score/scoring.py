"""The scores of a batch of features as receipts: which model answers each record, which only shadows it.

What the worker runs, and what a replay runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from headrace.codec.column import BytesColumn, Places
from headrace.codec.topic import Decoded, TopicCodec
from headrace.governance.policy import PolicyInForce, PolicyTimeline, RouteKind, answering
from headrace.kafka.log import Chunk
from headrace.models.score.feeding import Matrix
from headrace.models.score.session import ScoringModel, runtime_fingerprint

Rows = slice | Places
"""Which rows: a slice where they are neighbours, which copies nothing, or their numbers."""


MARKER = 1
"""Kind of a policy marker among the records of the features topic."""


class Segment(NamedTuple):
    """Places [start, stop) of a batch between two markers, and the policy in force there.

    ``passed_over``: the records came before any model ruled, and the first policy lets them go.
    """

    start: int
    stop: int
    policy: PolicyInForce | None
    passed_over: bool


def segments(batch: Chunk, decoded: Decoded, timeline: PolicyTimeline) -> list[Segment]:
    """Cut a batch at its markers; a marker is the first record of the segment it opens."""
    cuts = [0, *(p for p in decoded.places(MARKER).tolist() if p > 0), len(batch)]
    partition = batch.tp.partition
    found = []
    for start, stop in pairwise(cuts):
        # A record is scored under the last marker before it: ask from just after the segment's first.
        first = int(batch.offsets[start])
        marked = timeline.at(partition, first + (decoded.kinds[start] == MARKER))
        skipped = marked is not None and marked.policy.backlog == "SKIP" and timeline.before_first(partition, first)
        found.append(Segment(start, stop, marked, skipped))
    return found


class Receipts(NamedTuple):
    """Prediction records in log order, the answer before its shadows, and places of records that cannot be scored."""

    keys: BytesColumn
    values: BytesColumn
    unfit: list[int]


class Scoring:
    """Scores features records of one batch.

    Args:
        batch: the records as read.
        decoded: the same, decoded; features are kind 0.
        model: gives a loaded model by its id.
        codec: of the predictions topic.
    """

    def __init__(self, batch: Chunk, decoded: Decoded, model: Callable[[str], ScoringModel], codec: TopicCodec) -> None:
        self._model = model
        self._codec = codec
        self._decoded = decoded
        self._partition = batch.tp.partition
        self._places = decoded.places()
        self._offsets = batch.offsets[self._places]
        self._times = decoded.integers("event_time")
        self._ids, self._keys = decoded.strings("id"), decoded.strings("key")
        self._matrices: dict[tuple[str, ...], Matrix] = {}

    def between(self, start: int, stop: int, marked: PolicyInForce) -> Receipts:
        """Receipts of the records at places [start, stop), which stand under one policy."""
        first, last = np.searchsorted(self._places, [start, stop]).tolist()
        rows, unfit = self._fit(first, last, marked)
        parts = [(model, kind, mine) for model, kind, mine in self._parts(rows, marked) if self._count(mine)]
        values = [self._receipts(model, kind, mine, marked) for model, kind, mine in parts]
        if not parts:
            return Receipts(BytesColumn.nulls(0), BytesColumn.nulls(0), unfit)
        if len(parts) == 1:
            return Receipts(self._keys[parts[0][2]], values[0], unfit)
        numbers = np.concatenate([np.arange(last)[mine] for _, _, mine in parts])
        order = np.argsort(numbers, kind="stable")
        return Receipts(self._keys[numbers[order]], BytesColumn.concat(values)[order], unfit)

    def _fit(self, first: int, last: int, marked: PolicyInForce) -> tuple[Rows, list[int]]:
        """The rows of [first, last) whose features are all finite, and the places of the others."""
        fit = np.ones(last - first, dtype=np.bool_)
        for route in marked.policy.routes:
            part = self._matrix(self._model(route.model_id))[first:last]
            if not np.isfinite(part).all():
                fit &= np.isfinite(part).all(axis=1)
        if fit.all():
            return slice(first, last), []
        return first + np.flatnonzero(fit), self._places[first + np.flatnonzero(~fit)].tolist()

    def _parts(self, rows: Rows, marked: PolicyInForce) -> list[tuple[str, RouteKind, Rows]]:
        """Who scores which rows: those that answer first, then the shadows."""
        policy = marked.policy
        parts: list[tuple[str, RouteKind, Rows]] = []
        if len(policy.routes) == 1:
            parts.append((policy.champion, "champion", rows))
        else:
            numbers = np.arange(len(self._places))[rows]
            route = answering(policy, [(i or b"").decode() for i in self._ids[rows]])
            kinds: list[RouteKind] = ["champion", *["candidate"] * (len(policy.routes) - 1)]  # type: ignore[list-item]
            parts += [(r.model_id, kinds[i], numbers[route == i]) for i, r in enumerate(policy.routes)]
        return parts + [(shadow, "shadow", rows) for shadow in policy.shadows]

    def _receipts(self, model_id: str, kind: RouteKind, rows: Rows, marked: PolicyInForce) -> BytesColumn:
        model = self._model(model_id)
        scores = model.score(self._matrix(model)[rows])
        return self._codec.encode_columns(
            len(scores),
            {
                "id": self._ids[rows],
                "key": self._keys[rows],
                "event_time": self._times[rows],
                "partition": self._partition,
                "offset": self._offsets[rows],
                "model_id": model_id,
                "marker_offset": marked.offset,
                "route": kind,
                "outputs": scores,
                "runtime": runtime_fingerprint(),
            },
        )

    def _matrix(self, model: ScoringModel) -> Matrix:
        names = tuple(model.manifest.features)
        if names not in self._matrices:
            self._matrices[names] = self._decoded.matrix(names)
        return self._matrices[names]

    def _count(self, rows: Rows) -> int:
        return rows.stop - rows.start if isinstance(rows, slice) else len(rows)

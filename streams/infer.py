"""features -> predictions: each record under the policy of the last marker before it, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.codec.topic import Decoded
from headrace.codec.wire import Code
from headrace.log.base import Chunk, Log, Output, TopicPartition
from headrace.log.pipeline_log import PipelineLog
from headrace.log.processor import IDLE, Stateless, Step
from headrace.models.library import ModelLibrary
from headrace.models.policy import Marked, RouteKind, answering
from headrace.models.session import ScoringModel, runtime_fingerprint
from headrace.records import PolicyMarker, WorkerStatus

FEATURES, MARKER = 0, 1


class Segment(NamedTuple):
    """Places [start, stop) of a batch between two markers, and the policy in force there."""

    start: int
    stop: int
    policy: Marked | None


class Infer(Stateless):
    """Scores features. Pauses a partition whose policy or model is not here; never scores under another."""

    name = "infer"

    def __init__(self, topics: PipelineLog, log: Log, worker: str) -> None:
        self._topics = topics
        self._worker = worker
        self._library = ModelLibrary(topics, log)
        self._in_force: dict[int, Marked] = {}
        self.inputs = (topics.topic("features"),)

    def process(self, batch: Chunk) -> Step:
        if not self._library.current:
            return Step(consumed=0)
        decoded = self._topics.codec("features").decode(batch.values)
        statuses = self._note_markers(batch, decoded)
        segments = self._segments(batch, decoded)
        stop = next((s.start for s in segments if not self._ready(batch, s)), len(batch))
        if stop == 0:
            return Step(consumed=0)
        done = batch if stop == len(batch) else batch.slice(0, stop)
        outputs = [status for status, place in statuses if place < stop]
        frame = decoded.frame(FEATURES)
        places = decoded.places(FEATURES)
        dead = [(p, why) for p, why in decoded.reasons.items() if p < stop]
        outputs += self._topics.dead(self.name, done, [(p, _label(decoded, p), why) for p, why in dead])
        for segment in segments:
            first, last = np.searchsorted(places, [segment.start, min(segment.stop, stop)])
            if first < last and segment.policy is not None:
                rows = frame.slice(int(first), int(last - first))
                outputs += self._score(done, rows, places[first:last], segment.policy)
        return Step(outputs, consumed=stop)

    def tick(self) -> Step:
        events = self._library.events()
        if not events:
            return IDLE
        statuses = [self._status(e.model_id, e.state, reason=e.reason) for e in events]
        return Step([self._topics.control("workers", statuses, [f"{self._worker}/{s.model_id}" for s in statuses])])

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._in_force.clear()
        if tps:
            self._topics.prepare("predictions", "workers", "dead")
            self._library.refresh()

    def close(self) -> None:
        self._library.close()

    def _note_markers(self, batch: Chunk, decoded: Decoded) -> list[tuple[Output, int]]:
        """Put the batch's markers into the timeline; statuses to write, with the marker's place."""
        statuses = []
        for place in decoded.places(MARKER):
            marker = self._topics.codec("features").decode_control(batch.values[place])
            assert isinstance(marker, PolicyMarker)
            offset = int(batch.offsets[place])
            self._library.timeline.mark(batch.tp.partition, Marked(offset, marker.activation_id, marker.policy))
            model = marker.policy.champion
            status = self._status(model, "ACTIVE", partition=batch.tp.partition, offset=offset)
            key = f"{self._worker}/{model}/{batch.tp.partition}"
            statuses.append((self._topics.control("workers", [status], [key]), int(place)))
        return statuses

    def _segments(self, batch: Chunk, decoded: Decoded) -> list[Segment]:
        """Cut the batch at its markers; a marker is the first record of the segment it opens."""
        cuts = [0, *(int(p) for p in decoded.places(MARKER) if p > 0), len(batch)]
        segments = []
        for start, stop in pairwise(cuts):
            # A record is scored under the last marker before it: ask from just after the segment's first.
            offset = int(batch.offsets[start]) + (decoded.kinds[start] == MARKER)
            segments.append(Segment(start, stop, self._library.timeline.at(batch.tp.partition, offset)))
        return segments

    def _ready(self, batch: Chunk, segment: Segment) -> bool:
        """Whether the segment's policy is known and its models are loaded. Asks for those that are not."""
        if segment.policy is None:
            return False
        missing = [m for m in segment.policy.policy.models if self._library.model(m) is None]
        if missing:
            return False
        if self._in_force.get(batch.tp.partition) != segment.policy:
            self._in_force[batch.tp.partition] = segment.policy
            self._library.keep_only(m for marked in self._in_force.values() for m in marked.policy.models)
        return True

    def _score(self, batch: Chunk, rows: pl.DataFrame, places: np.ndarray, marked: Marked) -> list[Output]:
        """Predictions of rows that stand under one policy, in log order, the answer before the shadows."""
        partition = batch.tp.partition
        offsets = batch.offsets[places]
        policy = marked.policy
        if policy.backlog == "SKIP" and self._library.timeline.before_first(partition, int(offsets[0])):
            return []
        rows = rows.with_columns(pl.Series("offset", offsets), pl.Series("place", places))
        unfit = rows.filter(~_finite(rows, self._model(policy.champion).manifest.features))
        dead = self._topics.dead(
            self.name, batch, [(p, "feature_not_finite", "a feature is NaN or infinite") for p in unfit["place"]]
        )
        if not unfit.is_empty():
            rows = rows.join(unfit.select("place"), on="place", how="anti", maintain_order="left")
        route = answering(policy, rows["id"].to_list())
        parts = [
            self._predictions(
                rows.filter(pl.Series(route == i)), r.model_id, marked, "champion" if i == 0 else "candidate"
            )
            for i, r in enumerate(policy.routes)
        ]
        parts += [self._predictions(rows, shadow, marked, "shadow") for shadow in policy.shadows]
        frame = pl.concat(parts)
        if len(parts) > 1:
            frame = frame.sort("offset", maintain_order=True)
        frame = frame.with_columns(pl.lit(partition, dtype=pl.Int32).alias("partition"))
        return [self._topics.rows("predictions", partition, frame, [k.encode() for k in frame["key"]]), *dead]

    def _predictions(self, rows: pl.DataFrame, model_id: str, marked: Marked, route: RouteKind) -> pl.DataFrame:
        model = self._model(model_id)
        matrix = rows.select(pl.col(c).cast(pl.Float32) for c in model.manifest.features).to_numpy()
        scores = model.score(np.ascontiguousarray(matrix)) if len(rows) else np.zeros((0, 1), dtype=np.float32)
        return rows.select("id", "key", "event_time", "offset").with_columns(
            pl.lit(model_id).alias("model_id"),
            pl.lit(marked.offset, dtype=pl.Int64).alias("marker_offset"),
            pl.lit(route).alias("route"),
            pl.Series("outputs", scores, dtype=pl.Array(pl.Float32, scores.shape[1])).arr.to_list(),
            pl.lit(runtime_fingerprint()).alias("runtime"),
        )

    def _model(self, model_id: str) -> ScoringModel:
        model = self._library.model(model_id)
        assert model is not None, "a segment is scored only when its models are loaded"
        return model

    def _status(self, model_id: str, state: str, **more: object) -> WorkerStatus:
        return WorkerStatus.model_validate(
            {"worker_id": self._worker, "model_id": model_id, "state": state, "runtime": runtime_fingerprint(), **more}
        )


def _finite(rows: pl.DataFrame, features: Sequence[str]) -> pl.Series:
    """Whether every float among ``features`` is finite, row by row."""
    ok = np.ones(rows.height, dtype=bool)
    for c in features:
        if rows.schema[c].is_float():
            ok &= rows[c].is_finite().fill_null(False).to_numpy()
    return pl.Series(ok)


def _label(decoded: Decoded, place: int) -> str:
    return Code(decoded.codes[place]).label

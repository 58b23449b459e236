"""Production's past as it stands on the log: the records infer has gone through, the answers, the labels that came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.codec.topic import Decoded
from headrace.errors import ConfigError
from headrace.jobs.whatif.rows import ANSWERS, LABELS, Ranges, rows
from headrace.kafka.log import Chunk, read_range
from headrace.kafka.span import Span
from headrace.models.score.feeding import Matrix
from headrace.models.score.session import ScoringModel
from headrace.query.audit.scope import SKEW, Window
from headrace.query.replay.bounds import Bounds, spans
from headrace.topics.pipeline_topics import PipelineTopics

CHUNK = 50_000
TOPICS = ("features", "predictions", "examples")


class Read(NamedTuple):
    """Rows of one chunk of features (:func:`headrace.jobs.whatif.rows.schema`), and how many records do not decode."""

    rows: pl.DataFrame
    damaged: int


class Past:
    """The part of the past that a window holds, fixed when this is made, so that it can be read while the log grows.

    Args:
        topics: the pipeline's topics.
        window: which records, by when they came to the features topic.

    Attributes:
        ranges: partition -> offsets of the features topic: those in the window that infer has committed.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, topics: PipelineTopics, window: Window) -> None:
        self._topics = topics
        log, names = topics.log, {name: topics.topic(name) for name in TOPICS}
        committed = spans(topics, Bounds(window.start, window.stop))
        self.ranges: dict[int, Span] = {p: span for p, span in sorted(committed.items()) if span.start < span.stop}
        self._ends = {name: log.high_watermarks(full) for name, full in names.items()}
        # An answer or an example comes after its features record; clocks may differ.
        if window.start is None:
            self._starts = {name: {p: first for p, (first, _) in log.bounds(t).items()} for name, t in names.items()}
        else:
            self._starts = {name: log.offsets_at(t, window.start - SKEW) for name, t in names.items()}
        if not self.ranges:
            raise ConfigError(
                f"infer has gone through no record of {names['features']} in that range: widen --from and --to, or run "
                f"`headrace run infer` with an approved model"
            )

    @property
    def size(self) -> int:
        """Offsets to be read."""
        spans = [*self.ranges.values(), *(self._span(name, p) for name in TOPICS[1:] for p in self.ranges)]
        return sum(max(0, stop - start) for start, stop in spans)

    def read(self, candidate: ScoringModel, ranges: Ranges, advanced: Callable[[int], None]) -> Iterator[Read]:
        """Every features record in the ranges with both scores and its label, one partition after the other.

        Answers and labels of one partition are held at a time, 25 to 30 bytes each.

        Args:
            candidate: the model that scores them again.
            ranges: the examples each model has read.
            advanced: told how many records have been read.
        """
        pipeline, model = self._topics.pipeline, candidate.manifest
        names = ["id", "event_time", *pipeline.groups]
        for p, span in self.ranges.items():
            answers, labels = self._answers(p, span, advanced), self._labels(p, span, advanced)
            for chunk, decoded in self._chunks("features", p, span, advanced):
                features = decoded.frame(names=list(dict.fromkeys(names))).with_columns(
                    pl.Series("o", chunk.offsets[decoded.places()], dtype=pl.Int64),
                    pl.Series("candidate", scored(candidate, decoded.matrix(model.features)), dtype=pl.Float32),
                )
                found = rows(p, features, answers, labels, model.model_id, ranges, pipeline.groups)
                yield Read(found, len(decoded.reasons))

    def _answers(self, p: int, span: Span, advanced: Callable[[int], None]) -> pl.DataFrame:
        """See ANSWERS. The records of shadows are not answers."""
        found = [ANSWERS.to_frame()]
        for _, decoded in self._chunks("predictions", p, self._span("predictions", p), advanced):
            frame = decoded.frame(names=["offset", "route", "model_id", "outputs"])
            found.append(
                frame.filter(pl.col("route") != "shadow", span.holds("offset")).select(
                    pl.col("offset").alias("o"),
                    pl.col("model_id").cast(pl.Categorical).alias("model"),
                    # A score that is not there is as good as one that is no number.
                    pl.col("outputs").list.first().fill_null(float("nan")).cast(pl.Float32).alias("production"),
                )
            )
        return pl.concat(found).unique("o", keep="first", maintain_order=True)

    def _labels(self, p: int, span: Span, advanced: Callable[[int], None]) -> pl.DataFrame:
        """See LABELS."""
        found = [LABELS.to_frame()]
        for chunk, decoded in self._chunks("examples", p, self._span("examples", p), advanced):
            frame = decoded.frame(names=["feature_offset", "label"]).select(
                pl.col("feature_offset").alias("o"),
                pl.col("label").cast(pl.Float32),
                pl.Series("example", chunk.offsets[decoded.places()], dtype=pl.Int64),
            )
            found.append(frame.filter(span.holds("o")))
        return pl.concat(found).unique("o", keep="first", maintain_order=True)

    def _span(self, name: str, p: int) -> Span:
        return Span(self._starts[name].get(p, 0), self._ends[name].get(p, 0))

    def _chunks(
        self, name: str, p: int, span: Span, advanced: Callable[[int], None]
    ) -> Iterator[tuple[Chunk, Decoded]]:
        codec = self._topics.codec(name)
        if p not in self._ends[name]:
            return
        for chunk in read_range(self._topics.log, {self._topics.tp(name, p): span}, CHUNK, settled=True):
            advanced(len(chunk))
            yield chunk, codec.decode(chunk.values)


def scored(model: ScoringModel, features: Matrix) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Scores of ``features`` (n, features), float32 (n,); NaN for a row with a feature that is NaN or infinite."""
    scores = np.full(len(features), np.nan, dtype=np.float32)
    fit = np.flatnonzero(np.isfinite(features).all(axis=1))
    if len(fit):
        scores[fit] = model.score(features if len(fit) == len(features) else features[fit])[:, 0]
    return scores

"""Which model scored which record, held against the markers; and the markers held against the decisions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from headrace.governance.policy import PolicyInForce, PolicyTimeline, answering
from headrace.kafka.log import TopicPartition
from headrace.kafka.span import Span
from headrace.query.audit.report import Report
from headrace.query.audit.tables import MARKER, Read
from headrace.schema.records import Activated, PolicyMarker
from headrace.topics.pipeline_topics import PipelineTopics


def markers_in(topics: PipelineTopics, read: Read) -> Iterable[PolicyInForce]:
    """The policy markers of a chunk of features."""
    for place in read.decoded.places(MARKER).tolist():
        marker = topics.codec("features").decode_control(read.chunk.values[place])
        assert isinstance(marker, PolicyMarker)
        yield PolicyInForce(int(read.chunk.offsets[place]), marker.activation_id, marker.policy)


def agreed(
    report: Report, tp: TopicPartition, read: Span, found: list[PolicyInForce], activations: Iterable[Activated]
) -> list[PolicyInForce]:
    """Hold the markers of a partition against those that decisions name; gives the markers in force there.

    Markers before what was ``read`` are known from decisions alone.
    """
    timeline = PolicyTimeline()
    for activated in activations:
        timeline.add(activated)
    named = timeline.of(tp.partition)
    report.checked("policy", "markers", len(found))
    for marked in found:
        if marked not in named:
            report.broken("policy", "markers", tp, [marked.offset], f"no decision names marker {marked.activation_id}")
    for marked in named:
        if read.start <= marked.offset < read.stop and marked not in found:
            what = f"activation {marked.activation_id} names a marker that is not there"
            report.broken("policy", "markers", tp, [marked.offset], what)
    return sorted([m for m in named if m.offset < read.start] + found, key=lambda m: m.offset)


def ruled(report: Report, read: Read, marked: list[PolicyInForce]) -> None:
    """Each prediction of a chunk names the marker in force at its input, and a model that this policy gives it."""
    frame = read.decoded.frame(names=["id", "offset", "marker_offset", "model_id", "route"])
    own = read.chunk.offsets[read.decoded.places()]
    frame = frame.with_columns(pl.Series("o", own))
    tp = read.chunk.tp
    report.checked("policy", "predictions", frame.height)
    if not marked:
        report.broken("policy", "predictions", tp, own, "no policy was ever in force in this partition")
        return
    offsets = np.array([m.offset for m in marked])
    which = np.maximum(np.searchsorted(offsets, frame["offset"].to_numpy(), side="left") - 1, 0)
    for i in np.unique(which).tolist():
        _under(report, tp, frame.filter(pl.Series(which == i)), marked[i])


def _under(report: Report, tp: tuple[str, int], frame: pl.DataFrame, marked: PolicyInForce) -> None:
    """The predictions of inputs that stand under one marker."""
    policy = marked.policy
    for o, said in frame.filter(pl.col("marker_offset") != marked.offset).select("o", "marker_offset").iter_rows():
        what = f"it was scored under the marker at features offset {said}; in force was that at {marked.offset}"
        report.broken("policy", "predictions", tp, [o], what)
    shadows = frame.filter(pl.col("route") == "shadow")
    for o, model in shadows.filter(~pl.col("model_id").is_in(policy.shadows)).select("o", "model_id").iter_rows():
        report.broken("policy", "predictions", tp, [o], f"model {model[:12]} is no shadow of the policy in force")
    answers = frame.filter(pl.col("route") != "shadow")
    route = answering(policy, answers["id"].to_list())
    models = np.array([r.model_id for r in policy.routes])[route]
    answers = answers.with_columns(
        pl.Series("due", models), pl.Series("kind", np.where(route == 0, "champion", "candidate"))
    )
    wrong = answers.filter((pl.col("model_id") != pl.col("due")) | (pl.col("route") != pl.col("kind")))
    for o, model, said, due, kind in wrong.select("o", "model_id", "route", "due", "kind").iter_rows():
        what = f"model {model[:12]} answered as {said}; the policy in force gives this id to {due[:12]} as {kind}"
        report.broken("policy", "predictions", tp, [o], what)

"""What led to one prediction, and what came of it: each part read from its topic, the score and the features again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from headrace.errors import ConfigError, RecordsLost
from headrace.governance.catalog import Governance, governance
from headrace.governance.policy import answering, route_point
from headrace.kafka.coordinate import Coordinate
from headrace.kafka.log import Chunk, read_range
from headrace.kafka.span import Span
from headrace.models.package.signing import Trust
from headrace.models.score.session import runtime_fingerprint
from headrace.query.replay.compare import compare
from headrace.query.replay.rescore import rescored
from headrace.query.replay.scorers import Scorers
from headrace.query.why.find import where
from headrace.schema.records import Activated, Approval, ModelManifest
from headrace.topics.pipeline_topics import PipelineTopics

Row = dict[str, Any]
STANDS = "@"
"""Where a record stands, among its fields."""
Again = Callable[[PipelineTopics, int, int], Row | None]
"""Makes the features of the raw record at (partition, offset) again: the row, or None where there is none."""


@dataclass(frozen=True)
class Checked:
    """A part made again: whether it is the same (None: it could not be), and what was compared, or what differs."""

    same: bool | None
    said: str


@dataclass(frozen=True)
class Story:
    """Every part, as plain data. A part that the log no longer holds is None.

    Attributes:
        prediction: the receipt.
        raw: the event.
        features: the features record.
        policy: the marker in force, what activated it, who approved it on which evidence.
        route: why this model answers for this id under that policy.
        model: the model and from what it was made.
        shadows: receipts of the models that were scored beside it.
        label: what turned out later.
        score_again: the model run again.
        features_again: the pipeline's function run again.
        others: other answers about the same id.
        doubled: other predictions of the same record in the same part; there must be none.
    """

    prediction: Row
    raw: Row | None
    features: Row | None
    policy: Row | None
    route: str
    model: Row | None
    shadows: list[Row]
    label: Row | None
    score_again: Checked
    features_again: Checked | None
    others: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether all that could be made again came out the same, and the record was answered once."""
        made = (self.score_again, self.features_again)
        return all(part is None or part.same is not False for part in made) and not self.doubled

    def plain(self) -> Row:
        """As JSON takes it, times and bytes as text."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("score_again", "features_again"):
            parts[name] = None if parts[name] is None else parts[name].__dict__
        return {"agrees": self.agrees, **parts}


def tell(
    topics: PipelineTopics, place: Coordinate, trust: Trust, features_again: Again, others: list[Coordinate]
) -> Story:
    """The story of the prediction at a place.

    Raises:
        ConfigError: no prediction stands there.
    """
    partition = place.partition
    tp = topics.tp("predictions", partition)
    chunk = _record(topics, "predictions", place)
    prediction = _row(topics, "predictions", chunk)
    if chunk is None or prediction is None:
        raise ConfigError(f"no prediction that can be read stands at {where(tp, place.offset)}")
    at = Coordinate(partition, prediction["offset"])
    features = _row(topics, "features", _record(topics, "features", at))
    raw_at = None if features is None else Coordinate(partition, features["raw_offset"])
    raw = None if raw_at is None else _row(topics, "raw", _record(topics, "raw", raw_at))
    state = governance(topics)
    activated = _activated(state, partition, prediction["marker_offset"])
    scorers = Scorers(topics, trust)
    manifest = scorers.manifest(prediction["model_id"])
    doubled = _doubled(topics, place, prediction)
    return Story(
        prediction=prediction,
        raw=raw,
        features=features,
        policy=None if activated is None else _policy(topics, state, activated, prediction["marker_offset"]),
        route=_route(activated, prediction),
        model=None if manifest is None else _model(manifest),
        shadows=_shadows(topics, place, prediction),
        label=_label(topics, place, prediction),
        score_again=_scored(topics, state, scorers, at, chunk, features is not None),
        features_again=None if raw is None or features is None else _made(topics, features, raw_at, features_again),
        others=[str(o) for o in others if o not in doubled],
        doubled=[str(o) for o in doubled],
    )


def _record(topics: PipelineTopics, name: str, place: Coordinate) -> Chunk | None:
    span = (place.offset, place.offset + 1)
    return next(iter(read_range(topics.log, {topics.tp(name, place.partition): span})), None)


def _row(topics: PipelineTopics, name: str, chunk: Chunk | None) -> Row | None:
    """The record as a row, with its coordinates under a name that no field can have."""
    if chunk is None:
        return None
    decoded = topics.codec(name).decode(chunk.values)
    frame = decoded.frame()
    if frame.is_empty():
        return None
    return {STANDS: where(chunk.tp, int(chunk.offsets[0])), **frame.row(0, named=True)}


def _activated(state: Governance, partition: int, marker: int) -> Activated | None:
    for activated in state.activations.values():
        if any(m.partition == partition and m.offset == marker for m in activated.markers):
            return activated
    return None


def _policy(topics: PipelineTopics, state: Governance, activated: Activated, marker: int) -> Row:
    order = state.orders.get(activated.order_offset)
    decisions = topics.tp("decisions")
    told: Row = {
        "marker": marker,
        "activation": activated.activation_id,
        "because": activated.reason,
        "activated_at": activated.at,
        "routes": [{"model_id": r.model_id, "weight": r.weight} for r in activated.policy.routes],
        "shadows": activated.policy.shadows,
        "order": where(decisions, activated.order_offset),
        "evidence_hash": activated.evidence_hash,
    }
    if order is not None:
        note = order.note if isinstance(order, Approval) else order.reason
        told |= {"ordered_by": order.by, "ordered_at": order.at, "note": note}
    gates = state.gates.get(activated.model_id, {}).values()
    told["gates"] = [{"gate": g.gate, "passed": g.passed, "mode": g.mode, "summary": g.summary} for g in gates]
    return told


def _route(activated: Activated | None, prediction: Row) -> str:
    if prediction["route"] == "shadow":
        return "a shadow: scored and recorded, never the answer"
    if activated is None:
        return "the policy is not on the log any more"
    policy = activated.policy
    if len(policy.routes) == 1:
        return "the policy has one model, which answers for every id"
    place = int(answering(policy, [prediction["id"]])[0])
    total = sum(r.weight for r in policy.routes)
    point = route_point(policy.salt, prediction["id"])
    return (
        f"id {prediction['id']} hashes to {point:.4f} of [0, 1), which route {place + 1} of {len(policy.routes)} "
        f"({policy.routes[place].weight} of {total}) answers for"
    )


def _model(manifest: ModelManifest) -> Row:
    lineage = manifest.lineage
    return {
        "model_id": manifest.model_id,
        "algorithm": manifest.algorithm,
        "parameters": lineage.parameters,
        "metrics": {k: manifest.metrics[k] for k in ("auc", "log_loss") if k in manifest.metrics},
        "trigger": f"{lineage.trigger_reason} ({lineage.trigger_id})",
        "examples": lineage.records,
        "ranges": [f"{r.partition}:{r.start}-{r.stop}" for r in lineage.ranges],
        "root_hash": lineage.root_hash,
        "trained_until": lineage.train_until,
        "code_version": lineage.code_version,
        "batching": manifest.batching,
        "signed": manifest.signature is not None,
    }


NEAR = 200
"""Offsets around a prediction among which its shadows stand: they are written together."""


def _shadows(topics: PipelineTopics, place: Coordinate, prediction: Row) -> list[Row]:
    tp = topics.tp("predictions", place.partition)
    around = (max(0, place.offset - NEAR), place.offset + NEAR)
    found = []
    for chunk in read_range(topics.log, {tp: around}):
        frame = topics.codec("predictions").decode(chunk.values).frame()
        mine = frame.filter((pl.col("offset") == prediction["offset"]) & (pl.col("model_id") != prediction["model_id"]))
        found += mine.select("model_id", "route", "outputs").rows(named=True)
    return found


def _doubled(topics: PipelineTopics, place: Coordinate, prediction: Row) -> list[Coordinate]:
    """Other predictions of the same record that play the same part, wherever in the partition they are."""
    found = []
    shadow = prediction["route"] == "shadow"
    same = pl.col("model_id") == prediction["model_id"] if shadow else pl.lit(True)
    for chunk in read_range(topics.log, {topics.tp("predictions", place.partition): (0, 1 << 62)}):
        decoded = topics.codec("predictions").decode(chunk.values)
        frame = decoded.frame(names=["offset", "route", "model_id"])
        frame = frame.with_columns(pl.Series("o", chunk.offsets[decoded.places()]))
        mine = (pl.col("offset") == prediction["offset"]) & ((pl.col("route") == "shadow") == shadow) & same
        found += frame.filter(mine & (pl.col("o") != place.offset))["o"].to_list()
    return [Coordinate(place.partition, offset) for offset in found]


def _label(topics: PipelineTopics, place: Coordinate, prediction: Row) -> Row | None:
    """The outcome of the prediction. Labels come in any order, so that all outcomes are looked through."""
    for chunk in read_range(topics.log, {topics.tp("outcomes", place.partition): (0, 1 << 62)}):
        decoded = topics.codec("outcomes").decode(chunk.values)
        frame = decoded.frame(names=["prediction_offset", "label", "label_time", "label_offset"])
        frame = frame.with_columns(pl.Series("o", chunk.offsets[decoded.places()]))
        mine = frame.filter(pl.col("prediction_offset") == place.offset)
        if mine.height:
            row = mine.row(0, named=True)
            label_at = where(topics.tp("labels", place.partition), row["label_offset"])
            return {
                "at": where(chunk.tp, row["o"]),
                "label": row["label"],
                "label_time": row["label_time"],
                "from": label_at,
            }
    return None


def _scored(
    topics: PipelineTopics, state: Governance, scorers: Scorers, at: Coordinate, there: Chunk, features: bool
) -> Checked:
    if not features:
        return Checked(False, "the features record is not on the log any more")
    codec = topics.codec("predictions")
    mine = codec.decode(there.values).frame().row(0, named=True)
    for again in rescored(topics, scorers, state.timeline, at.partition, Span(at.offset, at.offset + 1)):
        if again.refused:
            return Checked(False, again.refused)
        frame = codec.decode(again.values).frame()
        part = "shadow" if mine["route"] == "shadow" else "answer"
        same = pl.col("model_id") == mine["model_id"] if part == "shadow" else pl.col("route") != "shadow"
        places = frame.with_row_index("n").filter(same)["n"].to_numpy()
        found = compare(codec, again.keys[places], again.values[places], there)
        if found.differences:
            return Checked(False, found.differences[0].what)
        if found.other_runtime:
            return Checked(True, f"within 1e-05: made under runtime {mine['runtime']}, this is {runtime_fingerprint()}")
        return Checked(True, "the same bits")
    return Checked(False, "the record gives no prediction")


def _made(topics: PipelineTopics, features: Row, raw_at: Coordinate | None, again: Again) -> Checked:
    assert raw_at is not None
    try:
        made = again(topics, raw_at.partition, raw_at.offset)
    except RecordsLost as e:
        return Checked(None, f"cannot be made again: {e}")
    if made is None:
        return Checked(False, "the pipeline's functions give no features of this event (have they changed since?)")
    other = [n for n, v in made.items() if features[n] != v]
    if other:
        what = ", ".join(f"{n} is {features[n]}, made again {made[n]}" for n in other[:5])
        return Checked(False, what)
    return Checked(True, f"the same {len(made)} values, from the raw events before it")

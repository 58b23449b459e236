"""The audit on a real log that is good, and on the same log with one thing wrong in it: each is found and named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace.governance.catalog import governance
from headrace.governance.evidence import evidence_hash
from headrace.kafka.log import Output
from headrace.query.audit import scope
from headrace.query.audit.audit import audit
from headrace.query.audit.report import Report
from headrace.query.audit.scope import Window
from headrace.runner.recompute import recompute
from headrace.schema.records import (
    Activated,
    Approval,
    ModelChunk,
    PartitionOffset,
    Policy,
    PolicyMarker,
    Rejection,
    RolledBack,
    Route,
    WorkerStatus,
)
from headrace.topics.pipeline_topics import PipelineTopics
from tests.integration.platform import Platform, rows_of
from tests.integration.spoiler import Spoiler

GROUPS = ("preprocess", "infer", "join")


Found = set[tuple[str, str, int, int]]


def found(report: Report, topics: PipelineTopics) -> Found:
    """Rule, topic, partition and offset of every violation."""
    return {(v.rule, topics.short(v.topic), v.partition, v.offset) for v in report.violations}


# What is spoilt, and what must be found: each function spoils the log and gives the violations due.


def a_prediction_twice(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") != "shadow")
    s.append("predictions", p, s.value("predictions", p, o))
    return {
        ("exactly_one", "features", p, row["offset"][0]),
        ("order", "predictions", p, len(s.log.entries[s.topics.tp("predictions", p)]) - 1),
    }


def _an_answer_or_shadow_lost(s: Spoiler, which: pl.Expr) -> Found:
    """Every click has its label: the outcome of what is lost is then left without its cause."""
    p, o, row = s.some("predictions", which)
    s.log.erase(s.topics.tp("predictions", p), o)
    return {("exactly_one", "features", p, row["offset"][0]), *_left_alone(s, p, o)}


def _left_alone(s: Spoiler, p: int, prediction: int) -> Found:
    """The outcome of a prediction that is gone, or is no longer about its record."""
    outcome = rows_of(s.topics, "outcomes").filter((pl.col("p") == p) & (pl.col("prediction_offset") == prediction))
    return {(rule, "outcomes", p, outcome["o"][0]) for rule in ("no_phantom", "recomputed")}


def a_prediction_lost(s: Spoiler) -> Found:
    return _an_answer_or_shadow_lost(s, pl.col("route") != "shadow")


def two_predictions_in_the_other_order(s: Spoiler) -> Found:
    rows = rows_of(s.topics, "predictions").filter(pl.col("p") == 0, pl.col("route") != "shadow")
    (a, b), (one, two) = rows["o"][:2].to_list(), (rows[0].drop("p", "o"), rows[1].drop("p", "o"))
    s.rewrite("predictions", 0, a, two)
    s.rewrite("predictions", 0, b, one)
    outcomes = rows_of(s.topics, "outcomes").filter(pl.col("p") == 0, pl.col("prediction_offset").is_in([a, b]))
    due: Found = {("order", "predictions", 0, b)}
    for o in outcomes["o"]:
        due.add(("no_phantom", "outcomes", 0, o))
    labels = dict(outcomes.select("prediction_offset", "label_offset").rows())
    # The pairs are now of a prediction and the other one's label.
    due |= {("recomputed", "outcomes", 0, o) for o in outcomes["o"]}
    due |= {("exactly_one", "labels", 0, label) for label in labels.values()}
    return due


def a_prediction_by_another_model(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") == "champion")
    other = next(m for m in rows_of(s.topics, "predictions")["model_id"].unique() if m != row["model_id"][0])
    s.rewrite("predictions", p, o, row.with_columns(pl.lit(other).alias("model_id")))
    return {("policy", "predictions", p, o)}


def a_prediction_under_another_marker(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") == "champion")
    s.rewrite("predictions", p, o, row.with_columns(pl.col("marker_offset") + 1))
    return {("policy", "predictions", p, o)}


def a_shadow_lost(s: Spoiler) -> Found:
    return _an_answer_or_shadow_lost(s, pl.col("route") == "shadow")


def a_prediction_of_nothing(s: Spoiler) -> Found:
    p, _, row = s.some("predictions", pl.col("route") == "champion")
    marker = governance(s.topics).timeline.of(p)[0].offset
    ruling = governance(s.topics).timeline.of(p)[0]
    values = s.topics.codec("predictions").encode(
        row.with_columns(
            pl.lit(marker, dtype=pl.Int64).alias("offset"),
            pl.lit(marker, dtype=pl.Int64).alias("marker_offset"),
            pl.lit(ruling.policy.champion).alias("model_id"),
        )
    )
    o = s.append("predictions", p, *values)[0]
    return {("no_phantom", "predictions", p, o), ("order", "predictions", p, o)}


def a_prediction_about_another_record(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") == "shadow")
    s.rewrite("predictions", p, o, row.with_columns(pl.lit("nobody").alias("id")))
    return {("no_phantom", "predictions", p, o), *_left_alone(s, p, o)}


def a_chunk_altered(s: Spoiler) -> Found:
    tp, codec = s.topics.tp("model_chunks"), s.topics.codec("model_chunks")
    chunk = codec.decode_control(s.value("model_chunks", 0, 0))
    assert isinstance(chunk, ModelChunk)
    bad = chunk.model_copy(update={"data": bytes([chunk.data[0] ^ 1]) + chunk.data[1:]})
    s.log.overwrite(tp, 0, codec.encode_control(bad))
    return {("manifest", "model_chunks", 0, 0), ("manifest", "models", 0, 0)}


def a_manifest_without_its_chunks(s: Spoiler) -> Found:
    s.log.erase(s.topics.tp("model_chunks"), 0)
    return {("manifest", "models", 0, 0)}


def a_chunk_without_a_manifest(s: Spoiler) -> Found:
    o = s.control("model_chunks", ModelChunk(model_id="f" * 64, index=0, digest="", data=b"x"))
    return {("manifest", "model_chunks", 0, o)}


def an_approval_forged(s: Spoiler) -> Found:
    """An approval on evidence that nobody saw, carried out in full."""
    ruling = governance(s.topics).in_force
    assert ruling is not None
    policy = ruling.policy.model_copy(update={"salt": "forged"})
    approval = Approval(model_id=policy.champion, by="mallory", evidence_hash="0" * 64, policy=policy)
    return _carried_out(s, policy, s.control("decisions", approval), "0" * 64)


def an_activation_nobody_ordered(s: Spoiler) -> Found:
    ruling = governance(s.topics).in_force
    assert ruling is not None
    return _carried_out(s, ruling.policy, 10**6, "")


def a_rejected_model_in_force(s: Spoiler) -> Found:
    ruling = governance(s.topics).in_force
    assert ruling is not None
    model = ruling.policy.champion
    rejected = s.control("decisions", Rejection(model_id=model, by="test", reason="no"))
    hashed = evidence_hash(governance(s.topics).gates[model].values())
    policy = Policy(routes=[Route(model_id=model, weight=100)])
    order = s.control("decisions", Approval(model_id=model, by="test", evidence_hash=hashed, policy=policy))
    return {("evidence", "decisions", 0, rejected), *_carried_out(s, policy, order, hashed)}


def a_rejected_model_brought_back(s: Spoiler) -> Found:
    """A rollback to the policy whose champion was rejected since, carried out in full."""
    state = governance(s.topics)
    assert state.in_force is not None
    earlier = next(a for a in state.activations.values() if a.model_id != state.in_force.model_id)
    rejected = s.control("decisions", Rejection(model_id=earlier.model_id, by="test", reason="no"))
    order = s.control("decisions", RolledBack(activation_id=earlier.activation_id, by="test", reason=""))
    return {("evidence", "decisions", 0, rejected), *_carried_out(s, earlier.policy, order, "")}


def a_rejected_model_that_rules_on(s: Spoiler) -> Found:
    ruling = governance(s.topics).in_force
    assert ruling is not None
    rejection = Rejection(model_id=ruling.policy.models[-1], by="test", reason="no")
    return {("evidence", "decisions", 0, s.control("decisions", rejection))}


def another_policy_than_a_rollback_names(s: Spoiler) -> Found:
    """The order leaves a shadow out, and the activation does not."""
    shadowed = next(a for a in governance(s.topics).activations.values() if a.policy.shadows)
    back = RolledBack(activation_id=shadowed.activation_id, without=shadowed.policy.shadows, by="test", reason="")
    return _carried_out(s, shadowed.policy, s.control("decisions", back), "")


def _carried_out(s: Spoiler, policy: Policy, order: int, evidence: str) -> Found:
    marker = PolicyMarker(activation_id="forged", policy=policy)
    placed = [PartitionOffset(partition=p, offset=s.control("features", marker, p)) for p in range(3)]
    activated = Activated(
        activation_id="forged",
        model_id=policy.champion,
        policy=policy,
        markers=placed,
        reason="approval",
        order_offset=order,
        evidence_hash=evidence,
    )
    return {("evidence", "decisions", 0, s.control("decisions", activated))}


def a_marker_nobody_decided(s: Spoiler) -> Found:
    ruling = governance(s.topics).in_force
    assert ruling is not None
    o = s.control("features", PolicyMarker(activation_id="stray", policy=ruling.policy), 1)
    return {("policy", "features", 1, o)}


def a_marker_lost(s: Spoiler) -> Found:
    """The records under it then seem to be scored by a policy not yet in force."""
    second = governance(s.topics).timeline.of(2)[1]
    s.log.erase(s.topics.tp("features", 2), second.offset)
    under = rows_of(s.topics, "predictions").filter(pl.col("p") == 2, pl.col("marker_offset") == second.offset)
    return {("policy", "features", 2, second.offset)} | {("policy", "predictions", 2, o) for o in under["o"]}


def a_model_that_every_worker_rejects(s: Spoiler) -> Found:
    ruling = governance(s.topics).in_force
    assert ruling is not None
    name, tp = ruling.policy.champion, s.topics.tp("workers")
    for o, record in list(s.topics.read_control("workers")):
        if isinstance(record, WorkerStatus) and record.model_id == name:
            s.log.erase(tp, o)
    status = WorkerStatus(worker_id="w", model_id=name, state="REJECTED", reason="no memory")
    return {("policy", "workers", 0, s.control("workers", status))}


def a_features_record_given_up(s: Spoiler) -> Found:
    """A features record turns out to belong to an aborted transaction: what came of it must be named."""
    p, o, row = s.some("features")
    s.log.give_up(s.topics.tp("features", p), o)
    predictions = rows_of(s.topics, "predictions").filter((pl.col("p") == p) & (pl.col("offset") == o))
    example = rows_of(s.topics, "examples").filter((pl.col("p") == p) & (pl.col("feature_offset") == o))
    due = {("no_aborted", "predictions", p, own) for own in predictions["o"]}
    due |= {("no_aborted", "examples", p, own) for own in example["o"]}
    due |= {("recomputed", "examples", p, own) for own in example["o"]}
    return due | {("exactly_one", "raw", p, row["raw_offset"][0])}


def a_features_record_lost(s: Spoiler) -> Found:
    p, o, row = s.some("features")
    s.log.erase(s.topics.tp("features", p), o)
    predictions = rows_of(s.topics, "predictions").filter((pl.col("p") == p) & (pl.col("offset") == o))
    example = rows_of(s.topics, "examples").filter((pl.col("p") == p) & (pl.col("feature_offset") == o))
    due = {("no_phantom", "predictions", p, own) for own in predictions["o"]}
    due |= {(rule, "examples", p, own) for own in example["o"] for rule in ("no_phantom", "recomputed")}
    return due | {("exactly_one", "raw", p, row["raw_offset"][0])}


def an_example_lost(s: Spoiler) -> Found:
    p, o, row = s.some("examples")
    s.log.erase(s.topics.tp("examples", p), o)
    return {("exactly_one", "labels", p, row["label_offset"][0])}


def an_example_twice(s: Spoiler) -> Found:
    p, o, _ = s.some("examples")
    again = s.append("examples", p, s.value("examples", p, o))[0]
    return {("exactly_one", "examples", p, again)}


def an_outcome_lost(s: Spoiler) -> Found:
    p, o, row = s.some("outcomes")
    s.log.erase(s.topics.tp("outcomes", p), o)
    return {("exactly_one", "labels", p, row["label_offset"][0])}


def an_example_with_another_label(s: Spoiler) -> Found:
    p, o, row = s.some("examples")
    s.rewrite("examples", p, o, row.with_columns((1 - pl.col("label")).alias("label")))
    return {("no_phantom", "examples", p, o)}


def a_dead_letter_lost(s: Spoiler) -> Found:
    letters = rows_of(s.topics, "dead").filter(pl.col("stage") == "preprocess", pl.col("code") == "null_value")
    p, o, at = letters.select("p", "o", "offset").row(0)
    s.log.erase(s.topics.tp("dead", p), o)
    return {("exactly_one", "raw", p, at)}


def a_dead_letter_twice(s: Spoiler) -> Found:
    letters = rows_of(s.topics, "dead").filter(pl.col("stage") == "preprocess")
    p, o, at = letters.select("p", "o", "offset").row(0)
    s.append("dead", p, s.value("dead", p, o))
    return {("exactly_one", "raw", p, at)}


def a_dead_letter_with_other_bytes(s: Spoiler) -> Found:
    rows = rows_of(s.topics, "dead").filter(pl.col("stage") == "preprocess", pl.col("value").is_not_null())
    row = rows[0]
    p, o = row["p"][0], row["o"][0]
    s.rewrite("dead", p, o, row.drop("p", "o").with_columns(pl.lit(b"other").alias("value")))
    return {("no_phantom", "dead", p, o)}


def a_label_doubled(s: Spoiler) -> Found:
    """Appended behind what join has consumed: the raw record it comes of then has two."""
    p, o, row = s.some("labels")
    again = s.append("labels", p, s.value("labels", p, o))[0]
    return {("exactly_one", "raw", p, row["source_offset"][0]), ("order", "labels", p, again)}


SPOILT: list[Callable[[Spoiler], Found]] = [
    a_prediction_twice,
    a_prediction_lost,
    two_predictions_in_the_other_order,
    a_prediction_by_another_model,
    a_prediction_under_another_marker,
    a_shadow_lost,
    a_prediction_of_nothing,
    a_prediction_about_another_record,
    a_chunk_altered,
    a_manifest_without_its_chunks,
    a_chunk_without_a_manifest,
    an_approval_forged,
    an_activation_nobody_ordered,
    a_rejected_model_in_force,
    a_rejected_model_brought_back,
    a_rejected_model_that_rules_on,
    another_policy_than_a_rollback_names,
    a_marker_nobody_decided,
    a_marker_lost,
    a_model_that_every_worker_rejects,
    a_features_record_given_up,
    a_features_record_lost,
    an_example_lost,
    an_example_twice,
    an_outcome_lost,
    an_example_with_another_label,
    a_dead_letter_lost,
    a_dead_letter_twice,
    a_dead_letter_with_other_bytes,
    a_label_doubled,
]


def test_a_good_log_passes_and_every_rule_was_asked(good: Platform) -> None:
    report = audit(good.topics, recompute)
    assert report.violations == []
    assert report.ok
    unasked = {line for line, asked in report.lines.items() if not asked.checked}
    rules = ("no_phantom", "no_aborted")
    assert unasked == {(rule, f"{name} -> dead") for rule in rules for name in ("features", "predictions")}
    rows = {name: rows_of(good.topics, name).height for name in ("features", "examples", "outcomes")}
    asked = {line: what.checked for line, what in report.lines.items()}
    assert asked["exactly_one", "infer"] == rows["features"] == 699
    assert asked["exactly_one", "join, examples"] == rows["examples"]
    assert asked["exactly_one", "join, outcomes"] == rows["outcomes"]
    assert asked["evidence", "activations"] == 4


def test_the_copy_passes_as_well(twin: PipelineTopics) -> None:
    assert found(audit(twin, recompute), twin) == set()


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda f: f.__name__)
def test_one_thing_wrong_is_found_and_named(twin: PipelineTopics, spoil: Callable[[Spoiler], Found]) -> None:
    due = spoil(Spoiler(twin))
    report = audit(twin, recompute)
    assert found(report, twin) == due
    assert not report.ok


def test_a_transaction_that_never_ends_is_found(twin: PipelineTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "SETTLE_S", 0.2)
    writer = twin.log.writer("stuck")
    writer.begin()
    end = twin.log.high_watermarks(twin.topic("predictions"))[1]
    writer.write(Output(twin.tp("predictions", 1), [b"k"], [b"v"]))
    assert found(audit(twin, recompute), twin) == {("settled", "predictions", 1, end)}


def test_a_window_judges_the_inputs_that_came_in_it(good: Platform, twin: PipelineTopics) -> None:
    never = datetime(2000, 1, 1, tzinfo=UTC)
    whole = audit(good.topics, recompute).lines["exactly_one", "infer"].checked
    later = datetime.now(UTC) + timedelta(hours=1)
    for window, share in (
        (Window(never, later), whole),
        (Window(later, None), 0),
        (Window(None, never), 0),
    ):
        report = audit(good.topics, recompute, window=window)
        assert report.violations == []
        assert report.lines["exactly_one", "infer"].checked == share


def test_on_kafka_itself_what_can_be_written_is_found(spoilable: Platform) -> None:
    """Nothing can be taken from Kafka, but anything can be added."""
    topics = spoilable.topics
    rows = rows_of(topics, "predictions").filter(pl.col("p") == 0, pl.col("route") == "champion")
    one = rows[4]
    champion, other = one["model_id"][0], next(m for m in rows["model_id"].unique() if m != one["model_id"][0])
    wrong = one.with_columns(pl.lit(other).alias("model_id"))
    writer = spoilable.log.writer("spoiler")
    writer.begin()
    lost = writer.write_and_wait([topics.rows("features", 0, rows_of(topics, "features").drop("p", "o")[:1], [b"k"])])
    writer.abort()
    aborted = one.with_columns(
        pl.lit(lost[0][0], dtype=pl.Int64).alias("offset"),
        pl.lit(governance(topics).timeline.of(0)[-1].offset, dtype=pl.Int64).alias("marker_offset"),
        pl.lit(governance(topics).timeline.of(0)[-1].policy.champion).alias("model_id"),
    )
    ruling = governance(topics).in_force
    assert ruling is not None
    chunk = ModelChunk(model_id=champion, index=0, digest="", data=b"tampered")
    forged = Approval(model_id=ruling.model_id, by="mallory", evidence_hash="0" * 64, policy=ruling.policy)
    writer.begin()
    made = writer.write_and_wait(
        [topics.rows("predictions", 0, frame.drop("p", "o"), [b"k"]) for frame in (one, wrong, aborted)]
        + [topics.control("model_chunks", [chunk], [f"{champion}/0"]), topics.control("decisions", [forged], ["k"])]
    )
    repeated, by_other, from_aborted, tampered, order = (o[0] for o in made)
    activated = Activated(
        activation_id="forged",
        model_id=ruling.model_id,
        policy=ruling.policy,
        markers=[],
        reason="approval",
        order_offset=order,
        evidence_hash="0" * 64,
    )
    made = writer.write_and_wait([topics.control("decisions", [activated], ["k"])])
    writer.commit()
    writer.close()
    assert found(audit(topics, recompute), topics) == {
        ("exactly_one", "features", 0, one["offset"][0]),
        ("order", "predictions", 0, repeated),
        ("order", "predictions", 0, by_other),
        ("policy", "predictions", 0, by_other),
        ("no_aborted", "predictions", 0, from_aborted),
        ("manifest", "model_chunks", 0, tampered),
        ("evidence", "decisions", 0, made[0][0]),
    }

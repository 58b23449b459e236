"""Replay on a real log: it gives the same bits; and on the same log with one thing wrong in it: that is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.cli.times import bounds
from headrace.errors import ConfigError
from headrace.governance.catalog import governance
from headrace.models.package.signing import Trust
from headrace.models.score.session import runtime_fingerprint
from headrace.query.audit.audit import audit
from headrace.query.replay import logged as standing
from headrace.query.replay import rescore
from headrace.query.replay.bounds import Bounds
from headrace.query.replay.verify import Verification, verify
from headrace.runner.recompute import recompute
from headrace.topics.pipeline_topics import PipelineTopics
from tests.integration.platform import Platform, rows_of
from tests.integration.spoiler import Spoiler

TRUST = Trust(unsigned=True)
ANSWER = pl.col("route") != "shadow"
Found = set[tuple[int, int, int, str]]
"""Partition, features offset, prediction offset, and how what differs begins."""


def found(verified: Verification, length: int = 14) -> Found:
    return {(p, d.features, d.predictions, d.what[:length]) for p, r in verified.partitions.items() for d in r.listed}


def scored(topics: PipelineTopics) -> pl.DataFrame:
    return rows_of(topics, "features").filter(pl.col("id").is_not_null())


def test_a_real_log_gives_the_same_bits(good: Platform) -> None:
    topics = good.topics
    verified = verify(topics, TRUST)
    assert found(verified) == set()
    assert verified.ok
    assert verified.total("records") == scored(topics).height
    assert verified.total("same") == rows_of(topics, "predictions").height
    assert {*verified.models} == {*rows_of(topics, "predictions")["model_id"]}
    assert [verified.total(n) for n in ("other_runtime", "unscored", "past_retention", "differences")] == [0, 0, 0, 0]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_it_does_so_in_batches_of_any_size(twin: PipelineTopics, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescore, "CHUNK", size)
    monkeypatch.setattr(standing, "CHUNK", 3 * size)
    verified = verify(twin, TRUST)
    assert verified.ok
    assert verified.total("same") == rows_of(twin, "predictions").height


# What is spoilt, and what must be found.


def a_bit_of_an_output(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    bits = np.array(row["outputs"][0].to_list(), dtype=np.float32).view(np.uint32) ^ 1
    other = pl.Series("outputs", [bits.view(np.float32).tolist()], dtype=pl.List(pl.Float32))
    s.rewrite("predictions", p, o, row.with_columns(other))
    return {(p, row["offset"][0], o, "its outputs ar")}


def a_prediction_by_another_model(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") == "champion")
    other = next(m for m in rows_of(s.topics, "predictions")["model_id"].unique() if m != row["model_id"][0])
    s.rewrite("predictions", p, o, row.with_columns(pl.lit(other).alias("model_id")))
    return {(p, row["offset"][0], o, "its model is " + other[0])}


def a_prediction_under_another_marker(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    s.rewrite("predictions", p, o, row.with_columns(pl.col("marker_offset") + 1))
    return {(p, row["offset"][0], o, "its marker is ")}


def a_candidates_answer_given_as_the_champions(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") == "candidate")
    s.rewrite("predictions", p, o, row.with_columns(pl.lit("champion").alias("route")))
    return {(p, row["offset"][0], o, "its route is c")}


def an_event_time(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    s.rewrite("predictions", p, o, row.with_columns(pl.col("event_time") + timedelta(seconds=1)))
    return {(p, row["offset"][0], o, "its event time")}


def an_answer_lost(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    s.log.erase(s.topics.tp("predictions", p), o)
    return {(p, row["offset"][0], -1, "there is no pr")}


def a_shadow_lost(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ~ANSWER)
    s.log.erase(s.topics.tp("predictions", p), o)
    return {(p, row["offset"][0], -1, "there is no pr")}


def a_prediction_twice(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    tp = s.topics.tp("predictions", p)
    following = rows_of(s.topics, "predictions").filter(pl.col("p") == p, pl.col("o") > o)["o"][0]
    s.log.overwrite(tp, following, s.value("predictions", p, o))
    lost = rows_of(s.topics, "features").filter(pl.col("p") == p, pl.col("o") > row["offset"][0])["o"][0]
    return {(p, row["offset"][0], following, "the record is "), (p, lost, -1, "there is no pr")}


def a_prediction_once_more_behind_all_others(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    [again] = s.append("predictions", p, s.value("predictions", p, o))
    return {(p, row["offset"][0], again, "the record has")}


def a_prediction_of_a_marker(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", pl.col("route") == "champion")
    marker = int(row["marker_offset"][0])
    s.rewrite("predictions", p, o, row.with_columns(pl.lit(marker, dtype=pl.Int64).alias("offset")))
    return {(p, row["offset"][0], -1, "there is no pr"), (p, marker, o, "there must be ")}


def a_damaged_prediction(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    value = s.value("predictions", p, o)
    assert value is not None
    s.log.overwrite(s.topics.tp("predictions", p), o, value[:-3])
    return {(p, row["offset"][0], -1, "there is no pr"), (p, -1, o, "it cannot be d")}


def scores_of_another_runtime_that_are_far_off(s: Spoiler) -> Found:
    p, o, row = s.some("predictions", ANSWER)
    outputs = pl.Series("outputs", [[row["outputs"][0][0] + 0.01]], dtype=pl.List(pl.Float32))
    s.rewrite("predictions", p, o, row.with_columns(outputs, pl.lit("0" * 16).alias("runtime")))
    return {(p, row["offset"][0], o, "its outputs ar")}


def a_feature_changed(s: Spoiler) -> Found:
    p, o, row = s.some("features", pl.col("price") > 0.1)
    s.rewrite("features", p, o, row.with_columns(pl.col("price") + 0.5))
    made = rows_of(s.topics, "predictions").filter(pl.col("p") == p, pl.col("offset") == o)
    return {(p, o, at, "its outputs ar") for at in made["o"]}


SPOILT: list[Callable[[Spoiler], Found]] = [
    a_bit_of_an_output,
    a_prediction_by_another_model,
    a_prediction_under_another_marker,
    a_candidates_answer_given_as_the_champions,
    an_event_time,
    an_answer_lost,
    a_shadow_lost,
    a_prediction_twice,
    a_prediction_once_more_behind_all_others,
    a_prediction_of_a_marker,
    a_damaged_prediction,
    scores_of_another_runtime_that_are_far_off,
    a_feature_changed,
]


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda f: f.__name__)
def test_one_thing_wrong_is_found_and_named(twin: PipelineTopics, spoil: Callable[[Spoiler], Found]) -> None:
    due = spoil(Spoiler(twin))
    verified = verify(twin, TRUST)
    assert not verified.ok
    assert found(verified) == due
    assert verified.total("differences") == len(due)
    broken = {(v.topic, v.partition, v.offset) for v in audit(twin, replay=True).violations if v.rule == "replayed"}
    named = {(twin.topic("features" if o < 0 else "predictions"), p, f if o < 0 else o) for p, f, o, _ in due}
    assert broken == named


def test_predictions_of_another_runtime_are_held_to_a_tolerance(twin: PipelineTopics) -> None:
    spoiler = Spoiler(twin)
    p, o, row = spoiler.some("predictions", ANSWER)
    nearly = pl.Series("outputs", [[row["outputs"][0][0] + 1e-7]], dtype=pl.List(pl.Float32))
    spoiler.rewrite("predictions", p, o, row.with_columns(nearly, pl.lit("0" * 16).alias("runtime")))
    verified = verify(twin, TRUST)
    assert verified.ok
    assert verified.total("other_runtime") == 1
    assert verified.total("same") == rows_of(twin, "predictions").height - 1


def test_a_model_that_is_not_trusted_is_named_and_nothing_said_of_its_records(twin: PipelineTopics) -> None:
    verified = verify(twin, Trust())
    assert not verified.ok
    assert verified.total("unscored") == scored(twin).height
    assert {*verified.refused} == {m.policy.champion for p in range(3) for m in governance(twin).timeline.of(p)}
    assert all("it is not signed" in why for why in verified.refused.values())
    assert found(verified) == set()


def test_a_range_of_offsets_is_replayed_alone(twin: PipelineTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "_NEAR", 3)
    spoiler = Spoiler(twin)
    p, o, row = spoiler.some("predictions", ANSWER)
    spoiler.rewrite("predictions", p, o, row.with_columns(pl.col("marker_offset") + 1))
    at = int(row["offset"][0])
    for start, stop, due in ((at, at + 1, False), (0, at, True), (at + 1, at + 30, True)):
        verified = verify(twin, TRUST, Bounds({p: start}, {p: stop}))
        rows = scored(twin).filter(pl.col("p") == p, pl.col("o") >= start, pl.col("o") < stop)
        assert verified.total("records") == rows.height
        assert verified.ok is due
        assert {*verified.partitions} == {p}


def test_a_second_answer_beyond_a_range_is_found(twin: PipelineTopics) -> None:
    p, o, row = Spoiler(twin).some("predictions", ANSWER)
    at = int(row["offset"][0])
    Spoiler(twin).append("predictions", p, Spoiler(twin).value("predictions", p, o))
    for start, stop, due in ((0, at + 1, 1), (0, at, 0), (at + 1, at + 30, 0)):
        assert verify(twin, TRUST, Bounds({p: start}, {p: stop})).total("differences") == due


def test_a_range_of_time_is_replayed_alone(good: Platform) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    assert verify(good.topics, TRUST, Bounds(later)).total("records") == 0
    assert verify(good.topics, TRUST, Bounds(None, later)).total("records") == scored(good.topics).height


def test_bounds_that_cannot_be_are_one_clear_line(twin: PipelineTopics) -> None:
    name, end = twin.topic("features"), twin.log.bounds(twin.topic("features"))[0][1]
    for wrong, said in (
        (Bounds(None, {0: end + 1}), f"{name}[0] ends at offset {end}, before {end + 1}"),
        (Bounds({3: 0}), f"{name} has 3 partitions: there is no 3"),
        (Bounds({0: 9}, {0: 3}), f"{name}[0]: it cannot be replayed from 9 to before 3"),
    ):
        with pytest.raises(ConfigError) as caught:
            verify(twin, TRUST, wrong)
        assert str(caught.value) == said
    for text in ("yesterday", "0:", "0:1,0:2"):
        with pytest.raises(ConfigError, match=f"--from {text}: "):
            bounds(text, None)


def test_from_the_command_line(good: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*more: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", "verify", *more], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    monkeypatch.setenv("TOY_PIPELINE", good.topics.pipeline.name)
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", good.settings.bootstrap)
    monkeypatch.setenv("HEADRACE_REGISTRY_URL", good.settings.registry_url)
    monkeypatch.setenv("HEADRACE_STATE", str(good.settings.state))
    monkeypatch.setenv("HEADRACE_UNSIGNED_MODELS", "accept")
    name = "headrace.testing.pipelines:pipeline"
    code, out, err = run(name, "--json")
    assert code == 0, err
    said: dict[str, Any] = json.loads(out)
    assert (said["ok"], said["differences"], said["records"]) == (True, 0, scored(good.topics).height)
    assert said["runtime"]["fingerprint"] == runtime_fingerprint()
    code, out, _ = run(name)
    assert code == 0
    assert "every prediction was made again, and none differs" in out
    code, out, err = run(name, "--from", "9:1")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1:] == [f"headrace: {good.topics.topic('features')} has 3 partitions: there is no 9"]


def test_the_audit_has_it_as_a_row(good: Platform) -> None:
    report = audit(good.topics, recompute, TRUST, replay=True)
    assert report.violations == []
    assert report.lines["replayed", "infer"].checked == scored(good.topics).height

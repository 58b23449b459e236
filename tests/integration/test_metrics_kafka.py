"""What the monitor wrote is what the topics say, each version once, though it was killed in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from headrace.config import Settings
from headrace.kafka.log import read_all
from headrace.schema.records import Metric
from headrace.streams.monitor.tally import Numbers
from headrace.testing.pipelines import BEGIN, GROUPED_REFERENCE, clicks, grouped
from tests.integration.platform import Platform
from tests.waiting import wait_for

OVER = 3
"""Windows that are over, with all their labels, when event time has passed the fourth."""


def written(platform: Platform) -> list[Metric]:
    """Every figure on the topic, in the order of the log."""
    return [r for _, r in platform.topics.read_control("metrics") if isinstance(r, Metric)]


def hour_of(metric: Metric) -> int:
    return round((metric.window_start - BEGIN).total_seconds() / 3600)


def scored(platform: Platform) -> pl.DataFrame:
    """Each prediction with its window, its groups, and its label, null where none came."""
    features = platform.rows("features").select("p", pl.col("o").alias("offset"), "user", "half")
    outcomes = platform.rows("outcomes").select("p", pl.col("prediction_offset").alias("o"), "label")
    rows = platform.rows("predictions").join(features, on=["p", "offset"]).join(outcomes, on=["p", "o"], how="left")
    return rows.select(
        "model_id",
        "route",
        pl.col("outputs").list.first().cast(pl.Float64).alias("score"),
        "label",
        ((pl.col("event_time") - BEGIN).dt.total_seconds() // 3600).alias("hour"),
        pl.concat_list(pl.lit(""), pl.format("user={}", "user"), pl.format("half={}", "half")).alias("group"),
    ).explode("group")


def figures(rows: pl.DataFrame) -> dict[str, float]:
    """What must have been written of these records."""
    labelled = rows.filter(pl.col("label").is_not_null())
    label, score = labelled["label"].to_numpy(), labelled["score"].to_numpy()
    found = {
        "predictions": rows.height,
        "labels": labelled.height,
        "labels_missing": 1 - labelled.height / rows.height,
        "score_mean": float(rows["score"].to_numpy().mean()),
        "positive_rate": float((rows["score"] >= 0.5).to_numpy().mean()),
        "label_rate": float(label.mean()),
        "score_histogram": rows.height,
        "log_loss": log_loss(label, score, labels=[0, 1]),
        "brier": brier_score_loss(label, score, pos_label=1),
        "calibration_error": calibration_error(label, score),
    }
    if label.sum() > 0:
        found["true_positive_rate"] = float((score[label == 1] >= 0.5).mean())
    if label.sum() < len(label):
        found["false_positive_rate"] = float((score[label == 0] >= 0.5).mean())
    if 0 < label.sum() < len(label):
        found["auc"] = roc_auc_score(label, score)
    return found


def calibration_error(label: Numbers, score: Numbers) -> float:
    """The mean, over the records, of how far the share of 1 in a record's twentieth is from the mean score there."""
    bins = np.minimum((score * 20).astype(int), 19)
    return float(np.abs(np.bincount(bins, weights=label - score)).sum() / len(label))


def auc_bound(rows: pl.DataFrame) -> float:
    """How far an AUC of 1,000 bins may be off: half the share of pairs of a 0 and a 1 in one bin."""
    labelled = rows.filter(pl.col("label").is_not_null())
    bins = np.minimum((labelled["score"].to_numpy() * 1_000).astype(int), 999)
    zeros, ones = (np.bincount(bins[(labelled["label"] == v).to_numpy()], minlength=1_000) for v in (0, 1))
    return float(zeros @ ones / (2 * zeros.sum() * ones.sum()))


@pytest.mark.kafka
def test_figures_are_those_of_the_topics_and_each_version_is_there_once(
    settings: Settings, unique: Callable[[str], str], tmp_path: Path
) -> None:
    platform = Platform(unique("m"), settings, tmp_path, declared=grouped, reference=GROUPED_REFERENCE)
    with platform.running("preprocess-0", "join-0", "infer-0", "govern-0"):
        model = platform.activate(1)
        platform.wait_ruling(model)
        with platform.running("monitor-0") as workers:
            platform.push(clicks(0, 700))
            wait_for(lambda: {hour_of(m) for m in written(platform) if m.name == "auc"} >= {0}, 60, "the first window")
            workers["monitor-0"].kill()
        platform.push(clicks(700, 800))
        platform.wait_rows("outcomes", 1_500)
    with platform.running("monitor-0"):
        wait_for(lambda: {hour_of(m) for m in written(platform) if m.name == "auc"} >= {0, 1, 2, 3}, 60, "the fourth")
        wait_for(lambda: read_by_monitor(platform), 60, "all to be read")

    found = written(platform)
    keys = [(m.model_id, m.route, m.group, m.name, m.window_start, m.version) for m in found]
    assert len(set(keys)) == len(keys)
    latest = {
        (m.model_id, m.route, m.group, hour_of(m), m.name): m.value
        for m in sorted(found, key=lambda m: m.version)
        if hour_of(m) < OVER
    }
    over = scored(platform).filter(pl.col("hour") < OVER)
    windows = dict(over.group_by("model_id", "route", "group", "hour", maintain_order=True))
    expected = {(*key, name): value for key, rows in windows.items() for name, value in figures(rows).items()}
    assert {key for key in latest if not key[-1].startswith("event_time.")} == expected.keys()
    for key, value in expected.items():
        tolerance = auc_bound(windows[key[:-1]]) if key[-1] == "auc" else 1e-8
        assert latest[key] == pytest.approx(value, rel=1e-8, abs=tolerance), key


def read_by_monitor(platform: Platform) -> bool:
    """Whether the monitor has consumed all its inputs."""
    committed = platform.log.committed(f"{platform.topics.pipeline.name}.monitor")
    return all(
        committed.get(chunk.tp, 0) >= chunk.next_offset
        for name in ("features", "predictions", "outcomes")
        for chunk in read_all(platform.log, platform.topics.topic(name))
    )

"""The monitor in the exactly-once loop: versions of windows, late records, groups, starts after any end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.kafka.log import Chunk, read_all
from headrace.streams.monitor.figures import figures
from headrace.streams.monitor.processor import Monitor
from headrace.streams.monitor.tally import Tally
from headrace.testing.pipelines import BEGIN
from tests.unit.monitored import OTHER, Scene, Scored, latest

SCORES = {"predictions", "score_histogram", "score_mean", "positive_rate"}
BOTH_LABELS = {
    "labels",
    "labels_missing",
    "label_rate",
    "true_positive_rate",
    "false_positive_rate",
    "auc",
    "log_loss",
    "brier",
    "calibration_error",
}


@pytest.fixture
def scene() -> Scene:
    """One partition. Windows are of an hour, labels come within two, records are ten minutes late at most."""
    return Scene()


def minutes(start: int, stop: int, **more: Any) -> list[Scored]:
    """A record every ten minutes, labelled 0 and 1 in turn."""
    return [
        Scored(m, 0.25 + 0.5 * (m // 10 % 2), float(m // 10 % 2), m + 15)._replace(**more)
        for m in range(start, stop, 10)
    ]


FIRST_HOUR = int(BEGIN.timestamp()) // 3600


def versions(scene: Scene, hour: int, *, group: str = "", route: str = "champion") -> dict[int, set[str]]:
    """Version -> the names written in it."""
    rows = scene.metrics().filter(pl.col("hour") == hour, pl.col("group") == group, pl.col("route") == route)
    rows = rows.filter(pl.col("name") != "late")
    return {v: set(part["name"]) for (v,), part in rows.group_by("version")}


def test_a_window_is_written_when_every_partition_has_passed_its_end() -> None:
    scene = Scene(partitions=2)
    scene.score(minutes(0, 70) + minutes(0, 30, partition=1))
    scene.run()
    assert set(scene.metrics()["hour"]) == {-1}
    scene.score(minutes(30, 70, partition=1))
    scene.run()
    assert scene.figures("predictions") == [(0, 1, 12)]
    assert scene.figures("labels_missing") == [(0, 1, 1.0)]
    assert versions(scene, 0) == {1: SCORES | {"labels", "labels_missing"}}
    assert versions(scene, 0, route="") == {1: {"psi.price", "ks.price", *CLOCKS}}


CLOCKS = {"event_time.features", "event_time.predictions", "event_time.labels"}


def test_a_late_label_corrects_its_window_by_exactly_the_figures_it_changes(scene: Scene) -> None:
    scene.label(scene.score(minutes(0, 50)))
    last = scene.score(minutes(50, 60))
    scene.label(scene.score(minutes(60, 130)))
    scene.run()
    scene.label(last)
    scene.run()
    assert versions(scene, 0) == {1: SCORES | BOTH_LABELS}
    scene.label(scene.score(minutes(130, 190)))
    scene.run()
    # The label is a 1, so that the share of 0 taken for 1 stays what it was.
    assert versions(scene, 0) == {1: SCORES | BOTH_LABELS, 2: BOTH_LABELS - {"false_positive_rate"}}
    assert [f for f in scene.figures("labels_missing") if f[0] == 0] == [(0, 1, 1 / 6), (0, 2, 0.0)]
    assert versions(scene, 1) == {1: SCORES | BOTH_LABELS}


def test_what_comes_for_a_final_window_is_counted_as_late_and_changes_nothing(scene: Scene) -> None:
    scene.label(scene.score(minutes(0, 300)))
    scene.run()
    before = versions(scene, 0)
    scene.label([Scored(0, 0.25, 0.0, 15), Scored(10, 0.75, 1.0, 25)])
    scene.run()
    assert scene.figures("late") == [(0, 1, 2)]
    scene.kill()
    scene.predictions([Scored(20, 0.25), Scored(20, 0.25, model=OTHER, route="shadow")])
    scene.run()
    assert scene.figures("late") == [(0, 1, 2), (0, 2, 3)]
    assert scene.figures("late", route="shadow") == [(0, 1, 1)]
    scene.features([Scored(30, 0.25)])
    scene.run()
    assert scene.figures("late", route="") == [(0, 1, 1)]
    assert versions(scene, 0) == before


def test_windows_wait_for_labels_that_are_behind_and_not_where_none_come() -> None:
    behind, without = Scene(), Scene()
    scored = minutes(0, 600)
    for scene in (behind, without):
        scene.score(scored)
    behind.label(scored, outcomes=False)
    for scene in (behind, without):
        scene.run()
        scene.label(scored[:6])
        scene.run()
    assert behind.figures("late") == []
    assert without.figures("late") == [(0, 1, 6)]
    behind.label(scored[6:])
    behind.run()
    assert [f for f in behind.figures("labels_missing") if f[0] == 0] == [(0, 1, 1.0), (0, 2, 0.0)]


def test_groups_are_those_of_the_features_that_were_scored(scene: Scene) -> None:
    scene.label(scene.score([*minutes(0, 60, user="ann"), *minutes(5, 60, user="bob"), *minutes(60, 70, user="cy")]))
    scene.run()
    first = latest(scene.metrics()).filter(pl.col("hour") == 0, pl.col("route") == "champion")
    counts = first.filter(pl.col("name").is_in(["predictions", "labels"])).select("group", "name", "value")
    assert set(counts.rows()) == {
        (group, name, count)
        for group, count in (("", 12), ("user=ann", 6), ("user=bob", 6), ("half=first", 6), ("half=second", 6))
        for name in ("predictions", "labels")
    }


def test_predictions_and_outcomes_wait_for_the_features_they_name(scene: Scene) -> None:
    scene.label(scene.score(minutes(0, 60)))
    scene.score(minutes(60, 120))
    chunks = {n: list(read_all(scene.log, scene.topics.topic(n))) for n in ("features", "predictions", "outcomes")}
    features, predictions, outcomes = (Chunk.followed_by(*c) if len(c) == 2 else c[0] for c in chunks.values())
    monitor = Monitor(scene.topics)
    monitor.assigned([scene.topics.tp(n) for n in ("features", "predictions", "outcomes", "triggers")])
    assert [monitor.process(c).consumed for c in (predictions, outcomes)] == [0, 0]
    monitor.process(features.slice(0, 5))  # a marker and four rows
    assert [monitor.process(c).consumed for c in (predictions, outcomes)] == [4, 4]
    monitor.process(features.slice(5))
    assert [monitor.process(c.slice(4)).consumed for c in (predictions, outcomes)] == [8, 2]


def events(seed: int) -> list[Scored]:
    """Eight hours of two partitions, two models, three users, labels after up to two hours, some never."""
    random = np.random.default_rng(seed)
    found = []
    for i in range(240):
        minute, partition = 2 * i, int(random.integers(2))
        score = float(np.float32(random.random()))
        label = float(random.random() < score) if random.random() < 0.9 else None
        record = Scored(
            minute, score, label, minute + int(random.integers(1, 110)), f"u{random.integers(3)}", partition
        )
        found.append(record)
        if random.random() < 0.5:
            found.append(record._replace(model=OTHER, route="shadow", score=float(np.float32(1 - score))))
    return found


def recomputed(records: Sequence[Scored], hour: int, route: str, group: str) -> dict[str, tuple[float, int]]:
    """Figures of a window from its records alone."""
    inside = [
        r
        for r in records
        if r.minute // 60 == hour
        and r.route == route
        and (not group or group in (f"user={r.user}", f"half={'first' if r.minute % 60 < 30 else 'second'}"))
    ]
    tally = Tally()
    none = np.zeros((len(inside), 0), dtype=np.int32)
    tally.add_predictions(np.array([r.score for r in inside]), none)
    labelled = [r for r in inside if r.label is not None]
    if labelled:
        scores, labels = (np.array([getattr(r, n) for r in labelled], dtype=np.float64) for n in ("score", "label"))
        tally.add_outcomes(scores, labels, none[: len(labelled)])
    return {n: (f.value, f.records) for n, f in figures(tally.counts[0], tally.sums[0]).items()}


def spread(records: Sequence[Scored], seed: int) -> Iterator[list[Scored]]:
    """The records in log order, cut anywhere."""
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, len(records), 12)).tolist()
    for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True):
        yield list(records[start:stop])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_it_goes_on_with_the_versions_where_it_was(seed: int) -> None:
    records = events(seed)
    plain, killed = Scene(partitions=2), Scene(partitions=2)
    random = np.random.default_rng(seed)
    for scene in (plain, killed):
        labelled: list[Scored] = []
        for part in spread(records, seed):
            scene.features(r for r in part if r.route == "champion")
            scene.predictions(part)
            now = max((r.minute for r in part), default=0)
            labelled += [r for r in part if r.label is not None]
            due = sorted((r for r in labelled if r.labelled <= now), key=lambda r: r.labelled)
            scene.label(due)
            labelled = [r for r in labelled if r.labelled > now]
            if scene is killed:
                scene.run(turns=int(random.integers(1, 9)), batch=int(random.integers(1, 60)))
                scene.kill()
            else:
                scene.run()
        scene.label(sorted(labelled, key=lambda r: r.labelled))
        end = [Scored(m, 0.5, 1.0, m, "u0", p) for p in (0, 1) for m in (700, 1000)]
        scene.label(scene.score(end))
        scene.run()
    for scene in (plain, killed):
        metrics = scene.metrics().filter(pl.col("hour") < 8, ~pl.col("name").str.starts_with("event_time."))
        assert set(metrics["name"]) == SCORES | BOTH_LABELS | {"psi.price", "ks.price"}
        per_window = metrics.group_by("model_id", "route", "group", "hour").agg(pl.col("version").unique())
        assert all(sorted(v) == list(range(1, len(v) + 1)) for v in per_window["version"].to_list())
        found: dict[tuple[int, str, str], dict[str, tuple[float, int]]] = {}
        for row in latest(metrics).filter(pl.col("route") != "").iter_rows(named=True):
            key = (row["hour"], row["route"], row["group"])
            found.setdefault(key, {})[row["name"]] = (row["value"], row["count"])
        assert found == {key: recomputed(records, *key) for key in found}
        assert {(h, r) for h, r, _ in found} == {(h, r) for h in range(8) for r in ("champion", "shadow")}
    drift = [
        latest(s.metrics()).filter(pl.col("name").str.contains("psi|ks")).drop("o", "version") for s in (plain, killed)
    ]
    assert drift[0].equals(drift[1])


def test_a_partition_that_holds_markers_alone_holds_nothing_back_after_a_restart() -> None:
    scene = Scene(partitions=2)
    scene.score(minutes(0, 70))
    scene.run()
    scene.kill()
    scene.score(minutes(70, 130))
    scene.run()
    assert [h for h, _, _ in scene.figures("psi.price", route="")] == [0, 1]
    assert [h for h, _, _ in scene.figures("predictions")] == [0, 1]


def test_a_partition_first_filled_while_the_monitor_was_down_corrects_what_is_written() -> None:
    scene = Scene(partitions=2)
    scene.label(scene.score(minutes(0, 130)))
    scene.run()
    scene.kill()
    scene.score(minutes(0, 130, partition=1))
    scene.run()
    scene.score(minutes(130, 190) + minutes(130, 190, partition=1))
    scene.run()
    assert scene.figures("predictions") == [(0, 1, 6), (1, 1, 6), (0, 2, 12), (1, 2, 12), (2, 1, 12)]


def test_memory_holds_the_windows_that_are_not_final_and_no_others(scene: Scene) -> None:
    for start in range(0, 3_000, 600):
        scene.label(scene.score(minutes(start, start + 600)))
        scene.run()
    monitor = scene.monitor
    assert monitor is not None
    assert {w.number - FIRST_HOUR for w in monitor._scores.tallies} == {46, 47, 48, 49}
    assert len(monitor._grouped[0]) == 4 * 6
    assert {w.number - FIRST_HOUR for w in monitor._features.counts} == {48, 49}
    assert {
        k.number - FIRST_HOUR for v in (monitor._ledger._scores, monitor._ledger._features) for k in v._written
    } == {
        46,
        47,
        48,
    }

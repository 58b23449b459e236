"""The what-if report drawn up from rows, and production's past read from a log in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from typer.testing import CliRunner

from headrace.cli import app, times
from headrace.cli import whatif_screen as screen
from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError, ModelRejected
from headrace.jobs.whatif.buckets import buckets
from headrace.jobs.whatif.cautions import cautions
from headrace.jobs.whatif.curves import Point, calibration
from headrace.jobs.whatif.decisions import flips
from headrace.jobs.whatif.extremes import extremes, furthest
from headrace.jobs.whatif.figures import Comparison, compare
from headrace.jobs.whatif.page import page
from headrace.jobs.whatif.past import scored
from headrace.jobs.whatif.report import Asked, Gathering, Report, draw_up
from headrace.jobs.whatif.rows import ANSWERS, LABELS, TIME, by, rows, schema
from headrace.jobs.whatif.run import what_if
from headrace.jobs.whatif.slices import by_group, over_time
from headrace.kafka.log import Output
from headrace.kafka.memory import MemoryLog
from headrace.models.package.package import Package
from headrace.models.package.signing import Trust
from headrace.models.package.topic import publication
from headrace.models.score.session import ScoringModel
from headrace.query.audit.scope import Window
from headrace.schema.records import ModelManifest, OffsetRange
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN, toy

CANDIDATE = model_package(toy("whatif"), 1)
NASTY = '<script>alert("1")</script> $x^$ & [bold]'


def frame(
    label: Sequence[float | None],
    production: Sequence[float | None],
    candidate: Sequence[float | None],
    **more: Sequence[object],
) -> pl.DataFrame:
    """Rows of one group, ``g``; what is not given is the same in all."""
    n = len(label)
    columns: dict[str, Sequence[object]] = {
        "p": [0] * n,
        "o": list(range(n)),
        "id": [f"id{i}" for i in range(n)],
        "time": [BEGIN + timedelta(hours=i) for i in range(n)],
        "model": [None if p is None else "a" * 64 for p in production],
        "production": production,
        "candidate": candidate,
        "label": label,
        "seen": [False] * n,
        "known": [False] * n,
        by("g"): ["x"] * n,
        **more,
    }
    return pl.DataFrame(columns, schema=schema(("g",)))


def asked(manifest: ModelManifest = CANDIDATE.manifest, threshold: float = 0.5) -> Asked:
    return Asked("whatif", manifest, None, None, {0: (0, 100)}, threshold, True)


def drawn_up(*parts: pl.DataFrame, threshold: float = 0.5) -> Report:
    gathering = Gathering(("g",))
    for part in parts:
        gathering.add(part)
    return draw_up(asked(threshold=threshold), gathering.gathered(), ("g",))


def some(count: int, seed: int = 0) -> pl.DataFrame:
    """Rows of random labels and scores, in one group of five values."""
    random = np.random.default_rng(seed)
    y = (random.random(count) < 0.4).astype(float)
    p, c = (np.clip(0.3 * y + random.random(count) * 0.7, 0, 1) for _ in range(2))
    values = [f"v{i}" for i in random.integers(0, 5, count)]
    return frame(y.tolist(), p.tolist(), c.tolist(), **{by("g"): values})


def compared(judged: pl.DataFrame) -> Comparison:
    found = compare(judged)
    assert found is not None
    return found


def test_the_figures_of_both_models_are_those_of_sklearn() -> None:
    judged = some(500)
    found = compared(judged)
    y = judged["label"].to_numpy()
    for merit, name in ((found.production, "production"), (found.candidate, "candidate")):
        p = judged[name].to_numpy().astype(np.float64)
        assert merit.auc == pytest.approx(roc_auc_score(y, p))
        assert merit.log_loss == pytest.approx(log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)))
        assert merit.brier == pytest.approx(brier_score_loss(y, p))
    assert found.difference.log_loss == pytest.approx(found.candidate.log_loss - found.production.log_loss)
    assert found.rows == 500
    assert found.base_rate == pytest.approx(y.mean())


def test_the_margin_is_that_of_paired_differences() -> None:
    found = compared(frame([1, 1, 0], [0.5, 0.5, 0.5], [0.8, 0.6, 0.5]))
    apart = np.log([0.5 / 0.8, 0.5 / 0.6, 1.0])
    assert found.difference.log_loss == pytest.approx(apart.mean(), abs=1e-6)
    assert found.margin == pytest.approx(1.96 * apart.std(ddof=1) / np.sqrt(3), abs=1e-6)


def test_one_class_has_no_auc_and_all_else() -> None:
    found = compared(frame([1, 1], [0.5, 0.9], [0.6, 0.8]))
    assert (found.production.auc, found.candidate.auc, found.difference.auc) == (None, None, None)
    assert found.production.brier == pytest.approx((0.25 + 0.01) / 2, abs=1e-6)


def test_the_same_scores_make_no_difference() -> None:
    scores = some(200)["production"].to_list()
    report = drawn_up(frame([float(i % 2) for i in range(200)], scores, scores))
    assert report.headline is not None
    assert report.headline.production == report.headline.candidate
    assert (report.headline.verdict, report.headline.margin) == ("no clear difference", 0.0)
    assert (report.flips.flips, report.extremes.worst, report.extremes.best) == (0, (), ())


def test_flips_count_all_compared_rows_and_weigh_those_judged() -> None:
    label = [1, 0, 1, 0, None, 0, 1]
    production = [0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.5]
    candidate = [0.9, 0.8, 0.2, 0.3, 0.7, 0.9, 0.4]
    report = drawn_up(frame(label, production, candidate))
    f = report.flips
    assert (f.no_no, f.no_yes, f.yes_no, f.yes_yes) == (0, 3, 3, 1)
    assert (f.flips, f.rows, f.better, f.worse) == (6, 7, 2, 3)


def test_a_score_at_the_threshold_is_a_yes() -> None:
    rows_ = frame([1.0, 1.0], [0.25, 0.24], [0.24, 0.25])
    f = flips(rows_, rows_, 0.25)
    assert (f.no_no, f.no_yes, f.yes_no, f.yes_yes, f.better, f.worse) == (0, 1, 1, 0, 1, 1)


def test_the_furthest_rows_are_exact_however_the_log_was_cut() -> None:
    whole = some(300, seed=3)
    y = whole["label"].to_numpy()
    p, c = (np.clip(whole[m].to_numpy().astype(float), 1e-7, 1 - 1e-7) for m in ("production", "candidate"))
    excess = np.where(y == 1, np.log(p / c), np.log((1 - p) / (1 - c)))
    order = np.argsort(-excess, kind="stable")
    for parts in ((whole,), (whole[:100], whole[100:150], whole[150:])):
        found = drawn_up(*parts).extremes
        assert [r.at for r in found.worst] == [f"0:{i}" for i in order[:20]]
        assert [r.at for r in found.best] == [f"0:{i}" for i in order[::-1][:20]]
    worst = drawn_up(whole).extremes.worst[0]
    first = int(order[0])
    assert worst.id == f"id{first}"
    assert worst.excess == pytest.approx(excess[first], abs=1e-6)
    assert (worst.groups, worst.label) == ({"g": whole[by("g")][first]}, int(y[first]))


def test_no_more_than_there_are_and_no_equal_rows_are_furthest() -> None:
    found = extremes(furthest(frame([1, 1, 0, None], [0.5, 0.5, 0.5, 0.1], [0.4, 0.5, 0.4, 0.9])), ("g",))
    assert [r.at for r in found.worst] == ["0:0"]
    assert [r.at for r in found.best] == ["0:2"]


def test_rows_that_a_model_had_read_are_told_apart_exactly() -> None:
    whole = some(40).with_columns(
        seen=pl.Series([i < 10 for i in range(40)]), known=pl.Series([5 <= i < 15 for i in range(40)])
    )
    report = drawn_up(whole)
    o = report.overall
    counts = [c.rows if c else 0 for c in (o.fresh, o.seen, o.known, o.all)]
    assert (counts, report.basis) == ([25, 10, 5, 40], "fresh")
    assert report.headline == o.fresh == compare(whole[15:])
    assert all(int(r.at[2:]) >= 15 for r in (*report.extremes.worst, *report.extremes.best))
    assert sum(v.figures.rows for v in report.groups[0].values) == 25


def test_where_every_row_was_read_before_the_report_says_so() -> None:
    report = drawn_up(some(40).with_columns(seen=pl.lit(True)))
    assert (report.basis, report.overall.fresh) == ("all", None)
    assert cautions(report)[0].startswith("There are no labelled records that neither model had read")


def test_an_example_in_the_ranges_of_a_model_was_read_by_it() -> None:
    features = pl.DataFrame(
        {"o": [1, 2, 3, 4], "id": list("abcd"), "event_time": [BEGIN] * 4, "candidate": [0.5] * 4, "g": list("xxxx")},
        schema={"o": pl.Int64, "id": pl.String, "event_time": TIME, "candidate": pl.Float32, "g": pl.String},
    )
    answers = pl.DataFrame({"o": [1, 2, 3], "model": ["m", "m", "n"], "production": [0.1, 0.2, 0.3]}, schema=ANSWERS)
    labels = pl.DataFrame({"o": [4, 3, 2], "label": [1.0, 0.0, 1.0], "example": [7, 8, 9]}, schema=LABELS)
    ranges = {
        "c": [OffsetRange(partition=0, start=0, stop=8), OffsetRange(partition=1, start=0, stop=100)],
        "m": [OffsetRange(partition=0, start=8, stop=9)],
        "n": [OffsetRange(partition=0, start=8, stop=9)],
    }
    found = rows(0, features, answers, labels, "c", ranges, ("g",))
    assert found.schema == schema(("g",))
    told = found.select("o", pl.col("model").cast(pl.String), "label", "seen", "known").rows()
    assert told == [
        (1, "m", None, False, False),
        (2, "m", 1.0, False, False),
        (3, "n", 0.0, False, True),
        (4, None, 1.0, True, False),
    ]


def test_what_cannot_be_compared_is_counted_and_left_out() -> None:
    whole = frame(
        [1, 0, 1, 0, 2.0, 1],
        [0.5, None, 0.5, float("nan"), 0.5, 0.5],
        [0.5, 0.5, None, 0.5, 0.5, 0.4],
        model=["m", None, "m", "m", "m", "n"],
    )
    report = drawn_up(whole)
    c = report.counts
    assert (c.records, c.answered, c.unfit, c.compared) == (6, 5, 1, 3)
    assert (c.labelled, c.odd_labels, c.judged) == (5, 1, 2)
    assert [(m.model_id, m.records, m.share) for m in report.models] == [("m", 4, 0.8), ("n", 1, 0.2)]


def test_without_labels_there_is_a_report_and_it_says_so() -> None:
    report = drawn_up(frame([None, None], [0.2, 0.8], [0.6, 0.9]))
    assert (report.headline, report.over_time, report.flips.flips) == (None, None, 1)
    assert cautions(report)[0].startswith("No record in this range has a label yet")
    assert "No record in this range has a label yet" in page(report)
    assert json.loads(json.dumps(report.plain(), allow_nan=False))["overall"]["fresh"] is None


def test_with_nothing_to_compare_there_is_a_report() -> None:
    report = drawn_up(frame([1, 0], [0.2, 0.8], [None, None]))
    assert (report.counts.unfit, report.headline, report.shift) == (2, None, None)
    assert "<svg" in page(report)
    screen.show(report, Console(file=StringIO(), width=100))


@given(st.lists(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)), min_size=1, max_size=60))
def test_every_row_lies_in_exactly_one_bucket(moments: list[datetime]) -> None:
    times_ = pl.Series(moments, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    found = buckets(times_)
    places = found.places(times_)
    edges = pl.Series(found.edges, dtype=TIME)
    assert edges.is_sorted()
    assert edges.n_unique() == len(edges)
    assert 2 <= len(edges) <= 19
    for moment, place in zip(times_, places.tolist(), strict=True):
        assert found.edges[place] <= moment < found.edges[place + 1]


@pytest.mark.parametrize(
    ("span", "unit", "count"),
    [
        (timedelta(days=364), "month", 12),
        (timedelta(days=80), "week", 12),
        (timedelta(days=12), "day", 13),
        (timedelta(hours=10), "hour", 11),
        (timedelta(minutes=7), "span", 12),
        (timedelta(0), "moment", 1),
    ],
)
def test_buckets_are_of_the_calendar_where_that_fits(span: timedelta, unit: str, count: int) -> None:
    found = buckets(pl.Series([BEGIN, BEGIN + span], dtype=TIME))
    assert (found.unit, len(found.edges) - 1) == (unit, count)


def test_one_event_of_another_age_does_not_swallow_the_year() -> None:
    year = [BEGIN + timedelta(hours=i) for i in range(24 * 365)]
    found = buckets(pl.Series([datetime(1971, 1, 1, tzinfo=UTC), *year], dtype=TIME))
    assert (found.unit, len(found.edges) - 1) == ("month", 12)


def test_buckets_hold_all_judged_rows_and_how_many_were_read_before() -> None:
    judged = some(400).with_columns(seen=pl.Series([i < 100 for i in range(400)]))
    found = over_time(judged)
    assert found is not None
    assert (sum(b.rows for b in found.buckets), sum(b.seen for b in found.buckets)) == (400, 100)
    assert [b.figures.rows if b.figures else 0 for b in found.buckets] == [b.rows for b in found.buckets]


def test_a_group_shows_its_most_frequent_values_and_counts_the_others() -> None:
    values = [f"v{i:02}" for i in range(25) for _ in range(30 - i)]
    n = len(values)
    judged = frame([float(i % 2) for i in range(n)], [0.4] * n, [0.6] * n, **{by("g"): values})
    found = by_group(judged, "g")
    assert [(v.value, v.figures.rows) for v in found.values] == [(f"v{i:02}", 30 - i) for i in range(20)]
    assert (found.others, found.other_rows) == (5, sum(30 - i for i in range(20, 25)))
    assert found.values[3].figures == compare(judged.filter(pl.col(by("g")).cast(pl.String) == "v03"))


def test_calibration_points_are_means_of_rows_of_like_score() -> None:
    y = np.array([0.0, 1.0, 1.0, 1.0])
    assert calibration(y, np.array([0.2, 0.2, 0.8, 0.8])) == (Point(0.2, 0.5, 2), Point(0.8, 1.0, 2))


def test_the_page_escapes_what_strangers_wrote() -> None:
    whole = some(200).with_columns(id=pl.lit(NASTY), **{by("g"): pl.lit(NASTY).cast(pl.Categorical)})
    report = drawn_up(whole)
    nasty = replace(report, asked=replace(report.asked, pipeline=NASTY))
    text = page(nasty)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 40
    for outside in ("http://", "https://", "src=", "<link", "url(", "@import"):
        for place in (i for i in range(len(text)) if text.startswith(outside, i)):
            # Names of XML vocabularies, and clip paths and hatches of the plots themselves, are fetched from nowhere.
            around = text[place - 60 : place + 60]
            assert "xmlns" in around or "url(#" in around or "dtd" in around.lower() or "rdf" in around, around


def test_the_screen_keeps_to_a_hundred_columns_and_prints_strings_as_they_are() -> None:
    whole = some(200).with_columns(
        id=pl.lit("\x1b[31m" + NASTY + "x" * 200), **{by("g"): pl.lit(NASTY).cast(pl.Categorical)}
    )
    out = StringIO()
    screen.show(drawn_up(whole), Console(file=out, width=100))
    said = out.getvalue()
    assert max(map(len, said.splitlines())) <= 100
    assert "[bold]" in said
    assert "\x1b" not in said


def test_a_row_with_a_feature_that_is_no_number_has_no_score() -> None:
    model = ScoringModel(CANDIDATE)
    features = np.array([[0.1, 1], [np.nan, 1], [0.3, np.inf], [0.4, 2]], dtype=np.float32)
    found = scored(model, features)
    assert np.isfinite(found).tolist() == [True, False, False, True]
    assert np.array_equal(found[[0, 3]], model.score(features[[0, 3]])[:, 0])


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2024-02-01", "2024-01-01", "--from 2024-02-01 is not before --to 2024-01-01: swap them"),
        ("noon", None, "--from noon: give a time as in 2026-11-25T14:00:00Z"),
        (None, "1901-01-01", "--to 1901-01-01: no record came to a log before 1970; give a time as in 1970-01-01"),
    ],
)
def test_a_bad_time_is_one_line(since: str | None, until: str | None, said: str) -> None:
    with pytest.raises(ConfigError) as e:
        times.window(since, until)
    assert str(e.value) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "tomorrow"], "--from tomorrow: give a time as in 2026-11-25T14:00:00Z"),
        (["--html", "/nowhere/x.html"], "--html /nowhere/x.html: there is no folder /nowhere; make it"),
        (["--html", "/"], "--html /: that is a folder; name a file in it"),
    ],
)
def test_a_bad_command_is_refused_before_the_log_is_asked(options: list[str], said: str) -> None:
    done = CliRunner().invoke(
        app, ["whatif", "flights", "a", "--kafka", "nowhere:1", "--registry", "http://nowhere", *options]
    )
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_a_start_that_fits_two_models_is_one_line(memory: InMemory) -> None:
    for seed in (1, 2):
        memory.publish(model_package(memory.topics.pipeline, seed))
    with pytest.raises(ConfigError, match="'' fits 2 models: give more of the id"):
        what_if(memory.topics, "", TRUST)


class InMemory:
    """A pipeline of one partition in memory, its past written by hand."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.log = MemoryLog()
        self.topics = in_memory(pipeline, self.log)

    def write(self, *outputs: Output) -> None:
        writer = self.log.writer("test")
        writer.begin()
        for output in outputs:
            writer.write(output)
        writer.commit()
        writer.close()

    def put(self, name: str, rows_: list[dict[str, Any]]) -> None:
        """Append records to a topic."""
        frame_ = pl.DataFrame(rows_, schema=self.topics.columns(name))
        self.write(self.topics.rows(name, 0, frame_, [b"k"] * frame_.height))

    def past(self, prices: Sequence[float], scores: dict[int, float], labels: dict[int, float]) -> None:
        """Features, answers and labels by place; every features record counts as gone through."""
        own = [
            {"id": f"c{i}", "key": "k", "event_time": BEGIN + timedelta(minutes=i)} | {"raw_offset": i}
            for i in range(len(prices))
        ]
        values = [{"price": price, "seen_10m": i} for i, price in enumerate(prices)]
        self.put("features", [o | v for o, v in zip(own, values, strict=True)])
        told = {"partition": 0, "model_id": "m" * 64, "marker_offset": 0, "runtime": ""}
        answers = [
            {**own[i], **told, "offset": i, "route": route, "outputs": [score]}
            for i, s in scores.items()
            for route, score in (("champion", s), ("shadow", 0.99))
        ]
        self.put("predictions", [{k: v for k, v in a.items() if k != "raw_offset"} for a in answers])
        pairs = {"label_time": BEGIN, "label_offset": 0}
        self.put(
            "examples", [own[i] | values[i] | pairs | {"label": y, "feature_offset": i} for i, y in labels.items()]
        )
        self.log.commit(f"{self.topics.pipeline.name}.infer", {self.topics.tp("features"): len(prices)})

    def publish(self, package: Package) -> str:
        self.write(*publication(self.topics, package))
        return package.manifest.model_id


@pytest.fixture
def memory() -> InMemory:
    return InMemory(toy("whatif", partitions=1))


TRUST = Trust(unsigned=True)


@pytest.mark.slow
def test_the_past_on_the_log_becomes_the_report(memory: InMemory) -> None:
    lineage = CANDIDATE.manifest.lineage.model_copy(update={"ranges": [OffsetRange(partition=0, start=0, stop=1)]})
    package = Package(CANDIDATE.manifest.model_copy(update={"lineage": lineage}), CANDIDATE.onnx)
    model = memory.publish(package)
    prices = [0.1, float("nan"), 0.3, 0.9, 0.7]
    memory.past(prices, {0: 0.2, 2: 0.4, 3: 0.4, 4: 0.4}, {2: 0.0, 3: 1.0, 4: 1.0})
    report = what_if(memory.topics, model[:8], TRUST)
    c = report.counts
    assert (c.records, c.answered, c.unfit, c.compared, c.labelled, c.judged) == (5, 4, 1, 4, 3, 3)
    assert report.overall.seen is not None
    assert report.overall.fresh is not None
    assert (report.overall.seen.rows, report.overall.fresh.rows) == (1, 2)
    assert [(m.model_id, m.records) for m in report.models] == [("m" * 64, 4)]
    assert dict(report.asked.ranges) == {0: (0, 5)}
    scores = ScoringModel(package).score(np.array([[0.9, 3], [0.7, 4]], dtype=np.float32))[:, 0]
    expected = log_loss([1, 1], scores.astype(float), labels=[0, 1])
    assert report.overall.fresh.candidate.log_loss == pytest.approx(expected)


def test_a_question_that_cannot_be_answered_is_one_line_that_names_the_mend(memory: InMemory) -> None:
    other = Package(CANDIDATE.manifest.model_copy(update={"pipeline": "other"}), CANDIDATE.onnx)
    with pytest.raises(ConfigError, match="no published model starts with 'abc'; there are: none yet"):
        what_if(memory.topics, "abc", TRUST)
    model = memory.publish(other)
    with pytest.raises(ConfigError, match=r"infer has gone through no record of whatif.features in that range"):
        what_if(memory.topics, model, TRUST)
    memory.past([0.5], {0: 0.5}, {})
    with pytest.raises(ConfigError, match=r"infer has gone through no record of whatif.features in that range"):
        what_if(memory.topics, model, TRUST, Window(start=datetime(2099, 1, 1, tzinfo=UTC)))
    with pytest.raises(ModelRejected, match="it was made for pipeline 'other', not 'whatif'; `headrace models list"):
        what_if(memory.topics, model, TRUST)


def test_a_model_with_columns_that_the_pipeline_lacks_is_refused(memory: InMemory) -> None:
    features = ["price", "mood"]
    model = memory.publish(Package(CANDIDATE.manifest.model_copy(update={"features": features}), CANDIDATE.onnx))
    memory.past([0.5], {0: 0.5}, {})
    with pytest.raises(ModelRejected, match=r"its columns \(price, mood\) are not the pipeline's \(price, seen_10m\)"):
        what_if(memory.topics, model, TRUST)


@pytest.mark.slow
def test_a_past_without_answers_is_one_line(memory: InMemory) -> None:
    model = memory.publish(CANDIDATE)
    memory.past([0.5, 0.6], {}, {})
    with pytest.raises(ConfigError, match=r"none of the 2 records in that range has an answer on whatif.predictions"):
        what_if(memory.topics, model, TRUST)


def test_a_model_that_nobody_trusted_signed_is_refused(memory: InMemory) -> None:
    model = memory.publish(CANDIDATE)
    memory.past([0.5], {0: 0.5}, {})
    with pytest.raises(ModelRejected, match="it is not signed"):
        what_if(memory.topics, model, Trust())

"""Each panel's request, made of the real engine, gives what the log says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.config import Search
from headrace.consumers.forward.bulk import SearchRoute
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.kibana.aggs import Count, Latest, Mean
from headrace.consumers.forward.kibana.boards import boards, panels
from headrace.consumers.forward.kibana.panels import SHOWN, Chart, Panel, Rows, View
from headrace.consumers.forward.shape import shapes
from headrace.examples.flights.pipeline import flights
from headrace.topics.pipeline_topics import PipelineTopics
from tests.search_engines import ENGINES, engine_of
from tests.search_log import BEGIN, MODELS, SPAN, forward, frames_of, made

pytestmark = pytest.mark.search

Row = tuple[Any, ...]
VIEW = View(BEGIN + timedelta(days=6), BEGIN + SPAN - timedelta(days=5, hours=7), "1d")
BOARDS = boards(flights, shapes(flights, ""))
PANELS = {panel.name: panel for panel in panels(BOARDS)}
OF_A_MODEL = {panel.name for board in BOARDS if board.name == "model" for row in board.rows for panel in row}
TIMES = {"Prediction": "event_time", "Outcome": "event_time", "Metric": "window_end"}
TIME, DAY = pl.col("@time"), pl.col("@time").dt.truncate("1d")


@dataclass(frozen=True)
class Held:
    """What the log holds of what is looked at: record type -> its records."""

    records: dict[str, pl.DataFrame]

    def where(self, field: str, value: str) -> Held:
        """What is left once a value is chosen; records without the field go."""
        return Held(
            {
                name: frame.filter(pl.col(field) == value) if field in frame.columns else frame.clear()
                for name, frame in self.records.items()
            }
        )

    def table(self, columns: Sequence[str], *names: str) -> list[Row]:
        """The latest rows: time and these columns, those that a record has not, null."""
        parts = [
            self.records[n].select(
                TIME,
                "@topic",
                "@partition",
                "@offset",
                *((pl.col(c) if c in self.records[n].columns else pl.lit(None)).alias(f"shown.{c}") for c in columns),
            )
            for n in names
        ]
        rows = pl.concat(parts, how="vertical_relaxed").sort(
            TIME, "@topic", "@partition", "@offset", descending=[True, False, False, True]
        )
        return rows.head(SHOWN).select(TIME, *(f"shown.{c}" for c in columns)).rows()


@pytest.fixture(scope="module")
def topics() -> PipelineTopics:
    return made()


@pytest.fixture(scope="module")
def held(topics: PipelineTopics) -> Held:
    """What the log holds of the time range that is looked at."""
    records = {}
    for name in flights.forward.topics:
        for record, frame in frames_of(topics, name).items():
            time = pl.col(TIMES.get(record, "at")).dt.truncate("1ms").alias("@time")
            coordinates = pl.format("{}-{}-{}", "@topic", "@partition", "@offset").alias("@id")
            records[record] = frame.with_columns(time, coordinates).filter(TIME.is_between(VIEW.start, VIEW.stop))
    scored = frames_of(topics, "features")["features"].select(
        pl.col("@partition").alias("partition"), pl.col("@offset").alias("offset"), "carrier", "origin"
    )
    records["Prediction"] = records["Prediction"].join(
        scored, on=["partition", "offset"], how="left", maintain_order="left"
    )
    return Held(records)


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, topics: PipelineTopics
) -> Iterator[Engine]:
    """An engine that the log was forwarded to."""
    with engine_of(request.param, tmp_path_factory.mktemp("searching")) as url:
        engine = Engine(Search(url=url))
        forward(topics, SearchRoute(Engine(Search(url=url)), list(shapes(flights, "").values())))
        engine.client.indices.refresh(index="flights-*")
        yield engine
        engine.close()


def score() -> pl.Expr:
    """The one score of each record, null where it is no number."""
    return pl.col("outputs").list.first().cast(pl.Float64).fill_nan(None)


def counted(frame: pl.DataFrame, *keys: pl.Expr) -> list[Row]:
    return frame.group_by(*keys).agg(pl.len().alias("count")).drop_nulls().sort(pl.all()).rows()


def averaged(frame: pl.DataFrame, keys: Sequence[pl.Expr], *values: pl.Expr) -> list[Row]:
    names = [key.meta.output_name() for key in keys]
    return frame.group_by(*keys).agg(*(v.mean().alias(str(i)) for i, v in enumerate(values))).sort(names).rows()


def latest(frame: pl.DataFrame, keys: Sequence[str], *values: str) -> list[Row]:
    """The highest version of each window's figures."""
    keys = [*keys, "model_id", "route"]
    found = frame.group_by(keys).agg(pl.all().sort_by("version").last())
    return found.select(*keys, *values).sort(keys).rows()


def feature_figures(prefix: str) -> Callable[[Held], list[Row]]:
    def rows(held: Held) -> list[Row]:
        frame = held.records["Metric"].filter(pl.col("name").str.starts_with(f"{prefix}."), group="")
        return latest(frame, ["window_end", "name"], "value")

    return rows


def figure(name: str) -> Callable[[Held], list[Row]]:
    return lambda held: latest(held.records["Metric"].filter(name=name, group=""), ["window_end"], "value")


def of_groups(name: str) -> Callable[[Held], list[Row]]:
    def rows(held: Held) -> list[Row]:
        frame = held.records["Metric"].filter(pl.col("group") != "", name=name)
        return latest(frame, ["window_end", "group"], "value")

    return rows


def newest(frame: pl.DataFrame, windows: int, *keys: str) -> list[Row]:
    """Of the last windows, the last first."""
    ends = frame["window_end"].unique().sort(descending=True).head(windows)
    rows = latest(frame.filter(pl.col("window_end").is_in(ends.implode())), ["window_end", *keys], "value", "count")
    return sorted(rows, key=lambda row: -row[0].timestamp())


def by_group(name: str) -> Callable[[Held], list[Row]]:
    def rows(held: Held) -> list[Row]:
        frame = held.records["Prediction"].filter(pl.col(name).is_not_null())
        found = frame.group_by(name).agg(pl.len().alias("count"), score().mean().alias("mean"))
        return found.sort("count", name, descending=[True, False]).head(20).rows()

    return rows


def letters_by(name: str) -> Callable[[Held], list[Row]]:
    return lambda held: counted(held.records["DeadLetter"], DAY, pl.col(name))


def listed(panel: str, *names: str) -> Callable[[Held], list[Row]]:
    def rows(held: Held) -> list[Row]:
        found = PANELS[panel]
        assert isinstance(found, Rows)
        return held.table(found.columns, *names)

    return rows


DECIDED = ("GateResult", "Approval", "Rejection", "Activated", "RolledBack")
WIDE = 0.05
EXPECTED: dict[str, Callable[[Held], list[Row]]] = {
    "by-route": lambda held: counted(held.records["Prediction"], DAY, pl.col("route")),
    "by-model": lambda held: counted(held.records["Prediction"], DAY, pl.col("model_id")),
    "mean-score": lambda held: averaged(held.records["Prediction"], [DAY, pl.col("model_id")], score()),
    "scores": lambda held: counted(
        held.records["Prediction"], (score() / WIDE).floor().mul(WIDE).alias("step"), pl.col("model_id")
    ),
    "group-carrier": by_group("carrier"),
    "group-origin": by_group("origin"),
    "latest": listed("latest", "Prediction"),
    "calibration": lambda held: averaged(
        held.records["Outcome"], [DAY, pl.col("model_id"), pl.col("route")], score(), pl.col("label")
    ),
    "figures": lambda held: newest(held.records["Metric"].filter(group=""), 10, "name"),
    "psi": feature_figures("psi"),
    "ks": feature_figures("ks"),
    "auc": figure("auc"),
    "log-loss": figure("log_loss"),
    "brier": figure("brier"),
    "calibration-error": figure("calibration_error"),
    "label-rate": figure("label_rate"),
    "labels-missing": figure("labels_missing"),
    "positive-rate-by-group": of_groups("positive_rate"),
    "true-positive-rate-by-group": of_groups("true_positive_rate"),
    "false-positive-rate-by-group": of_groups("false_positive_rate"),
    "log-loss-by-group": of_groups("log_loss"),
    "groups": lambda held: newest(held.records["Metric"].filter(pl.col("group") != ""), 4, "name", "group"),
    "dead-by-stage": letters_by("stage"),
    "dead-by-code": letters_by("code"),
    "dead": listed("dead", "DeadLetter"),
    "retries": listed("retries", "DeadRetry"),
    "decisions-by-kind": lambda held: sorted(
        row for kind in DECIDED for row in counted(held.records[kind], DAY, pl.col("@record"))
    ),
    "decisions": listed("decisions", *DECIDED),
    "lookup": listed("lookup", "Prediction", "Outcome", "DeadLetter", "DeadRetry"),
}


def answered(engine: Engine, panel: Panel, *chosen: dict[str, Any]) -> list[Row]:
    """What the engine says to a panel's request, with what people chose besides."""
    request = panel.request(VIEW)
    request["query"]["bool"]["filter"] += chosen
    index = ",".join(f"flights-{topic}" for topic in panel.topics)
    found = engine.client.perform_request(
        "POST",
        f"/{index}/_search",
        headers={"accept": "application/json", "content-type": "application/json"},
        body=request,
    ).body
    assert found["_shards"]["failed"] == 0
    if isinstance(panel, Rows):
        return [tuple(hit["fields"].get(c, [None]) for c in ("@time", *panel.columns)) for hit in found["hits"]["hits"]]
    return list(buckets(panel, found["aggregations"], 0))


def buckets(chart: Chart, level: dict[str, Any], depth: int) -> Iterator[Row]:
    """Keys and figures of the innermost buckets, in the order they come in."""
    metric_ids, bucket_ids = chart.ids
    for bucket in level[bucket_ids[depth]]["buckets"]:
        if depth + 1 < len(bucket_ids):
            yield from ((bucket["key"], *rest) for rest in buckets(chart, bucket, depth + 1))
            continue
        figures = []
        for id_, metric in zip(metric_ids, chart.metrics, strict=True):
            match metric:
                case Count():
                    figures.append(bucket["doc_count"])
                case Mean():
                    figures.append(bucket[id_]["value"])
                case Latest():
                    figures.append(bucket[id_]["hits"]["hits"][0]["_source"][metric.field])
        yield (bucket["key"], *figures)


def plain(value: Any, *, row: bool) -> Any:
    """A value of the log as the engine says it: times of buckets are numbers, those of rows words."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z" if row else value.timestamp() * 1000
    if isinstance(value, list):  # of 32 bits each, which JSON has in as few digits as tell them apart
        return [plain(float(str(np.float32(v))), row=row) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def expected(panel: Panel, held: Held) -> list[Row]:
    rows = [tuple(plain(v, row=isinstance(panel, Rows)) for v in row) for row in EXPECTED[panel.name](held)]
    if isinstance(panel, Chart):
        return rows
    return [tuple(v if isinstance(v, list) else [v] for v in row) for row in rows]


def test_every_panel_has_an_expectation() -> None:
    assert set(PANELS) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(PANELS))
def test_a_panel_shows_what_the_log_says(engine: Engine, held: Held, name: str) -> None:
    panel = PANELS[name]
    wanted = expected(panel, held)
    assert len(wanted) > 2
    assert answered(engine, panel) == wanted


@pytest.mark.parametrize("name", sorted(OF_A_MODEL))
def test_a_panel_shows_the_model_that_was_chosen(engine: Engine, held: Held, name: str) -> None:
    panel = PANELS[name]
    wanted = expected(panel, held.where("model_id", MODELS[1]))
    assert len(wanted) > 2
    assert answered(engine, panel, {"match_phrase": {"model_id": MODELS[1]}}) == wanted


def test_one_id_is_looked_up_in_all_that_is_known_of_it(engine: Engine, held: Held) -> None:
    """Its predictions and outcomes by its id; and by their place, the dead letters."""
    panel = PANELS["lookup"]
    known = held.records["Outcome"].row(7, named=True)["id"]
    wanted = expected(panel, held.where("id", known))
    assert len(wanted) >= 2
    assert answered(engine, panel, {"match_phrase": {"id": known}}) == wanted
    letter = held.records["DeadLetter"].row(5, named=True)
    place = [{"match_phrase": {n: letter[n]}} for n in ("topic", "partition", "offset", "stage")]
    ((*_, id_),) = answered(engine, panel, *place)
    assert id_ == [letter["@id"]]

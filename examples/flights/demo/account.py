"""The account of every record: what went into each processor must have come out of it, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from headrace.kafka.log import read_all
from headrace.schema.records import DeadLetter
from headrace.topics.pipeline_topics import PipelineTopics

COLUMNS = {
    "raw": ("kind", "cancelled"),
    "features": ("raw_offset",),
    "labels": ("source_offset",),
    "examples": ("feature_offset", "label_offset"),
    "predictions": ("offset", "route"),
    "outcomes": ("event_time", "model_id", "route", "outputs", "label", "prediction_offset"),
}


@dataclass(frozen=True)
class Line:
    """One line of the account: what went in, what came out of it, and whether they agree."""

    what: str
    records_in: int
    outcomes: dict[str, int]
    ok: bool


@dataclass(frozen=True)
class Account:
    """Every line, the dead letters, and the tables they were counted from."""

    lines: list[Line]
    dead: list[DeadLetter]
    tables: dict[str, pl.DataFrame]

    @property
    def ok(self) -> bool:
        return all(line.ok for line in self.lines)


def draw_up(topics: PipelineTopics) -> Account:
    """Read every topic to its end and hold inputs against outcomes, by coordinates."""
    tables = {name: _table(topics, name) for name in COLUMNS}
    dead = [
        d
        for c in read_all(topics.log, topics.topic("dead"))
        for _, d in topics.control_records(c)
        if isinstance(d, DeadLetter)
    ]
    letters = pl.DataFrame(
        [(topics.short(d.topic), d.partition, d.offset, d.stage, d.code) for d in dead],
        schema={"topic": pl.String, "p": pl.Int64, "o": pl.Int64, "stage": pl.String, "code": pl.String},
        orient="row",
    )
    return Account(
        [_raw(tables, letters), _features(tables, letters), _labels(tables, letters), _scored(tables)], dead, tables
    )


def _raw(t: dict[str, pl.DataFrame], letters: pl.DataFrame) -> Line:
    """Each raw record: a features row, a label, history only (a flight that never arrived), or a dead letter."""
    refused = letters.filter((pl.col("topic") == "raw") & (pl.col("stage") == "preprocess")).select("p", "o")
    featured = t["features"].select("p", o="raw_offset")
    labelled = t["labels"].select("p", o="source_offset")
    silent = t["raw"].filter((pl.col("kind") == "landed") & pl.col("cancelled")).select("p", "o")
    silent = silent.join(refused, on=["p", "o"], how="anti")
    count = t["raw"].height
    parts = {
        "features": featured.height,
        "labels": labelled.height,
        "history only": silent.height,
        "dead letters": refused.height,
    }
    together = pl.concat([featured, labelled, silent, refused])
    return Line("raw", count, parts, _same(together, t["raw"]))


def _features(t: dict[str, pl.DataFrame], letters: pl.DataFrame) -> Line:
    """Each features row: one answer, or a dead letter."""
    refused = letters.filter((pl.col("topic") == "features") & (pl.col("stage") == "infer")).select("p", "o")
    answers = t["predictions"].filter(pl.col("route") != "shadow").select("p", o="offset")
    parts = {"answers": answers.height, "dead letters": refused.height}
    return Line("features", t["features"].height, parts, _same(pl.concat([answers, refused]), t["features"]))


def _labels(t: dict[str, pl.DataFrame], letters: pl.DataFrame) -> Line:
    """Each label: an example, or a dead letter (a repeat, or of a flight never scheduled)."""
    refused = letters.filter((pl.col("topic") == "labels") & (pl.col("stage") == "join")).select("p", "o")
    paired = t["examples"].select("p", o="label_offset")
    parts = {"examples": paired.height, "dead letters": refused.height}
    return Line("labels", t["labels"].height, parts, _same(pl.concat([paired, refused]), t["labels"]))


def _scored(t: dict[str, pl.DataFrame]) -> Line:
    """Each prediction: an outcome once its label is known, exactly when its features became an example."""
    labelled = t["examples"].select("p", offset="feature_offset")
    due = t["predictions"].join(labelled, on=["p", "offset"], how="semi").select("p", "o")
    outcomes = t["outcomes"].select("p", o="prediction_offset")
    waiting = t["predictions"].height - due.height
    parts = {"outcomes": outcomes.height, "no label": waiting}
    return Line("predictions", t["predictions"].height, parts, _same(outcomes, due))


def _same(found: pl.DataFrame, wanted: pl.DataFrame) -> bool:
    """Whether two tables name the same coordinates (p, o), each once."""
    mine = found.select(pl.col("p").cast(pl.Int64), pl.col("o").cast(pl.Int64)).sort("p", "o")
    return mine.equals(wanted.select(pl.col("p").cast(pl.Int64), pl.col("o").cast(pl.Int64)).sort("p", "o"))


def dead_by_code(dead: list[DeadLetter]) -> Counter[str]:
    """How many dead letters carry each code."""
    return Counter(d.code for d in dead)


def _table(topics: PipelineTopics, name: str) -> pl.DataFrame:
    """The wanted columns of a topic's records, with partition ``p`` and offset ``o``.

    Of raw, every record counts, the damaged ones too (their columns are null).
    """
    schema = topics.columns(name)
    frames = list(_frames(topics, name))
    if not frames:
        return pl.DataFrame(schema={c: schema[c] for c in COLUMNS[name]} | {"p": pl.Int64, "o": pl.Int64})
    return pl.concat(frames)


def _frames(topics: PipelineTopics, name: str) -> Iterator[pl.DataFrame]:
    for chunk in read_all(topics.log, topics.topic(name)):
        decoded = topics.codec(name).decode(chunk.values)
        offsets = chunk.offsets[decoded.places()]
        frame = decoded.frame(names=COLUMNS[name])
        if name == "raw" and decoded.reasons:
            broken = np.array(sorted(decoded.reasons))
            empty = pl.DataFrame({c: [None] * len(broken) for c in frame.columns}, schema=frame.schema)
            frame, offsets = pl.concat([frame, empty]), np.concatenate([offsets, chunk.offsets[broken]])
        yield frame.with_columns(
            pl.lit(chunk.tp.partition, dtype=pl.Int64).alias("p"), pl.Series("o", offsets, dtype=pl.Int64)
        )

"""Pushing files: every row is either on raw or reported with its line and kept as a dead letter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fastavro
import polars as pl
import pytest

from headrace.client.events import EventProducer
from headrace.errors import ConfigError, SchemaError
from headrace.kafka.log import read_all
from headrace.producers.files import BadRow, push_file
from headrace.schema.records import DeadLetter
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import RAW, clicks, toy
from headrace.topics.pipeline_topics import PipelineTopics

GOOD = clicks(0, 5)


@pytest.fixture
def topics() -> PipelineTopics:
    return in_memory(toy("files", partitions=2))


def pushed(topics: PipelineTopics) -> pl.DataFrame:
    """Every raw event, by time and kind."""
    codec = topics.codec("raw")
    frames = [codec.decode(c.values).frame() for c in read_all(topics.log, topics.topic("raw"))]
    return pl.concat(frames).sort("at", "kind")


def write(path: Path, rows: pl.DataFrame) -> Path:
    match path.suffix:
        case ".csv":
            rows.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S%z")).write_csv(path)
        case ".jsonl":
            rows.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(path)
        case ".parquet":
            rows.write_parquet(path)
        case ".avro":
            with path.open("wb") as file:
                fastavro.writer(file, RAW, rows.to_dicts())
    return path


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".avro"])
def test_every_kind_of_file_gives_the_same_events(topics: PipelineTopics, tmp_path: Path, ending: str) -> None:
    done = push_file(topics, write(tmp_path / f"clicks{ending}", GOOD))
    assert (done.sent, done.bad) == (10, 0)
    assert pushed(topics).equals(GOOD.sort("at", "kind"))


def test_a_row_that_does_not_fit_is_reported_with_its_line_and_kept(topics: PipelineTopics, tmp_path: Path) -> None:
    lines = write(tmp_path / "clicks.csv", GOOD).read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[4], "dear")
    lines[5] += ",surplus"
    path = tmp_path / "broken.csv"
    path.write_text("\n".join(lines))
    seen: list[BadRow] = []
    done = push_file(topics, path, report=seen.append)
    assert (done.sent, done.bad) == (8, 2)
    assert {(row.line, row.reason) for row in seen} == {
        (4, 'field price is "dear", not a double'),
        (6, "7 fields, the header names 6"),
    }
    letters = [r for c in read_all(topics.log, topics.topic("dead")) for _, r in topics.control_records(c)]
    assert {(d.code, d.topic, d.offset) for d in letters if isinstance(d, DeadLetter)} == {
        ("bad_row", "broken.csv", 4),
        ("bad_row", "broken.csv", 6),
    }


def test_lines_that_are_no_json_objects_are_bad_rows(topics: PipelineTopics, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    row = {"kind": "seen", "click_id": "c", "user": "u", "at": "2024-01-01T00:00:00Z", "price": 1.0}
    path.write_text("\n".join([json.dumps(row), "{", "[1]", "", json.dumps(row | {"price": "x"})]))
    seen: list[BadRow] = []
    assert push_file(topics, path, report=seen.append).sent == 1
    assert sorted(row.line for row in seen) == [2, 3, 5]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clicks.xls", "cannot read .xls; use .csv, .tsv, .jsonl, .ndjson, .parquet, .arrow"),
        ("none.csv", "no such file"),
        ("empty.csv", "the file is empty"),
        ("text.avro", "not an Avro file"),
        ("text.parquet", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_in_one_line(
    topics: PipelineTopics, tmp_path: Path, name: str, said: str
) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_text("just some text" if name.startswith("text") else "")
    with pytest.raises(ConfigError, match=said):
        push_file(topics, tmp_path / name)


def test_a_row_without_a_key_is_a_bad_row(tmp_path: Path) -> None:
    code = {"name": "code", "type": ["null", "long"], "default": None}
    keyed = in_memory(replace(toy("shop"), raw={**RAW, "fields": [*RAW["fields"], code]}, key="code"))
    head, time = "kind,click_id,user,at,price,code", "2024-01-01T00:00:00Z"
    lines = [f"seen,c{i},u,{time},{price},{key}" for i, (price, key) in enumerate([(1, 5), ("x", 6), (1, ""), (1, 7)])]
    (tmp_path / "clicks.csv").write_text("\n".join([head, *lines]))
    seen: list[BadRow] = []
    done = push_file(keyed, tmp_path / "clicks.csv", report=seen.append)
    assert (done.sent, done.bad) == (2, 2)
    assert [(row.line, row.reason) for row in seen] == [
        (3, 'field price is "x", not a double'),
        (4, "field code, the pipeline's key, is null"),
    ]
    assert pushed(keyed)["code"].to_list() == [5, 7]


def test_an_event_that_does_not_fit_is_refused_at_the_door(topics: PipelineTopics) -> None:
    producer = EventProducer(topics)
    with pytest.raises(SchemaError, match="field click_id is missing"):
        producer.send({"kind": "seen", "user": "u", "at": "2024-01-01T00:00:00Z", "price": 1.0})
    producer.send({"kind": "seen", "click_id": "c", "user": "u", "at": "2024-01-01T00:00:00Z", "price": 1})
    producer.flush()
    assert pushed(topics)["click_id"].to_list() == ["c"]

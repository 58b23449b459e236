"""Files -> raw: CSV, JSON lines, Parquet and Avro, in batches; rows that do not fit are reported, never dropped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import polars as pl

from headrace.client.events import EventProducer
from headrace.codec.coerce import coerce
from headrace.errors import ConfigError
from headrace.producers.pacing import Pace
from headrace.schema.records import DeadLetter, now
from headrace.topics.pipeline_topics import PipelineTopics

BATCH = 10_000


class BadRow(NamedTuple):
    """A row that could not be used: its line (CSV, JSON lines) or row number, from 1, why, and its text."""

    line: int
    reason: str
    text: bytes


class Batch(NamedTuple):
    """Rows of a file, not yet held to the schema; ``lines`` says where each stands, ``bad`` what could not be read."""

    rows: pl.DataFrame
    lines: list[int]
    bad: list[BadRow]


@dataclass
class Pushed:
    """What a push did."""

    sent: int = 0
    bad: int = 0


def read_file(path: Path) -> Iterator[Batch]:
    """Read a file in batches, by its ending: .csv, .jsonl or .ndjson, .parquet, .avro.

    Raises:
        ConfigError: no such file, or no such kind.
    """
    readers: dict[str, Callable[[Path], Iterator[Batch]]] = {
        ".csv": _csv,
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".parquet": _parquet,
        ".avro": _avro,
    }
    if path.suffix not in readers:
        raise ConfigError(f"{path}: cannot read {path.suffix or 'a file without an ending'}; use {', '.join(readers)}")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    return readers[path.suffix](path)


def push_file(
    topics: PipelineTopics,
    path: Path,
    *,
    pace: Pace | None = None,
    report: Callable[[BadRow], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Pushed:
    """Send every row of a file to the pipeline's raw topic, in order.

    Args:
        topics: the pipeline's topics.
        path: the file.
        pace: how fast; None: as fast as Kafka takes them.
        report: called with each row that cannot be used; it also becomes a dead letter.
        progress: called with the number of rows done, batch by batch.
    """
    producer = EventProducer(topics, "headrace-push")
    sender = topics.log.sender("headrace-push-dead")
    done = Pushed()
    for batch in read_file(path):
        rows, misfits = _keyed(*coerce(batch.rows, topics.pipeline.raw), topics.pipeline.key)
        bad = batch.bad + [BadRow(batch.lines[i], why, _text(batch.rows, i)) for i, why in misfits]
        for part in pace.parts(rows) if pace else (rows,):
            producer.send_rows(part)
        for row in bad:
            report(row)
        _dead(topics, path, bad, sender.send)
        done.sent += rows.height
        done.bad += len(bad)
        progress(rows.height + len(bad))
    producer.flush()
    sender.flush()
    return done


def _keyed(rows: pl.DataFrame, misfits: list[tuple[int, str]], key: str) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """What :func:`coerce` gave, with the rows whose key is null among the misfits."""
    null = rows[key].is_null()
    if not null.any():
        return rows, misfits
    unfit = {row for row, _ in misfits}
    places = [row for row in range(rows.height + len(misfits)) if row not in unfit]
    keyless = [(places[row], f"field {key}, the pipeline's key, is null") for row in null.arg_true().to_list()]
    return rows.filter(~null), sorted(misfits + keyless)


def _dead(topics: PipelineTopics, path: Path, bad: Sequence[BadRow], send: Callable[..., None]) -> None:
    letters = [
        DeadLetter(
            stage="push",
            code="bad_row",
            reason=row.reason,
            topic=path.name,
            partition=-1,
            offset=row.line,
            value=row.text,
            at=now(),
        )
        for row in bad
    ]
    codec = topics.codec("dead")
    send(topics.topic("dead"), [None] * len(letters), [codec.encode_control(letter) for letter in letters])


def _csv(path: Path) -> Iterator[Batch]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.reader(file)
        header = next(reader, None)
        if not header:
            raise ConfigError(f"{path}: the file is empty; its first line must name the columns")
        while True:
            rows: list[list[str]] = []
            lines: list[int] = []
            bad: list[BadRow] = []
            for row in islice(reader, BATCH):
                if len(row) == len(header):
                    rows.append(row)
                    lines.append(reader.line_num)
                elif row:
                    reason = f"{len(row)} fields, the header names {len(header)}"
                    bad.append(BadRow(reader.line_num, reason, ",".join(row).encode()))
            if not rows and not bad:
                return
            schema = dict.fromkeys(header, pl.String())
            yield Batch(pl.DataFrame(rows, schema=schema, orient="row"), lines, bad)


def _json_lines(path: Path) -> Iterator[Batch]:
    with path.open("rb") as file:
        numbered = enumerate(file, start=1)
        while batch := list(islice(numbered, BATCH)):
            rows: list[dict[str, Any]] = []
            lines: list[int] = []
            bad: list[BadRow] = []
            for line, text in batch:
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except ValueError as e:
                    bad.append(BadRow(line, f"not JSON: {e}", text))
                    continue
                if not isinstance(row, dict):
                    bad.append(BadRow(line, f"a {type(row).__name__}, not an object", text))
                    continue
                rows.append(row)
                lines.append(line)
            yield Batch(_frame(rows), lines, bad)


def _parquet(path: Path) -> Iterator[Batch]:
    scan = pl.scan_parquet(path)
    try:
        height = scan.select(pl.len()).collect().item()
    except pl.exceptions.PolarsError as e:
        raise ConfigError(f"{path}: not a Parquet file: {e}") from None
    for start in range(0, height, BATCH):
        rows = scan.slice(start, BATCH).collect()
        yield Batch(rows, list(range(start + 1, start + rows.height + 1)), [])


def _avro(path: Path) -> Iterator[Batch]:
    with path.open("rb") as file:
        try:
            reader = fastavro.reader(file)
        except ValueError as e:
            raise ConfigError(f"{path}: not an Avro file: {e}") from None
        done = 0
        while rows := list(islice(reader, BATCH)):
            yield Batch(_frame(rows), list(range(done + 1, done + len(rows) + 1)), [])  # type: ignore[arg-type]
            done += len(rows)


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Columns from objects that need not agree in fields or kinds: a column of mixed kinds becomes text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns.append(pl.Series(name, values, strict=True))
        except (TypeError, pl.exceptions.PolarsError):
            columns.append(pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String))
    return pl.DataFrame(columns)


def _text(rows: pl.DataFrame, place: int) -> bytes:
    out = io.StringIO()
    json.dump(rows.row(place, named=True), out, default=str)
    return out.getvalue().encode()

"""Records of one partition as documents: whole columns at a time, down to the lines of JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl

from headrace.codec.topic import Decoded
from headrace.consumers.forward.route import Documents
from headrace.consumers.forward.shape import Shape
from headrace.consumers.forward.templates import FEATURES, TIMES
from headrace.declare.pipeline import Pipeline
from headrace.kafka.log import Chunk
from headrace.schema.own import full_name

Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Features = Callable[[Places], pl.Series]
"""From offsets of features records to what they hold, a struct each, null where there is no such record."""
ISO = "%Y-%m-%dT%H:%M:%S%.6fZ"
PERIODS = {"day": "%Y-%m-%d", "month": "%Y-%m", "all": "all"}
TIMELESS = "all"
"""Period of documents that have no time."""
YEARS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""Years 1 to 9999, in microseconds since 1970: what a calendar's date can say."""


def document_id(topic: str, partition: int, offset: int) -> str:
    """Id of a record's document, e.g. ``flights.predictions-0-17``."""
    return f"{topic}-{partition}-{offset}"


@dataclass(frozen=True)
class Documenter:
    """Makes the documents of one topic of a pipeline."""

    pipeline: Pipeline
    shape: Shape

    def documents(self, chunk: Chunk, decoded: Decoded, features: Features | None = None) -> Documents:
        """The documents of the records of ``chunk`` that could be decoded, in log order."""
        kinds = [k for k in range(len(self.shape.topic.records)) if len(decoded.places(k))]
        parts = [self._part(chunk, decoded, kind, features) for kind in kinds]
        places = np.concatenate([np.zeros(0, dtype=np.int64), *(decoded.places(k) for k in kinds)])
        order = np.argsort(places, kind="stable").tolist()
        topic, partition = chunk.tp
        bodies = [body for found, _ in parts for body in found]
        times = np.concatenate([np.zeros(0, dtype=np.int64), *(found for _, found in parts)])
        targets = self._targets(times)
        return Documents(
            kind=self.shape.topic.name,
            tag=f"headrace.{self.pipeline.name}.{self.shape.topic.name}",
            ids=[document_id(topic, partition, offset) for offset in chunk.offsets[places[order]].tolist()],
            targets=[targets[i] for i in order],
            times=np.where(times == _NEVER, 0, times)[order],
            bodies=[bodies[i] for i in order],
        )

    def _part(self, chunk: Chunk, decoded: Decoded, kind: int, features: Features | None) -> tuple[list[bytes], Places]:
        """Bodies and times of the records of one type."""
        record = self.shape.topic.records[kind]
        frame = decoded.frame(kind)
        times = frame[TIMES.get(record, "at")].cast(pl.Datetime("us", "UTC"))
        if features is not None:
            frame = frame.with_columns(features(frame["offset"].to_numpy()).alias(FEATURES))
        frame = self.shape.privacy.kept(frame)
        odd = _not_finite(frame)
        frame = _plain(frame)
        offsets = chunk.offsets[decoded.places(kind)]
        topic, partition = chunk.tp
        frame = frame.with_columns(
            pl.format("{}-{}-{}", pl.lit(topic), pl.lit(partition), pl.Series(offsets)).alias("@id"),
            pl.lit(topic).alias("@topic"),
            pl.lit(partition).alias("@partition"),
            pl.Series("@offset", offsets),
            pl.lit(full_name(self.shape.topic.schemas(self.pipeline)[kind])).alias("@record"),
            _iso(pl.lit(times)).alias("@time"),
            *([odd] if odd is not None else []),
        )
        out = BytesIO()
        frame.write_ndjson(out)
        return out.getvalue().split(b"\n")[:-1], times.to_physical().fill_null(_NEVER).to_numpy()

    def _targets(self, times: Places) -> list[str]:
        """The index of each document: that of its period of event time."""
        inside = pl.Series((times >= YEARS[0]) & (times <= YEARS[1]))
        known = pl.Series(times).clip(*YEARS).cast(pl.Datetime("us", "UTC"))
        named = known.dt.to_string(PERIODS[self.pipeline.forward.period]).set(~inside, TIMELESS)
        return [f"{self.shape.alias}.{period}" for period in named.to_list()]


_NEVER = -(2**63)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of types that JSON has, written as the engine reads them."""
    return frame.select(_json(pl.col(name), dtype) for name, dtype in frame.schema.items())


def _json(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Binary():
            return value.bin.encode("base64")
        case pl.Datetime():
            return _iso(value)
        case pl.List(inner=pl.DataType() as inner):
            return value.list.eval(_json(pl.element(), inner))
        case pl.Struct(fields=fields):
            return value.struct.with_fields(_json(pl.field(f.name), _made(f.dtype)) for f in fields)
    return value


def _iso(time: pl.Expr) -> pl.Expr:
    """A time in words; one that no calendar has in words that the engine refuses, for it must not stop the others."""
    micros = time.dt.cast_time_unit("us").to_physical()
    text = micros.clip(*YEARS).cast(pl.Datetime("us", "UTC")).dt.to_string(ISO)
    return pl.when(micros.is_between(*YEARS)).then(text).otherwise(pl.format("{} microseconds from 1970", micros))


def _not_finite(frame: pl.DataFrame) -> pl.Series | None:
    """The names of each row's numbers that are none to JSON; None where there are no such rows."""
    odd = [pl.when(flag).then(pl.lit(name)) for name, flag in _flags(frame)]
    if not odd:
        return None
    named = frame.select(pl.concat_list(odd).list.drop_nulls().alias("names"))["names"]
    return named.set(named.list.len() == 0, None).alias("@not_finite")


def _flags(frame: pl.DataFrame) -> list[tuple[str, pl.Series]]:
    """Path of each column that has such numbers, and in which rows."""
    found = []
    for column in frame:
        structs = column.struct.fields if isinstance(column.dtype, pl.Struct) else []
        for name, values in [(f"{column.name}.{f}", column.struct.field(f)) for f in structs] or [
            (column.name, column)
        ]:
            if values.dtype.is_float():
                flag = values.is_infinite() | values.is_nan()
            elif isinstance(values.dtype, pl.List) and _made(values.dtype.inner).is_float():
                flag = values.list.eval(pl.element().is_infinite() | pl.element().is_nan()).list.any()
            else:
                continue
            flag = flag.fill_null(False)
            if flag.any():
                found.append((name, flag))
    return found


def _made(dtype: Any) -> pl.DataType:
    """The types within a type are said to be classes too."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()

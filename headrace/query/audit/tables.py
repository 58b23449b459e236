"""One partition of each topic as a table of coordinates: what the rules are asked of.

Columns, one row a record: ``o`` its offset, ``bytes`` a hash of its value, ``identity`` a hash of what the record is
about (0: it cannot be decoded), ``time`` its event time in microseconds (NEVER: it cannot be decoded), and the offsets
of the records it was made from (-1: it cannot be decoded).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from headrace.codec.arrow import binary
from headrace.codec.topic import Decoded
from headrace.kafka.log import Chunk
from headrace.topics.pipeline_topics import LONGEST_KEPT, PipelineTopics

RECORD, MARKER, RETRY = 0, 1, 1
NEVER = np.iinfo(np.int64).min
_OWN = ("id", "key", "event_time")
_LABEL = ("id", "label", "label_time")
_INPUT: dict[str, pl.DataType] = {"o": pl.Int64(), "bytes": pl.UInt64(), "identity": pl.UInt64(), "time": pl.Int64()}
_PAIR: dict[str, pl.DataType] = {
    "o": pl.Int64(),
    "identity": pl.UInt64(),
    "label_identity": pl.UInt64(),
    "labels": pl.Int64(),
}
TOPICS = ("raw", "features", "labels", "predictions", "examples", "outcomes", "dead")
"""Topics that are read partition by partition."""
SCHEMAS = {
    "raw": pl.Schema(_INPUT),
    "features": pl.Schema({**_INPUT, "kind": pl.Int8(), "raw": pl.Int64()}),
    "labels": pl.Schema({**_INPUT, "raw": pl.Int64()}),
    "predictions": pl.Schema({**_INPUT, "features": pl.Int64(), "shadow": pl.Boolean(), "model": pl.Categorical()}),
    "examples": pl.Schema({**_PAIR, "features": pl.Int64()}),
    "outcomes": pl.Schema({**_PAIR, "predictions": pl.Int64()}),
    "retries": pl.Schema({"topic": pl.Categorical(), "partition": pl.Int32(), "offset": pl.Int64()}),
    "dead": pl.Schema(
        {
            "o": pl.Int64(),
            "bytes": pl.UInt64(),
            "topic": pl.Categorical(),
            "stage": pl.Categorical(),
            "partition": pl.Int32(),
            "input": pl.Int64(),
        }
    ),
}


@dataclass(frozen=True)
class Read:
    """A chunk of a topic and the same, decoded."""

    chunk: Chunk
    decoded: Decoded

    def __len__(self) -> int:
        return len(self.chunk)


def tabulate(topics: PipelineTopics, name: str, reads: Iterable[Read]) -> pl.DataFrame:
    """The coordinates of a topic's records. Records that cannot be decoded are there only where they are inputs."""
    make = _MAKE[name]
    frames = [make(topics, read) for read in reads]
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMAS[name])


def decoded(topics: PipelineTopics, name: str, chunks: Iterable[Chunk]) -> Iterator[Read]:
    """Chunks of a topic with what they hold."""
    for chunk in chunks:
        yield Read(chunk, topics.codec(name).decode(chunk.values))


def _raw(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    p = topics.pipeline
    frame = read.decoded.frame(names=list(dict.fromkeys((p.id, p.key, p.event_time))))
    time = pl.col(p.event_time).cast(pl.Datetime("us", "UTC"))
    own = frame.select(
        pl.col(p.id).cast(pl.String).alias("id"), pl.col(p.key).cast(pl.String).alias("key"), time.alias("event_time")
    )
    return _inputs("raw", read, own, {"time": _times(read, own["event_time"])})


def _features(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    frame = read.decoded.frame(names=[*_OWN, "raw_offset"])
    more = {"kind": read.decoded.kinds, "raw": _spread(read, frame["raw_offset"].to_numpy(), -1)}
    more["time"] = _times(read, frame["event_time"])
    return _inputs("features", read, frame.select(_OWN), more)


def _labels(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    frame = read.decoded.frame(names=[*_LABEL, "source", "source_offset"])
    from_raw = frame.select(pl.when(pl.col("source") == "raw").then("source_offset").otherwise(-1))["source_offset"]
    more = {
        "raw": _spread(read, from_raw.fill_null(-1).to_numpy(), -1),
        "time": _times(read, frame["label_time"]),
    }
    return _inputs("labels", read, frame.select(_LABEL), more)


def _predictions(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    frame = read.decoded.frame(names=[*_OWN, "offset", "route", "model_id"])
    count = len(read)
    model = pl.repeat("", count, eager=True).scatter(read.decoded.places(), frame["model_id"])
    more = {
        "features": _spread(read, frame["offset"].to_numpy(), -1),
        "shadow": _spread(read, (frame["route"] == "shadow").to_numpy(), False),
        "model": model,
        "time": _times(read, frame["event_time"]),
    }
    return _inputs("predictions", read, frame.select(_OWN), more)


def _examples(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    return _pairs("examples", "features", "feature_offset", read)


def _outcomes(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    return _pairs("outcomes", "predictions", "prediction_offset", read)


def _dead(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    names = ["stage", "topic", "partition", "offset", "value"]
    frame = read.decoded.frame(names=names)
    made = pl.DataFrame(
        {
            "o": read.chunk.offsets[read.decoded.places()],
            "bytes": frame["value"].hash(),
            "topic": frame["topic"].str.strip_prefix(f"{topics.pipeline.name}."),
            "stage": frame["stage"],
            "partition": frame["partition"],
            "input": frame["offset"],
        }
    )
    return made.cast(SCHEMAS["dead"])


def _retries(topics: PipelineTopics, read: Read) -> pl.DataFrame:
    frame = read.decoded.frame(RETRY, ["topic", "partition", "offset"])
    return frame.with_columns(pl.col("topic").str.strip_prefix(f"{topics.pipeline.name}.")).cast(SCHEMAS["retries"])


_MAKE: dict[str, Callable[[PipelineTopics, Read], pl.DataFrame]] = {
    "raw": _raw,
    "features": _features,
    "labels": _labels,
    "predictions": _predictions,
    "examples": _examples,
    "outcomes": _outcomes,
    "dead": _dead,
    "retries": _retries,
}


def _inputs(name: str, read: Read, own: pl.DataFrame, more: Mapping[str, object]) -> pl.DataFrame:
    """Every record of a chunk, the damaged ones too."""
    value = binary(read.chunk.values)
    columns = {
        "o": read.chunk.offsets,
        # A dead letter keeps so much of its record.
        "bytes": value.bin.slice(0, LONGEST_KEPT).hash(),
        "identity": _spread(read, own.hash_rows().to_numpy(), 0),
        **more,
    }
    return pl.DataFrame(columns).select(list(SCHEMAS[name])).cast(SCHEMAS[name])


def _pairs(name: str, left: str, left_offset: str, read: Read) -> pl.DataFrame:
    frame = read.decoded.frame(names=[*_OWN, "label", "label_time", left_offset, "label_offset"])
    columns = {
        "o": read.chunk.offsets[read.decoded.places()],
        "identity": frame.select(_OWN).hash_rows(),
        "label_identity": frame.select(_LABEL).hash_rows(),
        left: frame[left_offset],
        "labels": frame["label_offset"],
    }
    return pl.DataFrame(columns).select(list(SCHEMAS[name])).cast(SCHEMAS[name])


def _times(read: Read, times: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    return _spread(read, times.to_physical().fill_null(NEVER).to_numpy(), NEVER)


def _spread(
    read: Read, values: np.ndarray[tuple[int], np.dtype[np.generic]], otherwise: object
) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    """Values of the records that could be decoded, each at its place in the chunk."""
    out = np.full(len(read), otherwise, dtype=values.dtype)
    out[read.decoded.places()] = values
    return out

"""Predictions made again against those that stand: byte for byte, and where bytes differ, what differs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from headrace.codec.column import BytesColumn
from headrace.codec.topic import TopicCodec
from headrace.codec.wire import Code
from headrace.kafka.log import Chunk, TopicPartition

TOLERANCE = 1e-5
"""How far apart scores may be that were made under another runtime."""
_KEY = ["offset", "part"]
_NONE = Chunk.of(TopicPartition("", 0), [], [], [])


class Difference(NamedTuple):
    """Where replay and log disagree.

    Attributes:
        features: offset of the features record; -1 where it cannot be told.
        predictions: offset of the prediction; -1 where there is none.
        what: in words.
    """

    features: int
    predictions: int
    what: str


class Compared(NamedTuple):
    """What came of a stretch.

    Attributes:
        same: predictions that are the same, bit for bit.
        other_runtime: predictions made under another runtime, whose scores are within the tolerance.
        differences: the others.
    """

    same: int
    other_runtime: int
    differences: list[Difference]


def compare(codec: TopicCodec, keys: BytesColumn, values: BytesColumn, there: Chunk | None, start: int = 0) -> Compared:
    """Compare the predictions that a stretch must have given, ``keys`` and ``values``, with those on the log.

    Predictions of features before offset ``start`` were due in an earlier stretch: here they come too late.
    """
    if there is None:
        there = _NONE
    if same_bytes(values, there.values) and same_bytes(keys, there.keys):
        return Compared(len(there), 0, [])
    return _apart(codec, keys, values, there, start)


def same_bytes(one: BytesColumn, other: BytesColumn) -> bool:
    """Whether two columns hold the same strings, none of them null."""
    if len(one) != len(other):
        return False
    if len(one) == 0:
        return True
    if one.valid is not None or other.valid is not None:
        return one == other
    if not np.array_equal(np.diff(one.offsets), np.diff(other.offsets)):
        return False
    return np.array_equal(
        one.data[one.offsets[0] : one.offsets[-1]],
        other.data[other.offsets[0] : other.offsets[-1]],
    )


def _apart(codec: TopicCodec, keys: BytesColumn, values: BytesColumn, there: Chunk, start: int) -> Compared:
    """Find what differs, record by record."""
    decoded = codec.decode(there.values)
    offsets = there.offsets[decoded.places()]
    found = [
        Difference(-1, int(there.offsets[place]), f"it cannot be decoded: {Code(decoded.codes[place]).label}: {why}")
        for place, why in sorted(decoded.reasons.items())
    ]
    standing = _table(decoded.frame(), there.keys[decoded.places()]).with_columns(
        pl.Series("at", offsets, dtype=pl.Int64)
    )
    repeated = standing.filter(pl.struct(_KEY).is_first_distinct().not_())
    found += [
        Difference(o, at, "the record is answered twice, or scored twice by this shadow")
        for o, at in repeated.select("offset", "at").iter_rows()
    ]
    standing = standing.filter(pl.struct(_KEY).is_first_distinct())
    wanted = _table(codec.decode(values).frame(), keys)
    both = wanted.join(standing, on=_KEY, how="full", suffix="_there", coalesce=True).sort("offset", "at")
    same = other = 0
    for row in both.iter_rows(named=True):
        what = _unlike(row, start)
        if what is None:
            same += 1
        elif what == "":
            other += 1
        else:
            found.append(Difference(row["offset"], -1 if row["at"] is None else row["at"], what))
    return Compared(same, other, sorted(found))


def _table(frame: pl.DataFrame, keys: BytesColumn) -> pl.DataFrame:
    """Predictions, and the ``part`` each plays for its record: the answer, or the shadow of a model."""
    shadow = pl.col("route") == "shadow"
    return frame.with_columns(
        pl.when(shadow).then("model_id").otherwise(pl.lit("")).alias("part"),
        pl.col("route").cast(pl.String),
        pl.Series("kafka_key", list(keys), dtype=pl.Binary),
    )


def _unlike(row: dict[str, Any], start: int) -> str | None:
    """What differs between a prediction and its repetition: None where nothing does, nothing in words where it is
    within the tolerance of another runtime."""
    if row["at"] is None:
        return "there is no prediction of it" + (f" by shadow {row['part'][:12]}" if row["part"] else "")
    if row["id"] is None and row["offset"] < start:
        by = row["model_id_there"][:12]
        return f"the record has one more prediction, after those of later records (by {by}): answered twice, or late"
    if row["id"] is None:
        return f"there must be no prediction of this record (by {row['model_id_there'][:12]})"
    for name, said in _SAID.items():
        if row[name] != row[f"{name}_there"]:
            mine, theirs = (_short(row[n]) for n in (name, f"{name}_there"))
            return f"{said} is {theirs}, and must be {mine}"
    if _bits(row["outputs"]) == _bits(row["outputs_there"]):
        return None if row["runtime"] == row["runtime_there"] else ""
    mine, theirs = row["outputs"], row["outputs_there"]
    if row["runtime"] == row["runtime_there"]:
        return f"its outputs are {_floats(theirs)}, and the model gives {_floats(mine)}"
    near = len(mine) == len(theirs) and bool(np.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    if near:
        return ""
    return (
        f"its outputs are {_floats(theirs)} under runtime {row['runtime_there']}, and the model gives {_floats(mine)} "
        f"here, further away than {TOLERANCE:g}"
    )


def _bits(outputs: list[float]) -> bytes:
    return np.array(outputs, dtype=np.float32).tobytes()


def _floats(outputs: list[float]) -> str:
    return ", ".join(float(np.float32(x)).hex() for x in outputs)


def _short(value: object) -> str:
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text[:16]


_SAID = {
    "model_id": "its model",
    "marker_offset": "its marker",
    "route": "its route",
    "id": "its id",
    "key": "its key",
    "kafka_key": "its Kafka key",
    "event_time": "its event time",
    "partition": "its partition",
}

"""Damaged events that the demo slips in, and the code under which each must come out in ``dead``."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from headrace.codec.topic import TopicCodec
from headrace.codec.wire import header
from headrace.topics.pipeline_topics import PipelineTopics

UNKNOWN_SCHEMA = 999_999


class Damaged(NamedTuple):
    """A record for the raw topic and the code of the dead letter it must become."""

    key: bytes | None
    value: bytes | None
    code: str


BAD_ROWS = """\
kind,flight_id,at,origin,dest,carrier,flight,departs,local_minute,local_weekday,distance,duration,cancelled
scheduled,X1,2013-01-15T10:00:00,JFK,LAX,B6,one,2013-01-15T12:00:00,720,2,2475,380,false
scheduled,X2,yesterday,JFK,LAX,B6,1,2013-01-15T12:00:00,720,2,2475,380,false
scheduled,X3,2013-01-15T10:00:00,JFK,LAX,B6,1,2013-01-15T12:00:00,720,2,2475
scheduled,X4,2013-01-15T10:00:00,JFK,LAX,B6,1,2013-01-15T12:00:00,720,2,far,380,false
scheduled,,2013-01-15T10:00:00,JFK,LAX,B6,1,2013-01-15T12:00:00,,2,2475,380,perhaps
"""
"""A file with five rows that do not fit the schema; the push refuses each with its line."""


def damaged_events(topics: PipelineTopics, events: pl.DataFrame) -> list[Damaged]:
    """Twenty records made from real events of the first days of ``events``, each broken in its own way."""
    codec = topics.codec("raw")
    scheduled = events.filter(pl.col("kind") == "scheduled")
    landed = events.filter((pl.col("kind") == "landed") & ~pl.col("cancelled"))

    def key(rows: pl.DataFrame) -> bytes:
        return str(rows["origin"][0]).encode()

    whole = _one(codec, scheduled.head(1))
    origin = key(scheduled)
    label = _one(
        topics.codec("labels"),
        pl.DataFrame(
            {
                "id": ["X"],
                "key": ["JFK"],
                "label": [1.0],
                "label_time": [events["at"][0]],
                "source": ["raw"],
                "source_offset": [0],
            }
        ),
    )
    latest = scheduled.tail(1)
    old = latest.with_columns(pl.col("at") - pl.duration(days=5), pl.lit("OLD-1").alias("flight_id"))
    not_a_number = latest.with_columns(pl.lit(float("nan")).alias("temp"), pl.lit("NAN-1").alias("flight_id"))
    infinite = latest.with_columns(pl.lit(float("inf")).alias("visib"), pl.lit("INF-1").alias("flight_id"))
    twice = landed.tail(2)
    stranger = landed.tail(1).with_columns(pl.lit("NEVER-SCHEDULED").alias("flight_id"))
    return [
        Damaged(origin, None, "null_value"),
        Damaged(origin, b"", "too_short"),
        Damaged(origin, whole[:4], "too_short"),
        Damaged(origin, b"\x01" + whole[1:], "wrong_magic"),
        Damaged(origin, b'{"kind": "scheduled"}', "wrong_magic"),
        Damaged(origin, header(UNKNOWN_SCHEMA) + whole[5:], "unknown_schema"),
        Damaged(b"JFK", label, "wrong_record"),
        Damaged(origin, whole[:5], "undecodable"),
        Damaged(origin, whole[:20], "undecodable"),
        Damaged(origin, whole[:-1], "undecodable"),
        Damaged(origin, whole[:5] + b"\xff" * 40, "undecodable"),
        Damaged(origin, whole + b"\x00", "trailing_bytes"),
        Damaged(origin, whole + whole, "trailing_bytes"),
        Damaged(key(old), _one(codec, old), "too_late"),
        Damaged(key(latest), _one(codec, not_a_number), "feature_not_finite"),
        Damaged(key(latest), _one(codec, infinite), "feature_not_finite"),
        *(Damaged(key(twice[i]), _one(codec, twice[i]), "duplicate_label") for i in range(2)),
        Damaged(key(stranger), _one(codec, stranger), "orphan_label"),
    ]


def _one(codec: TopicCodec, row: pl.DataFrame) -> bytes:
    """The one row as a record."""
    (value,) = codec.encode(row)
    assert value is not None
    return value

"""A document says what its record says, less what stays behind."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.consumers.forward.documents import Documenter
from headrace.consumers.forward.route import Documents, Refused
from headrace.consumers.forward.scored import MOST, Scored
from headrace.consumers.forward.shape import shapes
from headrace.consumers.forward.templates import COORDINATES
from headrace.declare.forward import Forward
from headrace.errors import ConfigError, SchemaError
from headrace.kafka.log import Chunk
from headrace.schema.records import Approval, DeadLetter, DeadRetry, Metric, Policy, Record, Rejection, Route
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import toy
from headrace.topics.pipeline_topics import PipelineTopics
from tests import search_log

AT = datetime(2024, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
LETTER = DeadLetter(
    stage="infer", code="x", reason="no", topic="p.raw", partition=1, offset=2, key=b"k", value=b"\x00\xff", at=AT
)
POLICY = Policy(routes=[Route(model_id="m", weight=1)])


EVERYTHING = Forward()


def topics_of(forward: Forward = EVERYTHING) -> PipelineTopics:
    """The topics of a pipeline with these rules."""
    return in_memory(replace(toy("p"), forward=forward))


def documents_of(topics: PipelineTopics, name: str, records: list[Record], secret: str = "") -> Documents:
    """The documents of control records at offsets 10, 11, ..."""
    made = topics.control(name, records, ["m"] * len(records))
    chunk = Chunk(made.tp, np.arange(10, 10 + len(records)), BytesColumn.of(made.keys), BytesColumn.of(made.values))
    decoded = topics.codec(name).decode(chunk.values)
    shape = shapes(topics.pipeline, secret)[name]
    found = Documenter(topics.pipeline, shape).documents(chunk, decoded)
    assert {key for body in found.bodies for key in json.loads(body)} <= set(shape.fields)
    return found


def plain(documents: Documents) -> list[dict[str, Any]]:
    """Each document without its coordinates."""
    return [{k: v for k, v in json.loads(body).items() if k not in COORDINATES} for body in documents.bodies]


def test_records_of_several_types_stay_in_the_order_of_the_log() -> None:
    rejection = Rejection(model_id="m", by="b", reason="r", at=AT)
    approval = Approval(model_id="m", by="b", evidence_hash="e", policy=POLICY, at=AT + timedelta(days=31))
    found = documents_of(topics_of(), "decisions", [rejection, approval, rejection])
    assert found.ids == ["p.decisions-0-10", "p.decisions-0-11", "p.decisions-0-12"]
    assert found.targets == ["p-decisions.2024-02", "p-decisions.2024-03", "p-decisions.2024-02"]
    assert found.times.tolist() == [int(at.timestamp()) * 10**6 + 789 for at in (AT, AT + timedelta(days=31), AT)]
    assert [json.loads(b)["@record"] for b in found.bodies] == [
        f"headrace.{n}" for n in ("Rejection", "Approval", "Rejection")
    ]
    assert json.loads(found.bodies[1]) == {
        "model_id": "m",
        "by": "b",
        "evidence_hash": "e",
        "policy": {"routes": [{"model_id": "m", "weight": 1}], "shadows": [], "salt": "", "backlog": "SCORE"},
        "note": "",
        "at": "2024-03-05T04:05:06.000789Z",
        "@id": "p.decisions-0-11",
        "@topic": "p.decisions",
        "@partition": 0,
        "@offset": 11,
        "@record": "headrace.Approval",
        "@time": "2024-03-05T04:05:06.000789Z",
    }


def test_bytes_are_base64_and_a_letter_from_before_there_were_times_has_none() -> None:
    retry = DeadRetry(letter_partition=0, letter_offset=1, topic="t", partition=0, offset=3, by="b", at=AT)
    found = documents_of(topics_of(), "dead", [LETTER, LETTER.model_copy(update={"at": None}), retry])
    assert found.targets == ["p-dead.2024-02", "p-dead.all", "p-dead.2024-02"]
    first, second, _ = map(json.loads, found.bodies)
    assert (first["key"], first["value"], first["@time"]) == ("aw==", "AP8=", "2024-02-03T04:05:06.000789Z")
    assert (second["@time"], second["at"], found.times[1]) == (None, None, 0)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.slow
@given(st.lists(st.tuples(TEXT, st.floats(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20))
def test_any_text_and_any_number_come_through(drawn: list[tuple[str, float, int]]) -> None:
    """Newlines and control characters too; what JSON has no number for is null and named."""
    records: list[Record] = [
        Metric(model_id=text, name=text, window_start=AT, window_end=AT, value=value, count=count)
        for text, value, count in drawn
    ]
    found = documents_of(topics_of(), "metrics", records)
    assert not any(b"\n" in body for body in found.bodies)
    for body, (text, value, count) in zip(map(json.loads, found.bodies), drawn, strict=True):
        finite = bool(np.isfinite(value))
        assert (body["name"], body["count"]) == (text, count)
        assert body["value"] == (value if finite else None)
        assert body.get("@not_finite") == (None if finite else ["value"])


@pytest.mark.parametrize(
    ("period", "target"), [("day", "p-dead.2024-02-03"), ("month", "p-dead.2024-02"), ("all", "p-dead.all")]
)
def test_the_period_names_the_index(period: Any, target: str) -> None:
    assert documents_of(topics_of(Forward(period=period)), "dead", [LETTER]).targets == [target]


def test_personal_data_stays_behind() -> None:
    rules = Forward(
        drop=("dead.value", "decisions.policy.salt"),
        hash=("*.key", "decisions.by"),
        truncate={"dead.reason": 1, "decisions.note": 2},
    )
    topics = topics_of(rules)
    (letter,) = plain(documents_of(topics, "dead", [LETTER], "s"))
    assert "value" not in letter
    assert (len(letter["key"]), letter["reason"], letter["code"]) == (40, "n", "x")
    approval = Approval(model_id="m", by="ann", evidence_hash="e", policy=POLICY, note="hello", at=AT)
    one, two, other = plain(
        documents_of(topics, "decisions", [approval, approval, approval.model_copy(update={"by": "bob"})], "s")
    )
    assert one == two
    assert one["by"] != other["by"]
    assert (one["note"], one["policy"]) == (
        "he",
        {"routes": [{"model_id": "m", "weight": 1}], "shadows": [], "backlog": "SCORE"},
    )
    keyed = plain(documents_of(topics, "decisions", [approval], "another secret"))[0]["by"]
    assert keyed not in ("ann", one["by"])


def test_the_mapping_says_what_is_left() -> None:
    rules = Forward(drop=("predictions.features.price", "*.key"), hash=("predictions.features.seen_10m",))
    fields = shapes(replace(toy("p"), forward=rules), "s")["predictions"].fields
    assert fields["features"]["properties"] == {"seen_10m": {"type": "keyword"}}
    left = "id event_time partition offset model_id marker_offset route outputs runtime features"
    assert set(fields) - set(COORDINATES) == set(left.split())


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Forward(drop=("predictions.nose",)), "forward: predictions has no field 'nose'; it has id, key, "),
        (Forward(drop=("features.price",)), "forward: 'features.price' names no topic that is forwarded; "),
        (Forward(hash=("dead.key",)), "forward.hash is set and there is no key to hash with: "),
        (Forward(truncate={"metrics.value": 3}), "forward.truncate: metrics.value is no string; drop or hash it"),
        (
            Forward(truncate={"dead.reason": -1}),
            "forward.truncate: 'dead.reason' is cut to -1 characters; give 0 or more",
        ),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(rules: Forward, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        shapes(replace(toy("p"), forward=rules), "")
    assert str(refused.value).startswith(said)


def test_what_cannot_be_forwarded_is_refused() -> None:
    rules, pipeline = Forward(topics=("raw", "models")), toy("p")
    with pytest.raises(SchemaError, match=r"^pipeline p: models, raw cannot be forwarded; what can is predictions, "):
        replace(pipeline, forward=rules)


def test_a_pipeline_of_many_features_has_room_for_them_and_a_dot_in_a_name_is_refused() -> None:
    """10,000 fields are more than an engine takes unasked; a dot would make an object of the field."""

    def wide(events: pl.DataFrame) -> pl.DataFrame:
        return events.select("offset", *(pl.lit(0.0).alias(f"f{i}") for i in range(10_000)))

    def dotted(events: pl.DataFrame) -> pl.DataFrame:
        return events.select("offset", pl.lit(0.0).alias("a.b"))

    fields = shapes(replace(toy("p"), features=wide), "")["predictions"].fields
    assert len(fields["features"]["properties"]) == 10_000
    with pytest.raises(SchemaError, match=r"^pipeline p: feature 'a\.b' cannot be a field of an Avro record: "):
        shapes(replace(toy("p"), features=dotted), "")


COLUMNS: dict[str, pl.DataType] = {"x": pl.Int64()}


def filled(offsets: list[int], held: Scored | None = None) -> Scored:
    """Holds a row at each offset, which says ten times that."""
    held = held or Scored(COLUMNS)
    held.take(np.array(offsets, dtype=np.int64), pl.DataFrame({"x": [10 * o for o in offsets]}), offsets[-1])
    return held


@given(st.sets(st.integers(0, 60), min_size=1), st.lists(st.integers(0, 70)), st.integers(0, 60))
def test_what_was_scored_is_found_until_it_has_passed(there: set[int], asked: list[int], passed: int) -> None:
    held = filled(sorted(there))
    held.passed(np.array([passed, 10**12], dtype=np.int64))
    left = {o for o in there if o >= passed or passed > max(there)}
    assert held.at(np.array(asked, dtype=np.int64)).to_list() == [{"x": 10 * o} if o in left else None for o in asked]
    assert held.reached == max(there) + 1
    assert held.earliest(99) == min(left | {max(there)})
    assert held.room == MOST - len(left)
    again = filled(sorted(o for o in there if o >= held.earliest(99)))
    assert again.at(np.array(sorted(left), dtype=np.int64)).to_list() == [{"x": 10 * o} for o in sorted(left)]


class Kept(list[Documents]):
    """A route that keeps what it is given."""

    def send(self, documents: Documents) -> list[Refused]:
        self.append(documents)
        return []

    def close(self) -> None:
        """Nothing is held."""


def test_features_of_any_width_go_along_with_their_predictions() -> None:
    """A pipeline's features may be integers of 32 bits; on the log they have 64."""
    topics, kept = search_log.made(), Kept()
    assert pl.Int32 in topics.pipeline.feature_columns.values()
    search_log.forward(topics, kept)
    found = {d["@id"]: d for s in kept if s.kind == "predictions" for d in map(json.loads, s.bodies)}
    features = search_log.frames_of(topics, "features")["features"]
    scored = {
        (p, o): row
        for p, o, row in zip(
            features["@partition"],
            features["@offset"],
            features.select(list(topics.pipeline.feature_columns)).to_dicts(),
            strict=True,
        )
    }
    assert len(found) == search_log.frames_of(topics, "predictions")["Prediction"].height
    assert all(d["features"] == scored.get((d["partition"], d["offset"])) for d in found.values())
    assert sum(d["features"] is not None for d in found.values()) > len(found) / 2

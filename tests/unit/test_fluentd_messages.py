"""Documents become the bytes that the Fluentd Forward Protocol Specification v1 describes, and no others."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import msgpack
import numpy as np
import pytest
from fluent.sender import EventTime
from hypothesis import given
from hypothesis import strategies as st

from headrace.consumers.forward.fluentd.messages import DEEPEST, LARGEST_ENTRY, MESSAGE_BYTES, Message, messages
from headrace.consumers.forward.route import Documents, Refused
from tests.fluent_receiver import Entry, entries_of

TAG = "headrace.flights.predictions"
TARGET = "flights-predictions.1"
LAST = (2**32 - 1) * 1_000_000 + 999_999

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
finite = scalars.filter(lambda v: not isinstance(v, float) or abs(v) < float("inf"))
values = st.recursive(finite, lambda v: st.lists(v, max_size=4) | st.dictionaries(text, v, max_size=4), max_leaves=20)
records = st.dictionaries(text, values, max_size=6)


def documents(bodies: list[bytes], times: list[int] | None = None) -> Documents:
    ids = [f"flights.predictions-0-{i}" for i in range(len(bodies))]
    at = np.array(times if times is not None else range(len(bodies)), dtype=np.int64)
    return Documents("predictions", TAG, ids, [TARGET] * len(bodies), at, bodies)


def numbered(count: int, filling: int = 0) -> Documents:
    return documents([json.dumps({"@id": str(i), "x": "x" * filling}).encode() for i in range(count)])


def made(given: Documents, compress: bool = False) -> tuple[list[Message], list[Refused]]:
    refused: list[Refused] = []
    return list(messages(given, compress, refused)), refused


def entries(message: Message) -> list[Entry]:
    tag, packed, option = msgpack.unpackb(message.data)
    assert type(packed) is bytes
    return entries_of(tag, packed, option)


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def exact(value: Any) -> str:
    """Everything of a JSON value: 1 is not 1.0, 0.0 not -0.0."""
    return json.dumps(value, sort_keys=True)


def test_a_message_is_bytes_of_the_specification() -> None:
    body = b'{"@id":"a-0-1","n":5}'
    [message], refused = made(documents([body], [1_357_016_400_123_456]))
    packed = (
        b"\x92\xd7\x00\x50\xe2\x6d\x50\x07\x5b\xca\x00"  # [EventTime 1357016400 s 123456000 ns,
        b"\x83\xa3@id\xa5a-0-1\xa1n\x05\xa6@index\xb5flights-predictions.1"  # {...}]
    )
    option = b"\x82\xa4size\x01\xa5chunk\xb8" + message.chunk.encode()
    assert message.data == b"\x93\xbc" + TAG.encode() + b"\xc4" + bytes([len(packed)]) + packed + option
    assert len(base64.b64decode(message.chunk, validate=True)) == 16
    assert refused == []


@pytest.mark.parametrize("micros", [0, 1, 999_999, 1_000_000, 1_357_016_400_123_456, 2**31 * 1_000_000, LAST])
def test_times_are_fluentds_own_event_times_to_the_microsecond(micros: int) -> None:
    [message], _ = made(documents([b"{}"], [micros]))
    packed = msgpack.unpackb(message.data)[1]
    assert packed[:11] == b"\x92" + msgpack.packb(EventTime.from_unix_nano(micros * 1000))
    assert [entry.nanos for entry in entries(message)] == [micros * 1000]


@pytest.mark.parametrize(("micros", "kept"), [(-1, 0), (-(2**63), 0), (LAST + 1, LAST), (2**63 - 1, LAST)])
def test_times_that_fluentd_cannot_say_stand_at_the_near_end(micros: int, kept: int) -> None:
    [message], refused = made(documents([b"{}"], [micros]))
    assert [entry.nanos for entry in entries(message)] == [kept * 1000]
    assert refused == []


@pytest.mark.slow
@given(st.lists(records, min_size=1, max_size=5), st.booleans())
def test_every_json_value_arrives_as_it_is(given: list[dict[str, Any]], compress: bool) -> None:
    sent, refused = made(documents([json.dumps(record).encode() for record in given]), compress)
    arrived = [entry.record for message in sent for entry in entries(message)]
    assert [exact(record) for record in arrived] == [exact({**record, "@index": TARGET}) for record in given]
    assert refused == []


def test_gzipped_entries_are_those_that_are_not() -> None:
    plain, _ = made(numbered(50))
    packed, _ = made(numbered(50), compress=True)
    [(tag, entries_plain, option)] = [msgpack.unpackb(m.data) for m in plain]
    [(tag_packed, entries_packed, option_packed)] = [msgpack.unpackb(m.data) for m in packed]
    assert (tag_packed, gzip.decompress(entries_packed)) == (tag, entries_plain)
    assert option_packed == {**option, "compressed": "gzip"}
    assert made(numbered(50), compress=True) == (packed, [])


def test_chunk_ids_tell_messages_apart_and_come_again_with_them() -> None:
    first, _ = made(numbered(6_000, 500))
    again, _ = made(numbered(6_000, 500))
    assert again == first
    assert len({message.chunk for message in first}) == len(first) == 4
    assert {m.chunk for m in made(numbered(6_001, 500))[0]} & {m.chunk for m in first} == {m.chunk for m in first[:3]}


def test_messages_are_bounded_and_hold_every_document_once_and_in_order() -> None:
    sizes = [10, 700_000, 400_000, 10, MESSAGE_BYTES + 1, 10, 10]
    bodies = [json.dumps({"@id": str(i), "x": "x" * size}).encode() for i, size in enumerate(sizes)]
    sent, refused = made(documents(bodies))
    ids = [[int(entry.record["@id"]) for entry in entries(message)] for message in sent]
    assert ids == [[0, 1], [2, 3], [4], [5, 6]]
    assert refused == []
    assert [len(m.data) > MESSAGE_BYTES for m in sent] == [False, False, True, False]


def test_what_no_receiver_can_take_is_refused_with_its_reason_and_the_rest_goes() -> None:
    bodies = [
        b"{}",
        b"[1]",
        b'{"a":',
        b'{"a":NaN}',
        b'"\\ud800"',
        nested(DEEPEST),
        nested(DEEPEST + 1),
        nested(5_000),
        json.dumps({"brackets": "[{" * DEEPEST}).encode(),
        b'{"x":"' + b"x" * LARGEST_ENTRY + b'"}',
        b"",
        b"{}",
    ]
    sent, refused = made(documents(bodies))
    assert [place for place, _ in refused] == [1, 2, 3, 4, 6, 7, 9, 10]
    reasons = dict(refused)
    assert reasons[6] == "its body is nested deeper than 100 levels"
    assert reasons[9] == f"it has {LARGEST_ENTRY + 48} bytes: a receiver takes {LARGEST_ENTRY}"
    rest = {r.split(":")[0] for p, r in refused if p not in (6, 9)}
    assert rest == {"its body is no JSON object that MessagePack can carry"}
    assert [len(entries(message)) for message in sent] == [4]


def test_no_documents_make_no_message() -> None:
    assert made(documents([])) == ([], [])

"""Documents as messages of the Fluentd Forward Protocol Specification v1, in its PackedForward modes."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgpack
import numpy as np
import orjson

from headrace.consumers.forward.route import Documents, Refused
from headrace.kafka.log import Offsets

INDEX = "@index"
"""The field that carries a document's target: ``target_index_key`` of Fluentd's Elasticsearch output."""
MESSAGE_BYTES = 1 << 20
"""Bytes of entries in one message, before compression; one larger entry goes alone."""
LARGEST_ENTRY = 16 << 20
"""Bytes. Far more than a Kafka record's usual 1 MB gives, and half the chunk that deploy/fluentd lets Fluentd keep on
disk: a larger record would fit in none, and fail there after it was acked."""
DEEPEST = 100
"""Levels of a record. Fluentd's unpacker gives up past 128, an entry's own two among them, and drops the connection:
such a record would come back for ever."""
LAST_SECOND = 2**32 - 1
GZIP_LEVEL = 1
"""Level 6 takes twice as long for a tenth fewer bytes."""

_ENTRY = np.dtype([("head", "S3"), ("seconds", ">u4"), ("nanoseconds", ">u4")])
_HEAD = b"\x92\xd7\x00"  # an array of two; the first of them an extension of eight bytes, type 0: EventTime


class Message(NamedTuple):
    """A message ready to be sent."""

    chunk: str
    """What its ack names: base64 of 16 bytes of a digest of its entries, so the same documents give the same."""
    data: bytes


def messages(documents: Documents, compress: bool, refused: list[Refused]) -> Iterator[Message]:
    """All documents, in order, in messages of bounded size, each made when it is asked for.

    Args:
        documents: bodies may be anything; what no receiver could take is told of in ``refused``.
        compress: CompressedPackedForward, with gzip, instead of PackedForward.
        refused: takes in the documents that are in no message.
    """
    waiting: list[bytes] = []
    size = 0
    for entry in _entries(documents, refused):
        if waiting and size + len(entry) > MESSAGE_BYTES:
            yield _message(documents.tag, waiting, compress)
            waiting, size = [], 0
        waiting.append(entry)
        size += len(entry)
    if waiting:
        yield _message(documents.tag, waiting, compress)


def _entries(documents: Documents, refused: list[Refused]) -> Iterator[bytes]:
    heads = _heads(documents.times)
    pack = msgpack.Packer().pack
    for place, (body, target) in enumerate(zip(documents.bodies, documents.targets, strict=True)):
        try:
            record = orjson.loads(body)
            record[INDEX] = target
            # Braces within strings count too, so this passes nearly all without a walk and none that is too deep.
            if body.count(b"{") + body.count(b"[") > DEEPEST and _depth(record) > DEEPEST:
                refused.append(Refused(place, f"its body is nested deeper than {DEEPEST} levels"))
                continue
            entry = heads[place * _ENTRY.itemsize : (place + 1) * _ENTRY.itemsize] + pack(record)
        except (ValueError, TypeError, OverflowError) as e:
            refused.append(Refused(place, f"its body is no JSON object that MessagePack can carry: {e}"))
            continue
        if len(entry) > LARGEST_ENTRY:
            refused.append(Refused(place, f"it has {len(entry)} bytes: a receiver takes {LARGEST_ENTRY}"))
            continue
        yield entry


def _heads(times: Offsets) -> bytes:
    """How each entry begins, up to its record: 11 bytes.

    EventTime's seconds are 32 bits without a sign; what lies outside stands at its near end. The record says itself
    when it happened, and this time is Fluentd's own business.
    """
    micros = np.clip(times, 0, LAST_SECOND * 1_000_000 + 999_999)
    heads = np.empty(len(micros), dtype=_ENTRY)
    heads["head"] = _HEAD
    heads["seconds"] = micros // 1_000_000
    heads["nanoseconds"] = micros % 1_000_000 * 1000
    return heads.tobytes()


def _message(tag: str, entries: list[bytes], compress: bool) -> Message:
    packed = b"".join(entries)
    # Of the entries and not of their ids alone: an ack that comes late is then of these very bytes.
    chunk = b64encode(hashlib.sha256(packed).digest()[:16]).decode()
    option: dict[str, int | str] = {"size": len(entries), "chunk": chunk}
    if compress:
        packed = gzip.compress(packed, GZIP_LEVEL, mtime=0)
        option["compressed"] = "gzip"
    return Message(chunk, msgpack.packb((tag, packed, option)))


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]
    return depth

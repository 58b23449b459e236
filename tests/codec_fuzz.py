"""Damaged records through the native transport's kernels and the codec's, each payload right before memory that may
not be read.

``HEADRACE_CHECK_BOUNDS=1 python -m tests.codec_fuzz --cases 1000000`` (minutes): each is refused, or decoded as
fastavro decodes it; a read past a payload ends the process, one past an array is an IndexError.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import random
import struct
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from rich.progress import track

from headrace.codec.topic import TopicCodec
from headrace.codec.wire import HEADER, Code, header
from headrace.kafka.log import TopicPartition
from headrace.kafka.native import kernels
from headrace.kafka.native.fetcher import column
from headrace.schema.registry import MemoryRegistry, subject_of

PAGE = mmap.PAGESIZE
SLOTS = 500
TOPIC = TopicPartition("fuzz.things", 0)
NO_ACCESS = 0
THING: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "count", "type": "long"},
        {"name": "small", "type": "int"},
        {"name": "single", "type": "float"},
        {"name": "wide", "type": "double"},
        {"name": "yes", "type": "boolean"},
        {"name": "raw", "type": "bytes"},
        {"name": "maybe", "type": ["null", "double"], "default": None},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}},
        {"name": "four", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "scores", "type": {"type": "array", "items": "float"}},
    ],
}
PARSED = fastavro.parse_schema(dict(THING))


class Guarded:
    """Pages for payloads, each before a page that may not be touched."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2 * SLOTS * PAGE)
        self._begin = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for slot in range(SLOTS):
            fence = ctypes.c_void_p(self._begin + (2 * slot + 1) * PAGE)
            if libc.mprotect(fence, ctypes.c_size_t(PAGE), NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")

    def messages(self, payloads: Sequence[bytes]) -> kernels.Words:
        """librdkafka's messages, which point at the payloads."""
        words = np.zeros((len(payloads), kernels.WORDS), dtype=np.int64)
        for slot, payload in enumerate(payloads):
            end = (2 * slot + 1) * PAGE
            self._memory[end - len(payload) : end] = payload
            words[slot, kernels.PAYLOAD] = self._begin + end - len(payload)
            words[slot, kernels.LENGTH] = len(payload)
        return words


def single(rng: random.Random) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", rng.uniform(-1e9, 1e9)))[0]
    return found


def thing(rng: random.Random) -> dict[str, Any]:
    return {
        "text": "".join(rng.choices("abcé€😀", k=rng.randrange(40))),
        "count": rng.getrandbits(rng.randrange(1, 64)) * rng.choice((1, -1)),
        "small": rng.getrandbits(rng.randrange(1, 32)) * rng.choice((1, -1)),
        "single": single(rng),
        "wide": rng.uniform(-1e300, 1e300),
        "yes": rng.random() < 0.5,
        "raw": rng.randbytes(rng.randrange(80)),
        "maybe": rng.choice((None, rng.random())),
        "name": rng.choice((None, "name" * rng.randrange(5))),
        "colour": rng.choice(("RED", "BLUE")),
        "four": rng.randbytes(4),
        "scores": [single(rng) for _ in range(rng.randrange(4))],
    }


def damaged(rng: random.Random, whole: bytes) -> bytes:
    """A record cut, with some bytes overwritten, with bytes put in or left out; or as it was."""
    record, at = bytearray(whole), rng.randrange(len(whole))
    match rng.randrange(8):
        case 0:
            del record[at:]
        case 1:
            record[at:at] = rng.randbytes(rng.randrange(1, 9))
        case 2:
            del record[at : at + rng.randrange(1, 9)]
        case 3:
            record[at : at + 9] = rng.choice((b"\xff", b"\x80", b"\x7f", b"\x00", b"\x01")) * rng.randrange(1, 11)
        case 4 | 5 | 6:
            for _ in range(rng.randrange(1, 4)):
                record[rng.randrange(HEADER.size, len(record))] = rng.randrange(256)
    return bytes(record)


def by_fastavro(record: bytes) -> object:
    body = BytesIO(record[HEADER.size :])
    read = fastavro.schemaless_reader(body, PARSED, None)
    assert body.tell() == len(record) - HEADER.size, f"trailing bytes are accepted: {record.hex()}"
    return read


def fuzz(cases: int, seed: int) -> Counter[str]:
    """Try so many records; gives how many of them got which code.

    Raises:
        AssertionError: one was decoded as something else than by fastavro, or its neighbours were.
    """
    rng, guarded, codes = random.Random(seed), Guarded(), Counter[str]()
    registry = MemoryRegistry()
    registry.register(subject_of(TOPIC.topic, THING), THING)
    codec = TopicCodec(TOPIC.topic, [THING], registry)
    for begin in track(range(0, cases, SLOTS), "damaged records"):
        records = []
        for _ in range(min(SLOTS, cases - begin)):
            out = BytesIO(header(1))
            out.seek(0, 2)
            fastavro.schemaless_writer(out, PARSED, thing(rng))
            records.append(damaged(rng, out.getvalue()))
        found = codec.decode(column(guarded.messages(records), kernels.PAYLOAD, kernels.LENGTH))
        rows = iter(found.frame().to_dicts())
        for code, record in zip(found.codes.tolist(), records, strict=True):
            codes[Code(code).label] += 1
            if code == Code.OK:
                # As text: NaN is itself there.
                assert repr(next(rows)) == repr(by_fastavro(record)), record.hex()
    return codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=8)
    args = parser.parse_args()
    for code, count in fuzz(args.cases, args.seed).most_common():
        print(f"{code}: {count:,}")


if __name__ == "__main__":
    main()

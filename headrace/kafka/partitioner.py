"""Which partition a key belongs to: murmur2 as Kafka's Java client computes it (its ``Utils.murmur2``)."""

from __future__ import annotations

import numpy as np

from headrace.codec.column import BytesColumn, Octets, Offsets, read_only
from headrace.codec.compiled import compiled

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """32-bit murmur2 with Kafka's seed, unsigned."""
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of ``key`` among ``partitions``, the same as any Kafka client's default for keyed records."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(keys: BytesColumn, partitions: int) -> Offsets:
    """Partition of each key, int64 (n,); none of the keys is null."""
    found = np.empty(len(keys), dtype=np.int64)
    _murmur2_all(read_only(keys.data), read_only(keys.offsets), partitions, found)
    return found


@compiled
def _murmur2_all(data: Octets, offsets: Offsets, partitions: int, found: Offsets) -> None:
    m = np.uint32(0x5BD1E995)
    for row in range(len(found)):
        begin, end = offsets[row], offsets[row + 1]
        h = np.uint32(np.uint32(0x9747B28C) ^ np.uint32(end - begin))
        at = begin
        while end - at >= 4:
            k = np.uint32(0)
            for i in range(4):
                k |= np.uint32(np.uint32(data[at + i]) << np.uint32(8 * i))
            k = np.uint32(k * m)
            k = np.uint32(np.uint32(k ^ np.uint32(k >> np.uint32(24))) * m)
            h = np.uint32(np.uint32(h * m) ^ k)
            at += 4
        if at < end:
            tail = np.uint32(0)
            for i in range(end - at):
                tail |= np.uint32(np.uint32(data[at + i]) << np.uint32(8 * i))
            h = np.uint32(np.uint32(h ^ tail) * m)
        h = np.uint32(np.uint32(h ^ np.uint32(h >> np.uint32(13))) * m)
        h = np.uint32(h ^ np.uint32(h >> np.uint32(15)))
        found[row] = np.int64(h & np.uint32(0x7FFFFFFF)) % partitions

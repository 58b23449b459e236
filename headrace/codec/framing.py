"""Schema ids that records carry in a Kafka header, as newer Confluent serializers write them: put before the values.

A value then begins as if its serializer had put the id there: with a 1 and the schema's GUID (16 bytes), or with a 0
and its number. So one form reaches the codec, the dead letters, and whoever writes a value again.
"""

from __future__ import annotations

import numpy as np

from headrace.codec.column import BytesColumn, Octets, Offsets, read_only
from headrace.codec.compiled import compiled

ID_HEADER = "__value_schema_id"
LONGEST_ID = 17
"""Bytes of an id with its GUID."""


def with_ids(values: BytesColumn, ids: BytesColumn) -> BytesColumn:
    """``values``, each behind its id (n of both); an empty id, and any before a null value, adds nothing."""
    lengths, id_lengths = np.diff(values.offsets), np.diff(ids.offsets)
    if values.valid is not None:
        id_lengths = np.where(values.valid, id_lengths, 0)
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(lengths + id_lengths, out=offsets[1:])
    out = np.empty(int(offsets[-1]), dtype=np.uint8)
    _put(read_only(ids.data), ids.offsets[:-1], id_lengths, offsets, out)
    _put(read_only(values.data), values.offsets[:-1], lengths, offsets[:-1] + id_lengths, out)
    return BytesColumn(out, offsets, values.valid)


@compiled
def _put(data: Octets, starts: Offsets, lengths: Offsets, at: Offsets, out: Octets) -> None:
    for row in range(len(starts)):
        for k in range(lengths[row]):
            out[np.uint64(at[row] + k)] = data[np.uint64(starts[row] + k)]

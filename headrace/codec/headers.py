"""The headers of a batch at once: code and schema id of each record."""

from __future__ import annotations

import numpy as np

from headrace.codec.column import BytesColumn, Octets, Offsets, read_only
from headrace.codec.compiled import compiled
from headrace.codec.wire import Code

Codes = np.ndarray[tuple[int], np.dtype[np.int8]]
Ids = np.ndarray[tuple[int], np.dtype[np.int64]]

BY_GUID = -1
"""In the place of a code: the value is whole, and names its schema by a GUID."""


def read_headers(values: BytesColumn) -> tuple[Codes, Ids]:
    """For n values: int8 (n,) codes, OK where there is a whole header, and int64 (n,) schema ids.

    The code is ``BY_GUID`` where the id is a GUID.
    """
    codes = np.zeros(len(values), dtype=np.int8)
    ids = np.full(len(values), -1, dtype=np.int64)
    _read(read_only(values.data), read_only(values.offsets), codes, ids)
    if values.valid is not None:
        codes[~values.valid] = Code.NULL_VALUE
    return codes, ids


@compiled
def _read(data: Octets, offsets: Offsets, codes: Codes, ids: Ids) -> None:
    for row in range(len(codes)):
        at = np.uint64(offsets[row])
        if offsets[row + 1] - offsets[row] < 5:
            codes[row] = 2
        elif data[at] == 1 and offsets[row + 1] - offsets[row] >= 17:
            codes[row] = -1
        elif data[at] != 0:
            codes[row] = 3
        else:
            schema_id = np.int64(0)
            for k in range(1, 5):
                schema_id = (schema_id << 8) | np.int64(data[at + np.uint64(k)])
            ids[row] = schema_id

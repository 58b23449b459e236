"""Messages as librdkafka lays them out, to columns and back. Compiled; addresses are integers.

``rd_kafka_message_t`` is nine words of eight bytes: error, topic, partition, payload, its length, key, its length,
offset, private. It has been the same since librdkafka 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from headrace.codec.compiled import compiled
from headrace.kafka.native.librdkafka import HEADER_GET_LAST, MESSAGE_DESTROY, MESSAGE_HEADERS, MESSAGE_TIMESTAMP

if TYPE_CHECKING:
    from headrace.codec.column import Octets, Offsets, Valid

    Words = np.ndarray[tuple[int, int], np.dtype[np.int64]]

WORDS = 9
PAYLOAD, LENGTH, KEY, KEY_LENGTH, OFFSET = 3, 4, 5, 6, 7
_PLAIN = 4
"""Schema ids in front of values that are remembered at a time."""
ERROR_32 = 0
"""Place of the error, which is 32 bits wide, when a message is seen as 18 words of four bytes."""

address: Any = types.uintp
_copy: Any = types.ExternalFunction("memcpy", address(address, address, address))
_headers: Any = types.ExternalFunction(MESSAGE_HEADERS, types.int32(address, address))
_header: Any = types.ExternalFunction(HEADER_GET_LAST, types.int32(address, address, address, address))
_destroy: Any = types.ExternalFunction(MESSAGE_DESTROY, types.void(address))
_timestamp: Any = types.ExternalFunction(MESSAGE_TIMESTAMP, types.int64(address, address))


@compiled
def read_messages(pointers: Offsets, words: Words) -> None:
    """Copy the messages at ``pointers`` (n,), fields only, to ``words`` (n, 9)."""
    begin = words.ctypes.data
    for row in range(len(words)):
        _copy(address(begin + row * 8 * WORDS), address(pointers[row]), address(8 * WORDS))


@compiled
def read_timestamps(pointers: Offsets, out: Offsets) -> None:
    """Timestamps of the messages at ``pointers`` (n,) to ``out``, milliseconds since 1970; -1 where one has none."""
    for row in range(len(pointers)):
        out[row] = _timestamp(address(pointers[row]), address(0))


@compiled
def find_header(
    pointers: Offsets,
    name: Octets,
    most: int,
    data: Octets,
    offsets: Offsets,
    every: bool,
    starts: Offsets,
    lengths: Offsets,
) -> bool:
    """The last header of a name (its bytes, a zero after them) of each message: where its value is, and its length.

    Length 0 where a message has none, or one of more than ``most`` bytes. To ask a message for headers takes as long as
    to decode one. So, unless ``every`` message is asked, those are not whose value (of ``data`` and ``offsets``)
    begins with the same schema id as one that was asked in vain.

    Returns:
        Whether a message has one.
    """
    some = False
    found = np.zeros(3, dtype=np.int64)
    begin = found.ctypes.data
    plain = np.full(_PLAIN, -1, dtype=np.int64)
    count = 0
    for row in range(len(pointers)):
        lengths[row] = 0
        at = np.uint64(offsets[row])
        schema_id = np.int64(-2)
        if offsets[row + 1] - offsets[row] >= 5 and data[at] == 0:
            schema_id = np.int64(0)
            for k in range(1, 5):
                schema_id = (schema_id << 8) | np.int64(data[at + np.uint64(k)])
            known = False
            for k in range(_PLAIN):
                known = known or plain[k] == schema_id
            if known and not every:
                continue
        there = _headers(address(pointers[row]), address(begin)) == 0
        if there:
            there = (
                _header(address(found[0]), address(name.ctypes.data), address(begin + 8), address(begin + 16)) == 0
                and found[1] != 0
                and 0 < found[2] <= most
            )
        if there:
            starts[row] = found[1]
            lengths[row] = found[2]
            some = True
        elif schema_id >= 0:
            plain[count % _PLAIN] = schema_id
            count += 1
    return some


@compiled
def copy_headers(starts: Offsets, lengths: Offsets, out: Octets) -> None:
    """Copy what :func:`find_header` found to ``out``, end to end."""
    begin = out.ctypes.data
    for row in range(len(starts)):
        if lengths[row]:
            _copy(address(begin), address(starts[row]), address(lengths[row]))
            begin += lengths[row]


@compiled
def destroy_messages(pointers: Offsets) -> None:
    """Give messages back to librdkafka, each once."""
    for row in range(len(pointers)):
        _destroy(address(pointers[row]))


@compiled
def measure_strings(words: Words, pointer: int, length: int, offsets: Offsets, valid: Valid) -> bool:
    """Where each message's string begins, end to end, in ``offsets`` (n + 1,); false in ``valid`` where it is null.

    Returns:
        Whether none is null.
    """
    whole = True
    for row in range(len(words)):
        valid[row] = words[row, pointer] != 0
        whole = whole and valid[row]
        offsets[row + 1] = offsets[row] + (words[row, length] if valid[row] else 0)
    return whole


@compiled
def copy_strings(words: Words, pointer: int, offsets: Offsets, out: Octets) -> None:
    """Copy each message's string to where :func:`measure_strings` says."""
    begin = out.ctypes.data
    for row in range(len(words)):
        length = offsets[row + 1] - offsets[row]
        if length:
            _copy(address(begin + offsets[row]), address(words[row, pointer]), address(length))


@compiled
def point_at(words: Words, pointer: int, length: int, data: Octets, offsets: Offsets, valid: Valid) -> None:
    """Have each message point at its string in ``data``; those that are not valid at none. Empty ``valid``: all are."""
    begin = data.ctypes.data
    for row in range(len(words)):
        if len(valid) and not valid[row]:
            words[row, pointer] = 0
            words[row, length] = 0
        else:
            words[row, pointer] = np.int64(begin + offsets[row])
            words[row, length] = offsets[row + 1] - offsets[row]

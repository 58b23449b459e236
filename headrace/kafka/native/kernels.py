"""Messages as librdkafka lays them out, to columns and back. Compiled; addresses are integers.

``rd_kafka_message_t`` is nine words of eight bytes: error, topic, partition, payload, its length, key, its length,
offset, private. It has been the same since librdkafka 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from headrace.codec.compiled import compiled
from headrace.kafka.native.librdkafka import MESSAGE_DESTROY, MESSAGE_TIMESTAMP

if TYPE_CHECKING:
    from headrace.codec.column import Octets, Offsets, Valid

    Words = np.ndarray[tuple[int, int], np.dtype[np.int64]]

WORDS = 9
PAYLOAD, LENGTH, KEY, KEY_LENGTH, OFFSET = 3, 4, 5, 6, 7
ERROR_32 = 0
"""Place of the error, which is 32 bits wide, when a message is seen as 18 words of four bytes."""

address: Any = types.uintp
_copy: Any = types.ExternalFunction("memcpy", address(address, address, address))
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

"""The kernel that encodes: runs a program over rows of cells and writes each as a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.codec import ops
from headrace.codec.column import Octets, Offsets
from headrace.codec.compiled import compiled
from headrace.codec.ops import (
    BOOLEAN,
    BRANCH,
    BYTES,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    FLOAT,
    INT,
    ITEM,
    JUMP,
    LIST,
    LONG,
    REFUSE,
    STRING,
    UNION,
)

if TYPE_CHECKING:
    Ints = Offsets
    Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]

STACK = 64


@compiled
def put_varint(out: Octets, at: int, value: int) -> int:
    """Write a zigzag number; gives where it ends."""
    rest = np.uint64((value << 1) ^ (value >> 63))
    while rest >= np.uint64(0x80):
        out[np.uint64(at)] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest >>= np.uint64(7)
        at += 1
    out[np.uint64(at)] = np.uint8(rest)
    return at + 1


@compiled
def encode(
    prefix: Octets,
    data: Octets,
    program: Rows,
    bases: Ints,
    steps: Ints,
    flag_bases: Ints,
    flag_steps: Ints,
    cells: Ints,
    flags: Octets,
    counters: Ints,
    offsets: Offsets,
    out: Octets,
) -> int:
    """Write n records end to end into ``out``, which has room for them, and where each ends into ``offsets`` (n + 1,).

    Row r of a column with step 1 is its cell r; one with step 0 has the same cell for all rows.

    Returns:
        -1, or the row that has no branch of a union to go by.
    """
    left = np.zeros(STACK, dtype=np.int64)
    at = 0
    for row in range(len(offsets) - 1):
        counters[0] = row + 1
        for k in range(len(prefix)):
            out[np.uint64(at + k)] = prefix[np.uint64(k)]
        at += len(prefix)
        depth = 0
        pc = np.uint64(0)
        while True:
            op = program[pc, ops.OP]
            column = program[pc, ops.COLUMN]
            value = np.int64(0)
            index = counters[np.uint64(program[pc, ops.SCOPE])] - 1
            if column >= 0:
                c = np.uint64(column)
                value = cells[np.uint64(bases[c] + steps[c] * index)]
            if op == LONG or op == INT or op == ENUM:
                at = put_varint(out, at, value)  # type: ignore[arg-type]
            elif op == STRING or op == BYTES or op == FIXED:
                c = np.uint64(column + 1)
                length = cells[np.uint64(bases[c] + steps[c] * index)]
                if op != FIXED:
                    at = put_varint(out, at, length)
                for k in range(length):
                    out[np.uint64(at + k)] = data[np.uint64(value + k)]
                at += length
            elif op == DOUBLE:
                for k in range(8):
                    out[np.uint64(at + k)] = np.uint8(np.uint64(value) >> np.uint64(8 * k) & np.uint64(0xFF))
                at += 8
            elif op == FLOAT:
                for k in range(4):
                    out[np.uint64(at + k)] = np.uint8(np.uint64(value) >> np.uint64(8 * k) & np.uint64(0xFF))
                at += 4
            elif op == BOOLEAN:
                out[np.uint64(at)] = np.uint8(value != 0)
                at += 1
            elif op == UNION:
                flag = np.uint64(program[pc, ops.A])
                if not flags[np.uint64(flag_bases[flag] + flag_steps[flag] * index)]:
                    pc = np.uint64(program[pc, ops.B])
                    continue
            elif op == BRANCH:
                at = put_varint(out, at, program[pc, ops.A])
            elif op == JUMP:
                pc = np.uint64(program[pc, ops.A])
                continue
            elif op == LIST:
                c = np.uint64(column + 1)
                left[depth] = cells[np.uint64(bases[c] + steps[c] * index)]
                if left[depth]:
                    at = put_varint(out, at, left[depth])
                depth += 1
            elif op == ITEM:
                if left[depth - 1] == 0:
                    out[np.uint64(at)] = 0
                    at += 1
                    depth -= 1
                    pc = np.uint64(program[pc, ops.A])
                    continue
                left[depth - 1] -= 1
                counters[np.uint64(program[pc, ops.B])] += 1
            elif op == REFUSE:
                return row
            elif op == END:
                break
            pc += np.uint64(1)
        offsets[row + 1] = at
    return -1

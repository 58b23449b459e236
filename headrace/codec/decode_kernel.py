"""The kernel that decodes: runs a program over each record's bytes and puts values into cells.

Every read is checked against the record's end. A record that fails leaves a code, the byte and the field, and
nothing else: the rows it had begun are taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.codec import ops
from headrace.codec.column import Octets, Offsets
from headrace.codec.compiled import compiled
from headrace.codec.decimal_kernel import MADE, decimal
from headrace.codec.ops import (
    BOOLEAN,
    BYTES,
    DECIMAL,
    DEFAULT,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    FLOAT,
    FLOAT_TO_DOUBLE,
    INT,
    ITEM,
    JUMP,
    LIST,
    LONG,
    LONG_TO_DOUBLE,
    LONG_TO_FLOAT,
    PRESENT,
    REFUSE,
    RETURN,
    SCALE,
    STRING,
    UNION,
)
from headrace.codec.utf8_kernel import is_utf8

if TYPE_CHECKING:
    Ints = Offsets
    Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]
    Codes = np.ndarray[tuple[int], np.dtype[np.int32]]

STACK = 64


@compiled
def varint(data: Octets, at: int, end: int) -> tuple[int, int, int]:
    """A zigzag number at ``at``: its value, where it ends, and an error or 0."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while at < end:
        byte = np.uint64(data[np.uint64(at)])
        at += 1
        if shift == np.uint64(63) and byte > np.uint64(1):
            return 0, at, ops.OVERLONG
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at, 0  # type: ignore[return-value]
        shift += np.uint64(7)
        if shift > np.uint64(63):
            return 0, at, ops.OVERLONG
    return 0, at, ops.TRUNCATED


@compiled
def decode(
    data: Octets,
    offsets: Offsets,
    places: Ints,
    header: int,
    defaults: int,
    made: int,
    making: Octets,
    program: Rows,
    tables: Ints,
    bases: Ints,
    scopes: Ints,
    flag_bases: Ints,
    flag_scopes: Ints,
    room: Ints,
    cells: Ints,
    flags: Octets,
    counters: Ints,
    errors: Codes,
    error_at: Codes,
    error_path: Codes,
) -> None:
    """Decode the records at ``places``; n of them, each ``header`` bytes in.

    Args:
        data, offsets: the records' bytes, and where each begins; the bytes of defaults begin at ``defaults``.
        made, making: the byte at which values that are written anew begin, and the same bytes to write them; empty
            where the program writes none.
        program, tables: what to do (see :mod:`headrace.codec.ops`).
        bases, flag_bases: where the cells of each column, and the bytes of each flag, begin.
        scopes, flag_scopes, room: the scope of each column and flag; most rows of each scope.
        cells, flags, counters: zeros; filled: values, presence, rows of each scope.
        errors, error_at, error_path: (n,) filled for each record; 0 where it is sound.
    """
    before = np.zeros_like(counters)
    left = np.zeros(STACK, dtype=np.int64)
    first = np.zeros(STACK, dtype=np.int64)
    singles = np.zeros(1, dtype=np.float32)
    single_bits = singles.view(np.uint32)
    doubles = np.zeros(1, dtype=np.float64)
    double_bits = doubles.view(np.int64)
    new = made
    for number in range(len(places)):
        place = np.uint64(places[number])
        start = offsets[place]
        end = offsets[place + np.uint64(1)]
        at = start + header
        for scope in range(len(counters)):
            before[scope] = counters[scope]
        counters[0] += 1
        resume_at, resume_end = np.int64(0), np.int64(0)
        depth = 0
        pc = np.uint64(0)
        error = 0
        past = 0
        while True:
            op = program[pc, ops.OP]
            column = program[pc, ops.COLUMN]
            cell = np.uint64(0)
            if column >= 0:
                cell = np.uint64(bases[np.uint64(column)] + counters[np.uint64(program[pc, ops.SCOPE])] - 1)
            if op == LONG or op == INT:
                value, at, error = varint(data, at, end)
                if error:
                    break
                if op == INT and (value < -2147483648 or value > 2147483647):
                    error = ops.NOT_INT
                    break
                if column >= 0:
                    cells[cell] = value
            elif op == STRING or op == BYTES:
                length, at, error = varint(data, at, end)
                if error:
                    break
                if length < 0:
                    error = ops.NEGATIVE
                    break
                if length > end - at:
                    error = ops.TOO_LONG
                    break
                if op == STRING:
                    seen = np.uint8(0)
                    for k in range(at, at + length):
                        seen |= data[np.uint64(k)]
                    if seen >= 0x80 and not is_utf8(data, at, at + length):
                        error = ops.NOT_UTF8
                        break
                if column >= 0:
                    cells[cell] = at
                    cells[np.uint64(bases[np.uint64(column + 1)]) + cell - np.uint64(bases[np.uint64(column)])] = length
                at += length
            elif op == DOUBLE:
                for past in range(program[pc, ops.A] + 1):
                    if end - at < 8:
                        error = ops.TRUNCATED
                        break
                    bits = np.uint64(0)
                    for k in range(8):
                        bits |= np.uint64(data[np.uint64(at + k)]) << np.uint64(8 * k)
                    if column >= 0:
                        cells[cell] = np.int64(bits)
                        if past < program[pc, ops.A]:
                            c = np.uint64(column + past)
                            cell += np.uint64(bases[c + np.uint64(1)] - bases[c])
                    at += 8
                if error:
                    break
                past = 0
            elif op == FLOAT or op == FLOAT_TO_DOUBLE:
                if end - at < 4:
                    error = ops.TRUNCATED
                    break
                short = np.uint32(0)
                for k in range(4):
                    short |= np.uint32(data[np.uint64(at + k)]) << np.uint32(8 * k)
                at += 4
                if op == FLOAT:
                    if column >= 0:
                        cells[cell] = np.int64(short)
                else:
                    single_bits[0] = short
                    doubles[0] = np.float64(singles[0])
                    cells[cell] = double_bits[0]
            elif op == BOOLEAN:
                if at >= end:
                    error = ops.TRUNCATED
                    break
                if data[np.uint64(at)] > 1:
                    error = ops.NOT_BOOLEAN
                    break
                if column >= 0:
                    cells[cell] = data[np.uint64(at)]
                at += 1
            elif op == UNION:
                value, at, error = varint(data, at, end)
                if error:
                    break
                if value < 0 or value >= program[pc, ops.B]:
                    error = ops.NO_BRANCH
                    break
                pc = np.uint64(tables[np.uint64(program[pc, ops.A] + value)])
                continue
            elif op == JUMP:
                pc = np.uint64(program[pc, ops.A])
                continue
            elif op == PRESENT:
                flag = np.uint64(program[pc, ops.A])
                scope = program[pc, ops.SCOPE]
                flags[np.uint64(flag_bases[flag] + counters[np.uint64(scope)] - 1)] = 1
            elif op == ENUM:
                value, at, error = varint(data, at, end)
                if error:
                    break
                if value < 0 or value >= program[pc, ops.B]:
                    error = ops.NO_SYMBOL
                    break
                if column >= 0:
                    symbol = tables[np.uint64(program[pc, ops.A] + value)]
                    if symbol < 0:
                        error = ops.NO_SYMBOL
                        break
                    cells[cell] = symbol
            elif op == FIXED:
                if program[pc, ops.A] > end - at:
                    error = ops.TRUNCATED
                    break
                if column >= 0:
                    cells[cell] = at
                    cells[np.uint64(bases[np.uint64(column + 1)]) + cell - np.uint64(bases[np.uint64(column)])] = (
                        program[pc, ops.A]
                    )
                at += program[pc, ops.A]
            elif op == LIST:
                left[depth] = 0
                first[depth] = counters[np.uint64(program[pc, ops.B])] if column >= 0 else 0
                depth += 1
                if column >= 0:
                    cells[cell] = first[depth - 1]
            elif op == ITEM:
                if left[depth - 1] == 0:
                    count, at, error = varint(data, at, end)
                    if error:
                        break
                    if count < 0:
                        if count == np.int64(-9223372036854775808):
                            error = ops.TOO_LONG
                            break
                        count = -count
                        size, at, error = varint(data, at, end)
                        if error:
                            break
                        if size < 0:
                            error = ops.NEGATIVE
                            break
                        if size > end - at:
                            error = ops.TOO_LONG
                            break
                    if count == 0:
                        depth -= 1
                        if column >= 0:
                            scope = program[pc, ops.B]
                            cells[
                                np.uint64(bases[np.uint64(column + 1)]) + cell - np.uint64(bases[np.uint64(column)])
                            ] = counters[np.uint64(scope)] - first[depth]
                        pc = np.uint64(program[pc, ops.A])
                        continue
                    # Items of no width cannot be held against the bytes left: as many as the record has bytes, no more.
                    narrowest = program[pc, ops.C]
                    if narrowest > 0:
                        if count > (end - at) // narrowest:
                            error = ops.TOO_LONG
                            break
                    elif count > end - start:
                        error = ops.TOO_LONG
                        break
                    left[depth - 1] = count
                left[depth - 1] -= 1
                if program[pc, ops.B] >= 0:
                    scope = program[pc, ops.B]
                    if counters[np.uint64(scope)] >= room[np.uint64(scope)]:
                        error = ops.TOO_LONG
                        break
                    counters[np.uint64(scope)] += 1
            elif op == LONG_TO_DOUBLE or op == LONG_TO_FLOAT:
                value, at, error = varint(data, at, end)
                if error:
                    break
                if program[pc, ops.A] and (value < -2147483648 or value > 2147483647):
                    error = ops.NOT_INT
                    break
                if op == LONG_TO_DOUBLE:
                    doubles[0] = np.float64(value)
                    cells[cell] = double_bits[0]
                else:
                    singles[0] = np.float32(value)
                    doubles[0] = np.float64(singles[0])
                    cells[cell] = np.int64(single_bits[0])
                if doubles[0] == 9223372036854775808.0 or np.int64(doubles[0]) != value:
                    error = ops.NOT_EXACT
                    break
            elif op == SCALE:
                value, at, error = varint(data, at, end)
                if error:
                    break
                if program[pc, ops.C] and (value < -2147483648 or value > 2147483647):
                    error = ops.NOT_INT
                    break
                times, per = program[pc, ops.A], program[pc, ops.B]
                most = np.int64(9223372036854775807) // times
                if value % per != 0 or (times > 1 and (value > most or value < -most)):
                    error = ops.NOT_EXACT
                    break
                cells[cell] = value // per * times
            elif op == DECIMAL:
                length = program[pc, ops.B]
                if length < 0:
                    length, at, error = varint(data, at, end)
                    if error:
                        break
                    if length < 0:
                        error = ops.NEGATIVE
                        break
                if length > end - at:
                    error = ops.TOO_LONG if program[pc, ops.B] < 0 else ops.TRUNCATED
                    break
                begin, size, error = decimal(data, at, at + length, program[pc, ops.A], program[pc, ops.C], making, new)
                if error:
                    break
                if program[pc, ops.A]:
                    new += MADE
                cells[cell] = begin
                cells[np.uint64(bases[np.uint64(column + 1)]) + cell - np.uint64(bases[np.uint64(column)])] = size
                at += length
            elif op == DEFAULT:
                resume_at, resume_end = at, end
                at = defaults + program[pc, ops.A]
                end = at + program[pc, ops.B]
            elif op == RETURN:
                at, end = resume_at, resume_end
            elif op == REFUSE:
                error = program[pc, ops.A]
                break
            elif op == END:
                if at != end:
                    error = ops.TRAILING
                break
            pc += np.uint64(1)
        errors[number] = error
        if error:
            error_at[number] = at - start
            error_path[number] = program[pc, ops.PATH] + past
            for number_of_flag in range(len(flag_scopes)):
                scope = flag_scopes[number_of_flag]
                for row in range(before[scope], counters[scope]):
                    flags[flag_bases[number_of_flag] + row] = 0
            for number_of_column in range(len(scopes)):
                scope = scopes[number_of_column]
                for row in range(before[scope], counters[scope]):
                    cells[bases[number_of_column] + row] = 0
            for scope in range(len(counters)):
                counters[scope] = before[scope]

"""Exact sums: numbers are added into digits of 32 bits, which wait in words of 64, and are rounded once, when read.

A sum is an array of words; word j counts units of 2^(low + 32 j). Adding a number touches three words and never
carries, and taking the number away again leaves each word as it was: a sum does not depend on the order, and holds
2^30 numbers at least. The idea is that of the long accumulator (Kulisch, 1971), with the range of exponents that came.
"""

from __future__ import annotations

import math

import numpy as np

from headrace.codec.compiled import compiled_in_place

Words = np.ndarray[tuple[int], np.dtype[np.int64]]

DIGIT = 0xFFFFFFFF
"""A digit's bits, and the mask that takes one."""


@compiled_in_place
def put(words: Words, at: int, low: int, sign: int, size: int | np.uint64, exponent: int) -> None:
    """Add ``sign * size * 2**exponent``, where ``size`` is unsigned, to the sum whose first word is at ``at``."""
    shift = exponent - low
    place = at + (shift >> 5)
    by = np.uint64(shift & 31)
    first = (np.uint64(size) & np.uint64(DIGIT)) << by
    second = (np.uint64(size) >> np.uint64(32)) << by
    words[place] += sign * np.int64(first & np.uint64(DIGIT))
    words[place + 1] += sign * np.int64((first >> np.uint64(32)) + (second & np.uint64(DIGIT)))
    words[place + 2] += sign * np.int64(second >> np.uint64(32))


@compiled_in_place
def put_square(words: Words, at: int, low: int, sign: int, size: int, exponent: int) -> None:
    """Add ``sign * (size * 2**exponent)**2``."""
    first = np.uint64(size) & np.uint64(DIGIT)
    second = np.uint64(size) >> np.uint64(32)
    put(words, at, low, sign, first * first, 2 * exponent)
    put(words, at, low, sign, first * second, 2 * exponent + 32)
    put(words, at, low, sign, first * second, 2 * exponent + 32)
    put(words, at, low, sign, second * second, 2 * exponent + 64)


@compiled_in_place
def carried(words: Words, at: int, length: int, digits: Words) -> int:
    """Write the digits of a sum's size, ``length + 1`` of them; gives the sum's sign."""
    for sign in (1, -1):
        carry = np.int64(0)
        for j in range(length):
            total = sign * words[at + j] + carry
            digits[j] = total & np.int64(DIGIT)
            carry = total >> np.int64(32)
        digits[length] = carry
        if carry >= 0:
            return sign
    return 0


@compiled_in_place
def rounded(digits: Words, length: int, low: int) -> float:
    """The double next to a number written in digits; of two as near, the one whose last bit is 0."""
    top = length - 1
    while top >= 0 and digits[top] == 0:
        top -= 1
    if top < 0:
        return 0.0
    high = np.uint64(digits[top])
    middle = np.uint64(digits[top - 1]) if top > 0 else np.uint64(0)
    last = np.uint64(digits[top - 2]) if top > 1 else np.uint64(0)
    by = 0
    while (high << np.uint64(by)) & np.uint64(0x80000000) == np.uint64(0):
        by += 1
    size = ((high << np.uint64(32)) | middle) << np.uint64(by) | (last << np.uint64(by)) >> np.uint64(32)
    below = ((last << np.uint64(by)) & np.uint64(DIGIT)) != np.uint64(0)
    for j in range(top - 2):
        below = below or digits[j] != 0
    kept, rest = size >> np.uint64(11), size & np.uint64(0x7FF)
    half = np.uint64(0x400)
    if rest > half or (rest == half and (below or kept & np.uint64(1) != np.uint64(0))):
        kept += np.uint64(1)
    return math.ldexp(float(kept), low + 32 * (top - 1) - by + 11)


@compiled_in_place
def spread(sums: Words, length: int, squares: Words, squares_length: int, count: int, digits: Words) -> int:
    """Write the digits of ``count * sum(x**2) - sum(x)**2`` from the digits of both sums; gives how many there are."""
    size = max(2 * length, squares_length + 1)
    carry = np.uint64(0)
    for j in range(size):
        part = np.uint64(0) if j >= squares_length else np.uint64(squares[j]) * np.uint64(count)
        # count is less than 2**31, a digit less than 2**32: no sum here reaches 2**64.
        total = part + carry
        digits[j] = np.int64(total & np.uint64(DIGIT))
        carry = total >> np.uint64(32)
    for i in range(length):
        if sums[i] == 0:
            continue
        borrow = np.int64(0)
        carry = np.uint64(0)
        for j in range(size - i):
            part = np.uint64(0) if j >= length else np.uint64(sums[i]) * np.uint64(sums[j])
            low_half = (part & np.uint64(DIGIT)) + (carry & np.uint64(DIGIT))
            carry = (part >> np.uint64(32)) + (carry >> np.uint64(32)) + (low_half >> np.uint64(32))
            left = digits[i + j] - np.int64(low_half & np.uint64(DIGIT)) + borrow
            digits[i + j] = left & np.int64(DIGIT)
            borrow = left >> np.int64(32)
    return size

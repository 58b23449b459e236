"""The kernel's decimals: held to a precision, and from one scale to another, exactly or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.codec import ops
from headrace.codec.compiled import compiled

if TYPE_CHECKING:
    from headrace.codec.column import Octets

MADE = 16
"""Bytes of a decimal that is written anew."""
_LONGEST = 16
_LIMBS = 4
_HALF = np.uint64(32)
_MOST: Any = np.array([[(10**p >> 32 * i) & 0xFFFFFFFF for i in range(_LIMBS)] for p in range(39)], dtype=np.uint64)
"""Precision -> the first number of too many digits, in parts of 32 bits, the lowest first."""
_SMALL: Any = np.array([10**p for p in range(19)], dtype=np.int64)


@compiled
def decimal(
    data: Octets, at: int, end: int, more: int, precision: int, making: Octets, new: int
) -> tuple[int, int, int]:
    """The two's complement number at ``at`` with ``more`` digits after the point (below 0: fewer), if it has at most
    ``precision`` digits then: where its bytes begin, how many there are, and an error or 0.

    Where digits are added or taken off, it is written to ``making`` at ``new``, in 16 bytes.
    """
    negative = at < end and data[np.uint64(at)] >= 0x80
    sign = np.uint8(0xFF) if negative else np.uint8(0)
    while end - at > _LONGEST and data[np.uint64(at)] == sign:
        at += 1
    if end - at > _LONGEST or (end > at and (data[np.uint64(at)] >= 0x80) != negative):
        return 0, 0, ops.TOO_MANY_DIGITS
    if more == 0 and end - at <= 8:
        small = np.int64(-1) if negative else np.int64(0)
        for k in range(at, end):
            small = (small << 8) | np.int64(data[np.uint64(k)])
        if precision < 19 and (small >= _SMALL[precision] or small <= -_SMALL[precision]):
            return 0, 0, ops.TOO_MANY_DIGITS
        return at, end - at, 0
    limbs = np.zeros(_LIMBS, dtype=np.uint64)
    for k in range(_LONGEST):
        byte = data[np.uint64(end - 1 - k)] if k < end - at else sign
        limbs[k // 4] |= np.uint64(byte ^ sign) << np.uint64(8 * (k % 4))
    if negative and _more(limbs, 1, 1):
        return 0, 0, ops.TOO_MANY_DIGITS
    for _ in range(more):
        if _more(limbs, 10, 0):
            return 0, 0, ops.TOO_MANY_DIGITS
    for _ in range(-more):
        if _tenth(limbs):
            return 0, 0, ops.NOT_EXACT
    if not _below(limbs, _MOST[precision]):
        return 0, 0, ops.TOO_MANY_DIGITS
    if more == 0:
        return at, end - at, 0
    carry = np.uint64(1) if negative else np.uint64(0)
    for k in range(MADE):
        byte = np.uint8((limbs[k // 4] >> np.uint64(8 * (k % 4))) & np.uint64(0xFF)) ^ sign
        summed = np.uint64(byte) + carry
        carry = summed >> np.uint64(8)
        making[np.uint64(new + MADE - 1 - k)] = np.uint8(summed & np.uint64(0xFF))
    return new, MADE, 0


@compiled
def _more(limbs: Any, times: int, plus: int) -> bool:
    """Multiply and add; whether the number is too large now."""
    carry = np.uint64(plus)
    for i in range(_LIMBS):
        carry += limbs[i] * np.uint64(times)
        limbs[i] = carry & np.uint64(0xFFFFFFFF)
        carry >>= _HALF
    return bool(carry != 0)


@compiled
def _tenth(limbs: Any) -> bool:
    """Divide by ten; whether something is left over."""
    left = np.uint64(0)
    for i in range(_LIMBS - 1, -1, -1):
        left = (left << _HALF) | limbs[i]
        limbs[i] = left // np.uint64(10)
        left %= np.uint64(10)
    return bool(left != 0)


@compiled
def _below(limbs: Any, most: Any) -> bool:
    for i in range(_LIMBS - 1, -1, -1):
        if limbs[i] != most[i]:
            return bool(limbs[i] < most[i])
    return False

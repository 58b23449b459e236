"""The kernel's look at text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.codec.compiled import compiled

if TYPE_CHECKING:
    from headrace.codec.column import Octets


@compiled
def is_utf8(data: Octets, at: int, end: int) -> bool:
    """Whether the bytes are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF."""
    while at < end:
        byte = data[np.uint64(at)]
        if byte < 0x80:
            at += 1
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= byte <= 0xDF:
            more = 1
        elif 0xE0 <= byte <= 0xEF:
            more = 2
            if byte == 0xE0:
                low = 0xA0
            elif byte == 0xED:
                high = 0x9F
        elif 0xF0 <= byte <= 0xF4:
            more = 3
            if byte == 0xF0:
                low = 0x90
            elif byte == 0xF4:
                high = 0x8F
        else:
            return False
        if at + more >= end:
            return False
        for k in range(1, more + 1):
            follower = data[np.uint64(at + k)]
            if follower < low or follower > high:
                return False
            low, high = 0x80, 0xBF
        at += more + 1
    return True

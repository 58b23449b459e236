"""How many different values, roughly: HyperLogLog (Flajolet and others, 2007), from which values can also go again."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

PRECISION = 12
REGISTERS = 1 << PRECISION
_LONGEST = 64 - PRECISION + 1
_ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)


class Registers:
    """For each register, how many values have each rank in it: the highest is what HyperLogLog keeps."""

    def __init__(self) -> None:
        self._ranks: dict[int, dict[int, int]] = {}
        self._sum = REGISTERS << _LONGEST
        """The sum of 2^-rank over the registers, in units of 2^-53: exact."""

    def add(self, value: Any) -> None:
        """Take in a value."""
        register, rank = _hashed(value)
        ranks = self._ranks.setdefault(register, {})
        before = max(ranks, default=0)
        ranks[rank] = ranks.get(rank, 0) + 1
        self._moved(before, max(before, rank))

    def remove(self, value: Any) -> None:
        """Take a value away that came in before."""
        register, rank = _hashed(value)
        ranks = self._ranks[register]
        before = max(ranks)
        ranks[rank] -= 1
        if not ranks[rank]:
            del ranks[rank]
        self._moved(before, max(ranks, default=0))
        if not ranks:
            del self._ranks[register]

    def estimate(self) -> int:
        """How many different values are in; nearly exact below some thousand."""
        empty = REGISTERS - len(self._ranks)
        estimate = _ALPHA * REGISTERS * REGISTERS / (self._sum / (1 << _LONGEST))
        if estimate <= 2.5 * REGISTERS and empty:
            estimate = REGISTERS * math.log(REGISTERS / empty)
        return round(estimate)

    def _moved(self, before: int, after: int) -> None:
        self._sum += (1 << _LONGEST >> after) - (1 << _LONGEST >> before)


def _hashed(value: Any) -> tuple[int, int]:
    """The register of a value and its rank there: the place of the first bit that is set."""
    number = int.from_bytes(blake2b(repr(value).encode(), digest_size=8).digest())
    rest = number & ((1 << (64 - PRECISION)) - 1)
    return number >> (64 - PRECISION), _LONGEST - rest.bit_length()

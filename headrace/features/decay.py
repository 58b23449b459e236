"""Weights that halve with each half-life, the same bits on every machine, and exact sums of what is weighted.

No ``pow`` is called, whose last bit differs between C libraries: the fraction of a half-life, in 32 bits, is four bytes
with a table each of integers. A weight is the integer part of 62 bits times a power of two.
"""

from __future__ import annotations

from math import isqrt

BITS = 62
_ONE = 1 << BITS


def _tables() -> list[list[int]]:
    """For each byte of a fraction of 32 bits, the highest first: 2 to the power of it, times 2^62."""
    roots = []
    root = 2 << BITS
    for _ in range(32):
        root = isqrt(root << BITS)
        roots.append(root)
    tables = []
    for byte in range(4):
        table = []
        for value in range(256):
            product = _ONE
            for bit in range(8):
                if value >> (7 - bit) & 1:
                    product = product * roots[8 * byte + bit] >> BITS
            table.append(product)
        tables.append(table)
    return tables


_TABLES = _tables()


def weight_of(time: int, half_life: int) -> tuple[int, int]:
    """2^(time / half_life) as an integer and the exponent of its unit.

    The fraction of a half-life is cut to 32 bits.
    """
    whole, rest = divmod(time, half_life)
    fraction = (rest << 32) // half_life
    weight = _TABLES[0][fraction >> 24]
    for byte in (1, 2, 3):
        weight = weight * _TABLES[byte][fraction >> (24 - 8 * byte) & 255] >> BITS
    return weight, whole - BITS


class Scaled:
    """An exact sum of integers times powers of two: no order of adding and taking away shows."""

    def __init__(self) -> None:
        self.units, self.exponent = 0, 0

    def add(self, units: int, exponent: int) -> None:
        """Add ``units * 2**exponent``."""
        if self.units == 0:
            self.units, self.exponent = units, exponent
            return
        if exponent < self.exponent:
            self.units <<= self.exponent - exponent
            self.exponent = exponent
        self.units += units << (exponent - self.exponent)
        if self.units.bit_length() > 4096:
            # What has gone left zeros at the low end.
            zeros = (self.units & -self.units).bit_length() - 1
            self.units >>= zeros
            self.exponent += zeros

    def over(self, other: Scaled) -> float:
        """The double next to this sum divided by another, which is not 0.

        Raises:
            OverflowError: there is none.
        """
        shift = self.exponent - other.exponent
        if shift >= 0:
            return (self.units << shift) / other.units
        return self.units / (other.units << -shift)

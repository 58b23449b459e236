"""Numbers of Avro's numeric types: exactly, or not at all.

The one exception is ``float``, whose 32 bits take the nearest value.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, Inexact, InvalidOperation
from struct import Struct
from typing import Any

import numpy as np

from headrace.codec.misfit import misfit
from headrace.codec.tree import Node

BITS = {"int": 32, "long": 64}
DIGITS = Context(prec=100, Emax=999_999, Emin=-999_999, traps=[Inexact, InvalidOperation])

double_bytes, single_bytes = Struct("<d").pack, Struct("<f").pack


def plain(value: object) -> object:
    """A NumPy scalar as the Python value it holds; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def number(node: Node, value: Any) -> int | float | Decimal:
    """A number as such: no bool, no text; a decimal that is one."""
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
        raise misfit(value, node)
    if isinstance(found, Decimal) and not found.is_finite():
        raise misfit(value, node)
    return found


def integer(node: Node, value: Any) -> int:
    """A whole number within the bits of an int or a long; 3.0 is 3."""
    given = number(node, value)
    limit = 1 << BITS[node.kind] - 1
    if given != given or not -limit <= given < limit:
        raise misfit(value, node, f"it is outside of {BITS[node.kind]} bits")
    found = int(given)
    if found != given:
        raise misfit(value, node, "it has a fraction")
    return found


def double(node: Node, value: Any) -> float:
    """A float as it is; a whole number or a Decimal that a double holds exactly."""
    given = number(node, value)
    if isinstance(given, float):
        return float(given)
    try:
        found = float(given)
    except OverflowError:
        raise misfit(value, node, "it is too large") from None
    if found != given:
        raise misfit(value, node, f"the nearest it can hold is {found!r}; give a float to have it rounded")
    return found


def single(node: Node, value: Any) -> float:
    """The nearest 32-bit number to a float; a whole number or a Decimal that 32 bits hold exactly."""
    if isinstance(value, np.float32):
        return float(value)
    given = number(node, value)
    found = double(node, given)
    try:
        held = single_bytes(found)
    except OverflowError:
        raise misfit(value, node, "it is too large for 32 bits") from None
    if not isinstance(given, float) and Struct("<f").unpack(held)[0] != given:
        raise misfit(value, node, "32 bits do not hold it; give a float to have it rounded")
    return found


def decimal(node: Node, value: Any) -> bytes:
    """A number of no more digits than the type's, as the bytes of its unscaled value."""
    found = number(node, value)
    if isinstance(found, float) and not math.isfinite(found):
        raise misfit(value, node)
    given = Decimal.from_float(found) if isinstance(found, float) else Decimal(found)
    if given and given.adjusted() >= node.precision - node.scale:
        raise misfit(value, node, "it has more digits before the point")
    try:
        scaled = given.scaleb(node.scale, DIGITS)
        unscaled = int(scaled)
    except (Inexact, InvalidOperation):
        raise misfit(value, node, _rounded(found)) from None
    if unscaled != scaled:
        raise misfit(value, node, _rounded(found))
    size = node.size if node.kind == "fixed" else (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    try:
        return unscaled.to_bytes(size, "big", signed=True)
    except OverflowError:
        raise misfit(value, node, f"{node.size} bytes do not hold it") from None


def _rounded(found: object) -> str:
    told = "it would be rounded"
    return f"{told}; give a Decimal, as a float holds few decimals exactly" if isinstance(found, float) else told

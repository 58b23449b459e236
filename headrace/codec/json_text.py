"""JSON text to Python, exactly: a number with a fraction is a Decimal, and a name stands once in an object."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

LONGEST_INT = 4_000
"""Digits of the longest number that becomes an int: Python reads no more by default."""


def parse(text: str | bytes) -> Any:
    """The value that JSON text stands for.

    Raises:
        ValueError: it is not JSON (NaN and Infinity are not), is nested too deep, or an object has a name twice.
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8: byte {e.start + 1} is {e.object[e.start]:#04x}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except InvalidOperation:
        raise ValueError("a number's exponent is too large") from None


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) < LONGEST_INT else Decimal(text)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {json.dumps(twice, ensure_ascii=False)} stands twice in an object")
    return found


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_int=_whole, parse_constant=_no_number, object_pairs_hook=_object)

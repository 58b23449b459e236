"""The operations of the codec's programs: one row of integers each, run by the kernels.

Columns of a row: OP; COLUMN of cells it reads into or writes from, -1 to skip; SCOPE, whose present row it concerns;
A, B, C by operation; PATH, index of the field for messages.
"""

from __future__ import annotations

from typing import Final

OP, COLUMN, SCOPE, A, B, C, PATH = range(7)

END: Final = 0
LONG: Final = 1
INT: Final = 2
BOOLEAN: Final = 3
FLOAT: Final = 4
DOUBLE: Final = 5  # A: how many more follow in the next columns (decode)
BYTES: Final = 6
STRING: Final = 7
FIXED: Final = 8  # A: bytes
ENUM: Final = 9  # A: place of its table (symbol of the writer -> of the reader, -1: none), B: its length
UNION: Final = (
    10  # A: place of its jumps in the table, B: branches (decode); A: flag, B: else go to, C: branch (encode)
)
JUMP: Final = 11  # A: go to
PRESENT: Final = 12  # A: flag
LIST: Final = 13  # B: scope of the items, -1 to skip
ITEM: Final = 14  # A: where the list ends, B: scope of the items, C: fewest bytes of an item
LONG_TO_FLOAT: Final = 15  # A: whether the writer's is an int
LONG_TO_DOUBLE: Final = 16  # A: as above
FLOAT_TO_DOUBLE: Final = 17
REFUSE: Final = 18  # A: error
DEFAULT: Final = 19  # A: place in the defaults, B: bytes
RETURN: Final = 20
BRANCH: Final = 21  # encode: A: byte count of a literal is 1; writes the zigzag of B
"""Encode only."""
SCALE: Final = 22  # A: times, B: per, C: whether the writer's is an int
DECIMAL: Final = 23  # A: digits to append (below 0: to take off), B: bytes of a fixed, -1: a length, C: precision

TRUNCATED: Final = 1
OVERLONG: Final = 2
NEGATIVE: Final = 3
TOO_LONG: Final = 4
NO_BRANCH: Final = 5
NO_SYMBOL: Final = 6
NOT_BOOLEAN: Final = 7
NOT_INT: Final = 8
NOT_UTF8: Final = 9
NO_PLACE: Final = 10
TRAILING: Final = 11
NOT_EXACT: Final = 12
TOO_MANY_DIGITS: Final = 13
OTHER_MEANING: Final = 14

SAYS: dict[int, str] = {
    TRUNCATED: "is cut off by the end of the record",
    OVERLONG: "is a number of more than ten bytes",
    NEGATIVE: "has a negative length",
    TOO_LONG: "is longer than what is left of the record",
    NO_BRANCH: "names a branch its union does not have",
    NO_SYMBOL: "is no symbol of its enum",
    NOT_BOOLEAN: "is neither true nor false",
    NOT_INT: "is no 32-bit integer",
    NOT_UTF8: "is no UTF-8",
    NO_PLACE: "is of a type that the reader's schema does not take",
    NOT_EXACT: "is no value of the reader's type: it would be rounded, or is too large",
    TOO_MANY_DIGITS: "has more digits than its type takes",
    OTHER_MEANING: "means something else to the reader",
}

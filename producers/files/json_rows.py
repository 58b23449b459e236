"""JSON lines: an object a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, Any

import orjson

from headrace.codec.json_text import parse
from headrace.codec.lanes import MISSING, Lane, lane_of_objects
from headrace.codec.misfit import Misfit
from headrace.codec.tree import Field
from headrace.producers.files.batch import LONGEST, BadRow, Batch, Options
from headrace.producers.files.text import blocks

_TINY = re.compile(rb"[eE]-0*(?:[3-9]\d\d|[1-9]\d{3})|0{300}")
_KINDS = {list: "an array", str: "a text", bool: "a boolean", type(None): "null"}


class JsonRows:
    """Objects, as a fast parser gave them and, where that may have rounded, as the exact one does.

    Args:
        objects: the rows.
        sources: the line of each.
        options: how times are read.
    """

    def __init__(self, objects: list[dict[str, Any]], sources: list[bytes], options: Options) -> None:
        self._objects = objects
        self._sources = sources
        self._clock = options.clock
        self._exact: dict[int, dict[str, Any]] = {}
        self.names = frozenset(chain.from_iterable(objects))

    @property
    def height(self) -> int:
        return len(self._objects)

    def lacks(self, f: Field) -> bool:
        return f.name not in self.names

    def lane(self, f: Field) -> Lane | None:
        return lane_of_objects(f, self._objects, self._clock)

    def values(self, f: Field) -> list[Any]:
        return [self._row(index).get(f.name, MISSING) for index in range(self.height)]

    def row(self, index: int) -> Any:
        try:
            return self._row(index)
        except ValueError as e:
            raise Misfit(f"is not JSON: {e}") from None

    def _row(self, index: int) -> dict[str, Any]:
        """One row by the exact parser, which is asked once."""
        found = self._exact.get(index)
        if found is None:
            found = self._exact[index] = parse(self._sources[index])
        return found

    def text(self, index: int) -> bytes:
        return self._sources[index]


def read_json_lines(file: IO[bytes], options: Options, fields: Sequence[Field]) -> Iterator[Batch]:
    """The objects of a file of JSON lines. Empty lines are passed over."""
    for first, lines, cut in blocks(file, options.encoding, universal=False):
        if cut:
            bad = [BadRow(first, f"the line has more than {LONGEST:,} bytes", lines[0])]
            yield Batch(JsonRows([], [], options), [], bad, first)
            continue
        last = first + len(lines) - 1
        found = [as_object(line) for line in lines]
        numbers: Sequence[int] = range(first, first + len(lines))
        bad = []
        if not all(type(row) is dict for row in found):
            bad = [BadRow(n, row, lines[n - first]) for n, row in enumerate(found, first) if isinstance(row, str)]
            numbers = [n for n, row in enumerate(found, first) if type(row) is dict]
            lines = [lines[n - first] for n in numbers]
            found = [row for row in found if type(row) is dict]
        yield Batch(JsonRows(found, lines, options), numbers, bad, last)  # type: ignore[arg-type]


def _names_of(line: bytes) -> int:
    """The names in a line, or a number that no object has: where a blank may stand between a name and its colon."""
    return -1 if b'" ' in line or b'"\t' in line or b'"\r' in line else line.count(b'":')


def _names_in(value: Any) -> int:
    """The names in an object, those in what it holds included."""
    if type(value) is dict:
        return len(value) + sum(map(_names_in, [v for v in value.values() if type(v) in (dict, list)]))
    return sum(map(_names_in, value)) if type(value) is list else 0


def _may_be_rounded(line: bytes) -> bool:
    """Whether a number in the line may have become zero, being none."""
    return (b"e-" in line or b"E-" in line or len(line) > 300) and _TINY.search(line) is not None


def as_object(line: bytes) -> dict[str, Any] | str | None:
    """The object of a line, why it is none, or None where the line is empty."""
    try:
        row = orjson.loads(line)
        # A name that stands twice is in the text, and not in the object; so is a number too small for a double.
        if isinstance(row, dict) and (_names_of(line) != _names_in(row) or _may_be_rounded(line)):
            row = parse(line)
    except ValueError:
        if not line.strip():
            return None
        try:
            row = parse(line)
        except ValueError as e:
            return f"not JSON: {e}"
    if isinstance(row, dict):
        return row
    return f"{_KINDS.get(type(row), 'a number')}, not an object"

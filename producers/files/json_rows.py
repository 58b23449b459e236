"""JSON lines: an object a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import IO, Any

import orjson

from headrace.codec.json_text import parse
from headrace.codec.lanes import MISSING, Lane, lane_of_values
from headrace.codec.misfit import Misfit
from headrace.codec.tree import Field
from headrace.producers.files.batch import LONGEST, BadRow, Batch, Options
from headrace.producers.files.text import blocks

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
        self.names = frozenset(chain.from_iterable(objects))

    @property
    def height(self) -> int:
        return len(self._objects)

    def lacks(self, f: Field) -> bool:
        return f.name not in self.names

    def lane(self, f: Field) -> Lane | None:
        try:
            values = list(map(itemgetter(f.name), self._objects))
        except KeyError:
            values = [row.get(f.name, MISSING) for row in self._objects]
        if f.node.null_branch >= 0 and f.default is None:
            values = [None if v is MISSING else v for v in values]
        lane = lane_of_values(f.node, values, self._clock)
        if lane is None or f.node.kind not in ("float", "double"):
            return lane
        zero = (lane.column == 0).arg_true().to_list()
        if rounded := [i for i in zero if self._may_be_rounded(i)]:
            fits = [True] * self.height if lane.fits is None else lane.fits.to_list()
            for i in rounded:
                fits[i] = False
            return Lane(lane.column, type(lane.column)(fits))
        return lane

    def row(self, index: int) -> Any:
        try:
            return parse(self._sources[index])
        except ValueError as e:
            raise Misfit(f"is not JSON: {e}") from None

    def text(self, index: int) -> bytes:
        return self._sources[index]

    def _may_be_rounded(self, index: int) -> bool:
        """Whether a zero may have been a number too small for a double."""
        line = self._sources[index]
        return b"e-" in line or b"E-" in line or len(line) > 300


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


def as_object(line: bytes) -> dict[str, Any] | str | None:
    """The object of a line, why it is none, or None where the line is empty."""
    try:
        row = orjson.loads(line)
        # A name that stands twice is in the text, and not in the object.
        if isinstance(row, dict) and line.count(b'":') != len(row):
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

"""Events as JSON has them to records: each exactly, or refused with the field and the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from headrace.codec.forms import Form, column_form, json_form
from headrace.codec.json_text import parse
from headrace.codec.lanes import EXACT, Lane
from headrace.codec.misfit import Misfit
from headrace.codec.rows import RowEncoder, Rows
from headrace.codec.tree import Field
from headrace.codec.tree import parse as parse_schema
from headrace.codec.values import form_encoder
from headrace.producers.files.batch import Options
from headrace.producers.files.json_rows import JsonRows
from headrace.producers.http.problem import Problem
from headrace.topics.pipeline_topics import PipelineTopics

FEW = 16
"""Events below which columns cost more than they save."""
Record = tuple[bytes, bytes]
"""Key and value."""


class Encoder:
    """Encodes events of one form as records of a pipeline's raw topic.

    Args:
        topics: the pipeline's topics.
        form: what the events' values look like.
    """

    def __init__(self, topics: PipelineTopics, form: Form) -> None:
        self._codec = topics.codec("raw")
        self._key = topics.pipeline.key
        self._names = frozenset(topics.columns("raw"))
        self._header = self._codec.header()
        self._encode = form_encoder(topics.pipeline.raw, form)
        self._rows = RowEncoder(self._codec, form, key=self._key)
        self._text = self._text_of_key(topics)

    def one(self, event: Any) -> Record:
        """The record of an event.

        Raises:
            Problem: 422: it does not fit the schema.
        """
        try:
            value = self._header + self._encode(event)
        except Misfit as e:
            raise refused(e) from None
        given = event.get(self._key)
        return self._text(given, value).encode(), value

    def many(self, rows: Rows, names: frozenset[str], exact: Callable[[int], Any]) -> list[Record | Problem]:
        """The record of each event, or why it has none.

        Args:
            rows: the events.
            names: fields that some of them have.
            exact: one of them as its form has it; raises Problem or Misfit.
        """
        if rows.height < FEW or not names <= self._names:
            return [self._one(exact, index) for index in range(rows.height)]
        found = self._rows.encode(rows)
        records: list[Record | Problem | None] = [None] * rows.height
        for place, key, value in zip(found.places.tolist(), found.keys, found.values, strict=True):
            assert key is not None and value is not None
            records[place] = (key, value)
        # The one encoder tells the field of those that do not fit.
        return [self._one(exact, i) if record is None else record for i, record in enumerate(records)]

    def _one(self, exact: Callable[[int], Any], index: int) -> Record | Problem:
        try:
            return self.one(exact(index))
        except Misfit as e:
            return refused(e)
        except Problem as e:
            return e

    def _text_of_key(self, topics: PipelineTopics) -> Callable[[Any, bytes], str]:
        """From a key field's value and the record to the text of the key; Problem 422 where it is null."""
        name, codec = self._key, self._codec
        node = next(f.node for f in parse_schema(topics.pipeline.raw).fields if f.name == name)

        def written(_: Any, value: bytes) -> str:
            found = codec.decode([value]).frame(names=[name])[name][0]
            if found is None:
                raise Problem(422, "misfit", f"field {name}, the pipeline's key, is null", field=name)
            return str(found)

        if not node.logical and node.kind in ("string", "enum"):
            return lambda given, value: written(given, value) if given is None else str(given)
        if not node.logical and node.kind in ("int", "long"):
            return lambda given, value: written(given, value) if given is None else str(int(given))
        return written


class JsonEncoder(Encoder):
    """Encodes events in JSON."""

    def __init__(self, topics: PipelineTopics, options: Options | None = None) -> None:
        self.options = options or Options()
        super().__init__(topics, json_form(self.options.clock))

    def array(self, objects: list[dict[str, Any]], exact: Callable[[], list[Any]]) -> list[Record | Problem]:
        """The events of an array.

        Args:
            objects: as a fast parser gave them: numbers may have been rounded.
            exact: the same from the exact parser; called where that matters.
        """
        rows = _ArrayRows(objects, exact, self.options)
        return self.many(rows, rows.names, rows.row)

    def lines(self, objects: list[dict[str, Any]], lines: list[bytes]) -> list[Record | Problem]:
        """The events of lines, as a fast parser gave them, and the lines themselves."""
        rows = _LineRows(objects, lines, self.options)
        return self.many(rows, rows.names, rows.row)


class AvroEncoder(Encoder):
    """Encodes events of Avro files."""

    def __init__(self, topics: PipelineTopics) -> None:
        super().__init__(topics, column_form())


class _LineRows(JsonRows):
    """Lines, whose numbers beyond 64 bits are left to the exact parser: the fast one has rounded them."""

    def lane(self, f: Field) -> Lane | None:
        lane = super().lane(f)
        if lane is None or f.node.kind not in ("float", "double"):
            return lane
        large = lane.column.abs() >= EXACT
        if not large.any():
            return lane
        fits = ~large.fill_null(False)
        return Lane(lane.column, fits if lane.fits is None else pl.Series(lane.fits) & fits)


class _ArrayRows(_LineRows):
    def __init__(self, objects: list[dict[str, Any]], exact: Callable[[], list[Any]], options: Options) -> None:
        super().__init__(objects, [], options)
        self._all: list[Any] | None = None
        self._exact = exact

    def row(self, index: int) -> Any:
        if self._all is None:
            self._all = self._exact()
        return self._all[index]

    def _may_be_rounded(self, index: int) -> bool:
        return True


def refused(e: Misfit) -> Problem:
    """The refusal of an event that does not fit."""
    return Problem(422, "misfit", str(e), field=e.path)


def exactly(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Problem: 400: it is none.
    """
    try:
        return parse(text)
    except ValueError as e:
        raise Problem(400, "not_json", f"the body is not JSON: {e}") from None

"""Events to records: each exactly, or refused with the field and the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace.codec.forms import Form, column_form, json_form
from headrace.codec.json_text import parse
from headrace.codec.misfit import Misfit
from headrace.codec.rows import RowEncoder, Rows
from headrace.codec.tree import parse as parse_schema
from headrace.codec.values import form_encoder
from headrace.producers.files.batch import Options
from headrace.producers.http.problem import Problem
from headrace.producers.http.quick import Doubt, Quick
from headrace.topics.pipeline_topics import PipelineTopics

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
        self._header = self._codec.header()
        self._encode = form_encoder(topics.pipeline.raw, form)
        self._text = self._text_of_key(topics)

    def one(self, event: Any) -> Record:
        """The record of an event.

        Raises:
            Problem: 422: it does not fit the schema.
        """
        try:
            value = self._header + self._encode(event)
        except Misfit as e:
            raise Problem(422, "misfit", str(e), field=e.path) from None
        return self._text(event.get(self._key), value).encode(), value

    def one_or_not(self, event: Any) -> Record | Problem:
        """The record of an event, or why it has none."""
        if not isinstance(event, dict):
            return Problem(422, "not_event", "an event is a JSON object")
        try:
            return self.one(event)
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
            return lambda given, value: given if type(given) is str else written(given, value)
        if not node.logical and node.kind in ("int", "long"):
            return lambda given, value: str(given) if type(given) is int else written(given, value)
        return written


class JsonEncoder(Encoder):
    """Encodes events in JSON."""

    def __init__(self, topics: PipelineTopics, options: Options | None = None) -> None:
        super().__init__(topics, json_form((options or Options()).clock))
        quick = Quick(topics.pipeline.raw)
        # A clock of the user's own reads times in another way.
        self._quick = quick if quick.possible and options is None else None

    def text(self, text: bytes) -> Record:
        """The record of an event's text.

        Raises:
            Problem: 400: it is no JSON; 422: it is no event, or does not fit the schema.
        """
        quick = self._quick
        if quick is not None:
            try:
                event = quick.parse(text)
                if type(event) is dict:
                    value = self._header + quick.encode(event, quick.sure_of_zeros(text))
                    return self._text(event[self._key], value).encode(), value
            except Doubt:
                pass
        found = exactly(text)
        if not isinstance(found, dict):
            raise Problem(422, "not_event", "an event is a JSON object, and many are an array of them, or lines")
        return self.one(found)

    def array(self, text: bytes, check: Callable[[int], object]) -> list[Record | Problem]:
        """The records of the events of an array's text, or why one has none.

        Args:
            text: of the array.
            check: told how many events there are; may raise.

        Raises:
            Problem: 400: it is no JSON.
        """
        quick = self._quick
        exact: list[Any] | None = None
        if quick is not None:
            try:
                given = quick.parse(text)
            except Doubt:
                given = None
            if given is not None:
                check(len(given))
                sure, header, key = quick.sure_of_zeros(text), self._header, self._key
                records: list[Record | Problem] = []
                for index, event in enumerate(given):
                    try:
                        value = header + quick.encode(event, sure)
                        records.append((self._text(event[key], value).encode(), value))
                    except Doubt:
                        exact = exact or exactly(text)
                        records.append(self.one_or_not(exact[index]))
                    except Problem as e:
                        records.append(e)
                return records
        events = exactly(text)
        check(len(events))
        return [self.one_or_not(event) for event in events]

    def lines(self, lines: Sequence[bytes]) -> list[Record | Problem]:
        """The record of each line, or why it has none."""
        records: list[Record | Problem] = []
        for line in lines:
            try:
                records.append(self.text(line))
            except Problem as e:
                # Of several lines, one that is no JSON is that of one event.
                detail = e.detail.replace("the body is", "the line is", 1)
                records.append(Problem(422, e.code, detail, field=e.field))
        return records


class AvroEncoder(Encoder):
    """Encodes events of Avro files."""

    def __init__(self, topics: PipelineTopics) -> None:
        super().__init__(topics, column_form())
        self._rows = RowEncoder(self._codec, column_form(), key=self._key)
        self._names = frozenset(topics.columns("raw"))

    def rows(self, rows: Rows, names: frozenset[str]) -> list[Record | Problem]:
        """The record of each row, or why it has none.

        Args:
            rows: of a file.
            names: fields that some of them have.
        """
        if not names <= self._names:
            # What the schema does not have is refused by name.
            return [self.one_or_not(rows.row(index)) for index in range(rows.height)]
        found = self._rows.encode(rows)
        records: list[Record | Problem | None] = [None] * rows.height
        for place, key, value in zip(found.places.tolist(), found.keys, found.values, strict=True):
            assert key is not None
            assert value is not None
            records[place] = (key, value)
        # The one encoder tells the field of those that do not fit.
        return [self.one_or_not(rows.row(i)) if record is None else record for i, record in enumerate(records)]


def exactly(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Problem: 400: it is none.
    """
    try:
        return parse(text)
    except ValueError as e:
        raise Problem(400, "not_json", f"the body is not JSON: {e}") from None

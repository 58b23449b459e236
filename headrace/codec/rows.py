"""Rows from outside to the records of a topic: each exactly, or refused with the field and the reason.

One encoder decides for a row (:func:`headrace.codec.values.form_encoder`); what stands beside it changes nothing.
Where whole columns plainly fit, they are written as columns (:mod:`headrace.codec.lanes`), to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from headrace.codec import arrow
from headrace.codec.batch import Batch
from headrace.codec.column import BytesColumn
from headrace.codec.decoder import compile_default
from headrace.codec.encoder import Cells, compile_encoder
from headrace.codec.forms import Form
from headrace.codec.frame import fill_from_frame
from headrace.codec.lanes import MISSING, Lane
from headrace.codec.misfit import Misfit, missing
from headrace.codec.topic import TopicCodec
from headrace.codec.tree import Field, Layout
from headrace.codec.types import polars_type_of
from headrace.codec.values import Unknown, field_encoders, form_encoder

Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Fits = np.ndarray[tuple[int], np.dtype[np.bool_]]
Program = np.ndarray[tuple[int, int], np.dtype[np.int64]]


class Rows(Protocol):
    """Rows of a file or a request, as their reader has them."""

    @property
    def height(self) -> int: ...

    def lane(self, f: Field) -> Lane | None:
        """The column of a field, where whole columns can be taken; None: its values are taken one by one."""

    def lacks(self, f: Field) -> bool:
        """Whether no row has the field."""

    def values(self, f: Field) -> Sequence[Any]:
        """A field's values one by one, as their form has them; ``MISSING`` where a row lacks it."""

    def row(self, index: int) -> Any:
        """One row as its form has it.

        Raises:
            Misfit: it is no row at all.
        """


class Refused(NamedTuple):
    """A row that does not fit: its number from 0, the reason, and the kind of fault, which names no value."""

    row: int
    reason: str
    kind: str


class Encoded(NamedTuple):
    """What became of rows.

    Attributes:
        places: int64 (m,), which rows fit, rising.
        keys, values: of their records.
        bad: the others, in order.
    """

    places: Places
    keys: BytesColumn
    values: BytesColumn
    bad: list[Refused]


class RowEncoder:
    """Encodes the rows of one form as records of a topic's first type.

    Args:
        codec: of the topic.
        form: what the rows' values look like.
        key: the field whose text is a record's key, and may not be null; None: keys are null.
        unknown: told of each field that the schema does not have; None: such rows are refused.
    """

    def __init__(
        self, codec: TopicCodec, form: Form, *, key: str | None = None, unknown: Unknown | None = None
    ) -> None:
        self._codec = codec
        self._key = key
        self._layout = Layout.of(codec.schemas[0])
        self._fields = self._layout.root.fields
        self._encode = form_encoder(codec.schemas[0], form, unknown)
        self._encoders = field_encoders(codec.schemas[0], form, unknown)

    def encode(self, rows: Rows) -> Encoded:
        """The records of the rows that fit, and why the others do not."""
        return self._keyed(self._encoded(rows)) if rows.height else _NOTHING

    def _encoded(self, rows: Rows) -> Encoded:
        lanes = self._lanes(rows)
        if not lanes:
            return self._one_by_one(rows, np.arange(rows.height, dtype=np.int64))
        fits = _all_fit(lanes, rows.height)
        parts = {f.name: self._part(f, rows, fits) for f in self._fields if f.name not in lanes}
        fast = np.flatnonzero(fits)
        frame = pl.DataFrame([lane.column.alias(name) for name, lane in lanes.items()])
        frame = frame if len(fast) == rows.height else frame.filter(pl.Series(fits))
        if parts:
            written = self._put_together(
                frame, {name: [part[i] for i in fast.tolist()] for name, part in parts.items()}
            )
        else:
            written = self._codec.encode(frame)
        keys = self._keys_of(frame if self._key in lanes else written)
        whole = Encoded(fast, keys, written, [])
        if len(fast) == rows.height:
            return whole
        return _merged(whole, self._one_by_one(rows, np.flatnonzero(~fits)))

    def _lanes(self, rows: Rows) -> dict[str, Lane]:
        """The fields that whole columns can be taken of."""
        found = {f.name: self._default_lane(f, rows.height) if rows.lacks(f) else rows.lane(f) for f in self._fields}
        return {name: lane for name, lane in found.items() if lane is not None and lane.fits_most}

    def _part(self, f: Field, rows: Rows, fits: Fits) -> list[bytes]:
        """The bytes of one field of each row that fits so far, value by value; rows where it does not are marked."""
        encoder = self._encoders[f.name]
        found = [b""] * rows.height
        for index, value in enumerate(rows.values(f)):
            if not fits[index]:
                continue
            try:
                if value is MISSING:
                    if encoder.default is None:
                        raise missing(f.node)
                    found[index] = encoder.default
                else:
                    found[index] = encoder.encode(value)
            except Misfit:
                fits[index] = False  # the encoder of the row says why
        return found

    def _put_together(self, frame: pl.DataFrame, parts: Mapping[str, list[bytes]]) -> BytesColumn:
        """Records of fields that are written as columns, and of those whose bytes are there."""
        pieces: list[Sequence[bytes | None]] = [[self._codec.header()] * frame.height]
        for written, names in groupby((f.name for f in self._fields), key=lambda name: name in parts):
            if written:
                pieces += [parts[name] for name in names]
            else:
                layout, program = self._run(tuple(names))
                cells = Cells(layout, frame.height)
                fill_from_frame(cells, layout, frame)
                pieces.append(cells.records(program, b"").to_list())
        return BytesColumn.of([b"".join(row) for row in zip(*pieces, strict=True)])

    @cached_property
    def _run(self) -> Callable[[tuple[str, ...]], tuple[Layout, Program]]:
        """Names of fields that follow one another -> where their values lie, and what writes them."""

        @cache
        def run(names: tuple[str, ...]) -> tuple[Layout, Program]:
            layout = Layout.of_fields(self._codec.schemas[0], names)
            return layout, compile_encoder(layout)

        return run

    def _default_lane(self, f: Field, height: int) -> Lane | None:
        dtype = polars_type_of(f.node)
        if f.has_default and f.default is not None:
            return Lane(self._defaults[f.name].new_from_index(0, height), None)
        nulls = pl.repeat(None, height, dtype=dtype, eager=True)
        return Lane(nulls, None if f.node.null_branch >= 0 else pl.repeat(False, height, eager=True))

    @cached_property
    def _defaults(self) -> Mapping[str, pl.Series]:
        """Field -> its default as a column of one row, where that is no null."""
        nothing, first = BytesColumn.of([b""]), np.zeros(1, dtype=np.int64)
        return {
            f.name: arrow.series(
                Batch(compile_default(f, self._layout), self._layout, nothing, first, 0), f.node, f.name
            )
            for f in self._fields
            if f.has_default and f.default is not None
        }

    def _one_by_one(self, rows: Rows, places: Places) -> Encoded:
        header = self._codec.header()
        sound: list[int] = []
        values: list[bytes] = []
        bad: list[Refused] = []
        for index in places.tolist():
            try:
                values.append(header + self._encode(rows.row(index)))
            except Misfit as e:
                bad.append(Refused(index, str(e), e.kind))
            else:
                sound.append(index)
        written = BytesColumn.of(values)
        keys = self._keys_of(written)
        return Encoded(np.array(sound, dtype=np.int64), keys, written, bad)

    def _keys_of(self, rows: pl.DataFrame | BytesColumn) -> BytesColumn:
        """The keys of rows of the schema's types, or of records."""
        if self._key is None:
            return BytesColumn.nulls(len(rows))
        if isinstance(rows, BytesColumn):
            rows = self._codec.decode(rows).frame(names=[self._key])
        return _texts(rows[self._key])

    def _keyed(self, found: Encoded) -> Encoded:
        """What was found, with the records whose key is null among the bad."""
        if self._key is None or found.keys.valid is None:
            return found
        keyed = np.flatnonzero(found.keys.valid)
        reason = f"field {self._key}, the pipeline's key, is null"
        bad = [Refused(row, reason, reason) for row in found.places[~found.keys.valid].tolist()]
        keys, values = found.keys[keyed], found.values[keyed]
        return Encoded(found.places[keyed], keys, values, sorted(found.bad + bad))


_NOTHING = Encoded(np.zeros(0, dtype=np.int64), BytesColumn.nulls(0), BytesColumn.nulls(0), [])


def _all_fit(lanes: Mapping[str, Lane], height: int) -> Fits:
    fits = np.ones(height, dtype=np.bool_)
    for lane in lanes.values():
        if lane.fits is not None:
            fits &= lane.fits.to_numpy()
    return fits


def _texts(column: pl.Series) -> BytesColumn:
    """Values as the text that keys are, null where there is none."""
    if column.dtype == pl.String or column.dtype.is_integer():
        return BytesColumn.of(column.cast(pl.String).cast(pl.Binary).to_list())
    return BytesColumn.of([None if v is None else str(v).encode() for v in column])


def _merged(one: Encoded, other: Encoded) -> Encoded:
    """Two results of different rows as one, in the order of the rows."""
    places = np.concatenate([one.places, other.places])
    order = np.argsort(places, kind="stable")
    keys, values = (BytesColumn.concat(pair)[order] for pair in ((one.keys, other.keys), (one.values, other.values)))
    return Encoded(places[order], keys, values, other.bad)

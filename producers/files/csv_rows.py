"""CSV files (RFC 4180): the first line names the columns; a quote that is not closed costs its own line alone."""

from __future__ import annotations

import csv
import difflib
import json
import sys
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import polars as pl

from headrace.codec.lanes import Lane, lane_of_text
from headrace.codec.misfit import expected
from headrace.codec.tree import Field
from headrace.errors import ConfigError
from headrace.producers.files.batch import BATCH, LONGEST, BadRow, Batch, Options
from headrace.producers.files.text import Lines, blocks

OTHER_DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'"}
NOT_UTF8 = "it has bytes that are not of the file's encoding (UTF-8 unless --encoding says another)"
TOO_LONG = f"the line has more than {LONGEST:,} bytes"


class CsvRows:
    """Rows of text cells.

    Args:
        cells: a column of text for each of the file's.
        options: how times are read.
    """

    def __init__(self, cells: pl.DataFrame, options: Options) -> None:
        self._cells = cells
        self._clock = options.clock
        self.names = frozenset(cells.columns)

    @property
    def height(self) -> int:
        return self._cells.height

    def lacks(self, f: Field) -> bool:
        return f.name not in self.names

    def lane(self, f: Field) -> Lane | None:
        return lane_of_text(f.node, self._cells[f.name], self._clock, empty_is_null=True)

    def values(self, f: Field) -> list[str]:
        return self._cells[f.name].to_list()

    def row(self, index: int) -> dict[str, str]:
        return self._cells.row(index, named=True)

    def text(self, index: int) -> bytes:
        """The cells with the names of their columns, which the line alone does not tell."""
        return json.dumps(self.row(index), ensure_ascii=False).encode()


def read_csv(file: IO[bytes], options: Options, fields: Sequence[Field], *, tabs: bool = False) -> Iterator[Batch]:
    """The rows of a CSV file.

    Raises:
        ConfigError: its header names a column twice, or lacks one that every row must have.
    """
    csv.field_size_limit(min(sys.maxsize, 1 << 40))
    delimiter = options.delimiter or ("\t" if tabs else ",")
    records = _Records(blocks(file, options.encoding, universal=True), delimiter)
    header = records.next()
    if header is None:
        raise ConfigError("the file is empty; its first line must name the columns")
    table = _Table(_names(header, delimiter, fields), options)
    yield from table.batches(records)


@dataclass
class _Record:
    """One record: its first line, its fields (or why it cannot be read), its text, and its last line."""

    line: int
    cells: list[str] | str
    text: bytes
    last: int


class _Records:
    """The records of a CSV text, one at a time, or a block of lines at once where no quote is in it."""

    def __init__(self, found: Iterator[Lines], delimiter: str) -> None:
        self._blocks = found
        self._again: deque[tuple[int, bytes, bool]] = deque()
        self.delimiter = delimiter

    def block(self) -> tuple[Lines, list[list[str]] | None] | None:
        """The next lines, each a record, and their fields, where quotes are in them; None: take :meth:`next`."""
        if self._again:
            return None
        block = next(self._blocks, None)
        if block is None:
            return None
        # A mark at the beginning of a later line is text; the parser of columns would take it for one of a file.
        marked = block.lines[0].startswith(BOM_UTF8)
        if not (block.cut or marked or any(b'"' in line for line in block.lines)):
            return block, None
        try:
            cells = list(csv.reader([line.decode() for line in block.lines], delimiter=self.delimiter, strict=True))
        except (csv.Error, UnicodeDecodeError):
            cells = []
        if len(cells) == len(block.lines) and not block.cut:
            return block, cells
        self._push(block)
        return None

    def next(self) -> _Record | None:
        """The next record; None: there is none."""
        first = self._line()
        if first is None:
            return None
        number, line, cut = first
        if cut:
            return _Record(number, TOO_LONG, line, number)
        if b'"' in line:
            return self._quoted(first)
        try:
            text = line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            return _Record(number, NOT_UTF8, line, number)
        return _Record(number, text.split(self.delimiter) if text else [], line, number)

    @property
    def ended(self) -> bool:
        """Whether no line is left that :meth:`next` alone may take."""
        return not self._again

    def _line(self) -> tuple[int, bytes, bool] | None:
        if not self._again and (block := next(self._blocks, None)) is not None:
            self._push(block)
        return self._again.popleft() if self._again else None

    def _push(self, block: Lines) -> None:
        last = len(block.lines) - 1
        self._again.extend((block.first + i, line, block.cut and i == last) for i, line in enumerate(block.lines))

    def _quoted(self, first: tuple[int, bytes, bool]) -> _Record:
        """A record that may go on over several lines. Where it cannot be read, its first line alone is given up."""
        taken = [first]

        def more() -> Iterator[str]:
            size = 0
            while size < LONGEST:
                line = first if not size else self._line()
                if line is None:
                    return
                if size:
                    taken.append(line)
                size += len(line[1])
                yield line[1].decode()

        number, line, _ = first
        try:
            cells: list[str] | str = next(csv.reader(more(), delimiter=self.delimiter, strict=True))
        except (csv.Error, UnicodeDecodeError) as e:
            self._again.extendleft(reversed(taken[1:]))
            if isinstance(e, UnicodeDecodeError):
                return _Record(number, NOT_UTF8, line, number)
            unclosed = "unexpected end of data" in str(e)
            told = "a quote is opened in this line and never closed" if unclosed else f"not CSV: {e}"
            return _Record(number, told, line, number)
        return _Record(number, cells, b"".join(text for _, text, _ in taken), taken[-1][0])


@dataclass
class _Table:
    """Puts records together to batches of rows."""

    names: list[str]
    options: Options
    cells: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    done: int = 0

    def batches(self, records: _Records) -> Iterator[Batch]:
        """Batches of the rows of all records."""
        while True:
            block = records.block()
            if block is not None:
                lines, cells = block
                yield self._at_once(lines, records.delimiter) if cells is None else self._of_cells(lines, cells)
                continue
            record = records.next()
            while record is not None:
                self._take(record)
                if len(self.cells) + len(self.bad) >= BATCH or records.ended:
                    break
                record = records.next()
            if self.cells or self.bad:
                yield self._batch()
            if record is None:
                return

    def _take(self, record: _Record) -> None:
        self.done = record.last
        if isinstance(record.cells, str):
            self.bad.append(BadRow(record.line, record.cells, record.text))
        elif len(record.cells) == len(self.names):
            self.cells.append(record.cells)
            self.lines.append(record.line)
        elif record.cells:
            self.bad.append(BadRow(record.line, _count(len(record.cells), self.names), record.text))

    def _batch(self) -> Batch:
        columns = zip(*self.cells, strict=True) if self.cells else ([] for _ in self.names)
        frame = pl.DataFrame(
            [pl.Series(name, values, dtype=pl.String) for name, values in zip(self.names, columns, strict=True)]
        )
        batch = Batch(CsvRows(frame, self.options), self.lines, self.bad, self.done)
        self.cells, self.lines, self.bad = [], [], []
        return batch

    def _of_cells(self, block: Lines, cells: list[list[str]]) -> Batch:
        """Records of a line each."""
        for number, (line, row) in enumerate(zip(block.lines, cells, strict=True), block.first):
            self._take(_Record(number, row, line, number))
        return self._batch()

    def _at_once(self, block: Lines, delimiter: str) -> Batch:
        """Lines without quotes, as columns at once; those that have another number of fields are told."""
        mark, wanted = delimiter.encode(), len(self.names) - 1
        last = block.first + len(block.lines) - 1
        sources, numbers, bad = block.lines, range(block.first, last + 1), self.bad
        if not (_is_text(block.lines) and all(line.count(mark) == wanted and line.strip() for line in block.lines)):
            fitting = []
            for number, line in enumerate(block.lines, block.first):
                if not line.rstrip(b"\r\n"):
                    continue
                if not _is_text([line]):
                    bad.append(BadRow(number, NOT_UTF8, line))
                elif line.count(mark) != wanted:
                    bad.append(BadRow(number, _count(line.count(mark) + 1, self.names), line))
                else:
                    fitting.append(number)
            sources = [block.lines[n - block.first] for n in fitting]
            numbers = fitting  # type: ignore[assignment]
        frame = _frame(sources, self.names, delimiter)
        self.bad = []
        return Batch(CsvRows(frame, self.options), numbers, bad, last)


def _frame(lines: list[bytes], names: Sequence[str], delimiter: str) -> pl.DataFrame:
    """Columns of text from lines that have no quotes."""
    columns = dict.fromkeys(names, pl.String())
    if not lines:
        return pl.DataFrame(schema=columns)
    return pl.read_csv(
        b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines),
        has_header=False,
        schema=columns,
        separator=delimiter,
        quote_char=None,
        empty_string_is_null=False,
    )


def _is_text(lines: Sequence[bytes]) -> bool:
    try:
        b"".join(lines).decode()
    except UnicodeDecodeError:
        return False
    return True


def _count(fields: int, names: Sequence[str]) -> str:
    return f"{fields} fields, the header names {len(names)}"


def _names(header: _Record, delimiter: str, fields: Sequence[Field]) -> list[str]:
    """The names of the columns.

    Raises:
        ConfigError: a name stands twice, or a field that every row must have has no column.
    """
    names = header.cells
    if isinstance(names, str):
        raise ConfigError(f"line {header.line}: {names}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"the header names {', '.join(map(repr, twice))} twice")
    for f in fields:
        if f.name in names and f.node.kind in ("array", "map", "record"):
            raise ConfigError(f"field {f.name} is {expected(f.node)}, which CSV cannot hold: use JSON lines or Parquet")
    lacking = [f.name for f in fields if not f.has_default and f.node.null_branch < 0 and f.name not in names]
    if not lacking and any(f.name in names for f in fields):
        return names
    told = f"there is no column for {', '.join(lacking) or 'any field'}; the header names {', '.join(names)}"
    for other, called in OTHER_DELIMITERS.items():
        if (
            other != delimiter
            and {f.name for f in fields} & set(header.text.decode().strip().split(other))
            and len(names) == 1
        ):
            raise ConfigError(f"the columns are separated by {called}, not by {delimiter!r}: say --delimiter")
    near = ", ".join(f"{n!r} for {f!r}" for f in lacking for n in names if _same(n, f))
    raise ConfigError(told + (f" (names must be the same: {near})" if near else ""))


def _same(name: str, wanted: str) -> bool:
    return bool(difflib.get_close_matches(name.strip().casefold(), [wanted.casefold()], cutoff=0.85))

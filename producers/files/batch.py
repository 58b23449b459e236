"""What a reader of files gives: rows in batches, each with the line it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from headrace.codec.moments import DEFAULT, Clock
from headrace.codec.rows import Rows
from headrace.errors import ConfigError

BATCH = 10_000
"""Rows of a batch."""
LONGEST = 16 << 20
"""Characters of the longest line, or quoted field, that is read; a record of Kafka's is shorter by far."""


class BadRow(NamedTuple):
    """A row that could not be used: its line (CSV, JSON lines) or row number, from 1, why, and its text.

    ``kind`` says why without naming a value, for those who count; empty: as the reason.
    """

    line: int
    reason: str
    text: bytes
    kind: str = ""


class Sources(Rows, Protocol):
    """Rows of a file, and the text of each for its dead letter."""

    @property
    def names(self) -> frozenset[str]:
        """The fields that some row has."""

    def text(self, index: int) -> bytes:
        """A row as the file has it, or as JSON where that is no text."""


class Batch(NamedTuple):
    """Rows of a file, not yet held to the schema.

    Attributes:
        rows: the rows.
        lines: the line or row number of each, from 1.
        bad: what could not be read as rows.
        done: lines or rows of the file that are behind this batch and those before it: where to go on.
    """

    rows: Sources
    lines: Sequence[int]
    bad: list[BadRow]
    done: int


@dataclass(frozen=True)
class Options:
    """How a file is to be read, as far as it does not say so itself.

    Attributes:
        encoding: of text; None: UTF-8, or what a byte order mark says.
        delimiter: between the fields of a CSV file; None: a comma, or a tab in a file that ends in .tsv.
        clock: zones, formats and units of times.
    """

    encoding: str | None = None
    delimiter: str | None = None
    clock: Clock = field(default=DEFAULT)


class Damaged(ConfigError):
    """A file that cannot be read any further."""

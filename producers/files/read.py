"""A file by its ending: which reader takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from headrace.codec.forms import TIMES, Form, column_form, json_form, text_form
from headrace.codec.tree import Field, Node, parse
from headrace.errors import ConfigError
from headrace.producers.files.batch import Batch, Options
from headrace.producers.files.text import COMPRESSED, STDIN, opened

FORMATS = ("csv", "tsv", "jsonl", "ndjson", "parquet", "arrow", "feather", "avro")
"""Endings that are read."""
COLUMNAR = ("parquet", "arrow", "feather")
"""Formats that are read from several places of a file: not from standard input, not from a compressed file."""


def format_of(path: Path, declared: str | None = None) -> str:
    """The format of a file: as declared, or by its ending without that of a compression.

    Raises:
        ConfigError: there is no such format, or no such file.
    """
    names = [suffix.lower() for suffix in path.suffixes]
    if names and names[-1] in COMPRESSED:
        names.pop()
    found = declared or (names[-1].removeprefix(".") if names else "")
    if path == STDIN and declared is None:
        raise ConfigError("say which format standard input has: --format csv, for instance")
    if found not in FORMATS:
        told = f"cannot read .{found}" if found else "cannot read a file without an ending"
        raise ConfigError(f"{path}: {told}; use {', '.join('.' + f for f in FORMATS)}, or --format")
    if path != STDIN and not path.is_file():
        raise ConfigError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
    if path == STDIN and found in COLUMNAR:
        raise ConfigError(f"{found} is not read from standard input: give a file")
    return found


def form_of(format: str, options: Options, schema: dict[str, Any]) -> Form:
    """What values look like in files of a format.

    Raises:
        ConfigError: something is declared of a field that is no time of the schema.
    """
    times = list(_times(parse(schema)))
    declared = {*options.clock.formats, *options.clock.units} - {"", *times}
    if declared:
        told = f"a format or a unit is declared for {', '.join(sorted(declared))}"
        raise ConfigError(f"{told}; the times of the schema are {', '.join(times) or 'none'}")
    if format in ("csv", "tsv"):
        return text_form(options.clock)
    return json_form(options.clock) if format in ("jsonl", "ndjson") else column_form(options.clock)


def _times(node: Node) -> Iterator[str]:
    """The paths of a schema's timestamps."""
    if node.logical in TIMES:
        yield node.path
    for f in node.fields:
        yield from _times(f.node)


def read_file(path: Path, format: str, schema: dict[str, Any], options: Options) -> Iterator[Batch]:
    """The rows of a file, in batches.

    Args:
        path: the file; ``-`` for standard input.
        format: one of ``FORMATS``.
        schema: of the events.
        options: how to read it.

    Raises:
        ConfigError: it cannot be read, or not as rows of the schema; the message begins with the file's name.
    """
    fields = parse(schema).fields
    try:
        if format in COLUMNAR:
            from headrace.producers.files.columns import read_arrow, read_parquet

            read = read_parquet if format == "parquet" else read_arrow
            yield from read(path, options, fields)
            return
        with opened(path) as file:
            yield from _reader(format, schema)(file, options, fields)
    except ConfigError as e:
        raise type(e)(f"{path}: {e}") from None


def _reader(format: str, schema: dict[str, Any]) -> Callable[[IO[bytes], Options, Sequence[Field]], Iterator[Batch]]:
    if format in ("csv", "tsv"):
        from headrace.producers.files.csv_rows import read_csv

        return partial(read_csv, tabs=format == "tsv")
    if format == "avro":
        from headrace.producers.files.avro_rows import read_avro

        return partial(read_avro, schema=schema)
    from headrace.producers.files.json_rows import read_json_lines

    return read_json_lines

"""Parquet and Arrow files: typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from headrace.codec.frame_rows import FrameRows
from headrace.codec.tree import Field
from headrace.errors import ConfigError
from headrace.producers.files.batch import BATCH, Batch, Damaged, Options


def read_parquet(path: Path, options: Options, fields: Sequence[Field]) -> Iterator[Batch]:
    """The rows of a Parquet file."""
    return _scanned(pl.scan_parquet(path, glob=False), "Parquet", options, fields)


def read_arrow(path: Path, options: Options, fields: Sequence[Field]) -> Iterator[Batch]:
    """The rows of an Arrow file (IPC, Feather 2)."""
    return _scanned(pl.scan_ipc(path, glob=False), "Arrow", options, fields)


def _scanned(scan: pl.LazyFrame, kind: str, options: Options, fields: Sequence[Field]) -> Iterator[Batch]:
    try:
        names = scan.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as e:
        raise ConfigError(f"not a {kind} file: {_first_line(e)}") from None
    check_names(names, fields)
    done = 0
    try:
        for frame in scan.collect_batches(chunk_size=BATCH, maintain_order=True, lazy=True):
            for start in range(0, frame.height, BATCH):
                rows = frame.slice(start, BATCH)
                numbers = range(done + 1, done + rows.height + 1)
                done += rows.height
                yield Batch(FrameRows(rows, fields, options.clock), numbers, [], done)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as e:
        raise Damaged(f"the file is damaged after row {done:,}: {_first_line(e)}") from None


def check_names(names: Sequence[str], fields: Sequence[Field]) -> None:
    """Refuse a file that lacks a field which every row must have.

    Raises:
        ConfigError: so it is; the message names the fields.
    """
    lacking = [f.name for f in fields if not f.has_default and f.node.null_branch < 0 and f.name not in names]
    if lacking:
        raise ConfigError(f"there is no column for {', '.join(lacking)}; the file has {', '.join(names)}")


def _first_line(e: BaseException) -> str:
    return str(e).partition("\n")[0]

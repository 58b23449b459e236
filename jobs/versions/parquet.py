"""Records in Parquet files: where each stood, its exact bytes, and what they say as columns.

``_partition`` int32, ``_offset`` int64, ``_key`` and ``_value`` binary, then the columns of the topic's first record
type, null where a record is of another type or damaged. A field that has the name of one of the four is ``_name_``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.codec.arrow import binary
from headrace.codec.column import BytesColumn
from headrace.codec.topic import TopicCodec
from headrace.codec.types import polars_schema
from headrace.jobs.hash_tree import TreeBuilder
from headrace.jobs.versions.manifest import DataFile, Partition
from headrace.kafka.log import Chunk, TopicPartition

FILE_RECORDS = 500_000
GROUP_RECORDS = 65_536
GROUP_BYTES = 64 << 20
"""A row group is closed at so many records or bytes: what bounds the memory of writing and reading."""
OWN: dict[str, pl.DataType] = {
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_key": pl.Binary(),
    "_value": pl.Binary(),
}
HASHED_AT_ONCE = 1 << 20


class PartitionWriter:
    """Writes one partition's records to ``p<partition>-<first offset, 12 digits>.parquet``, a new file each so many.

    Args:
        folder: where the files go.
        partition: its number.
        codec: the topic's.
        file_records: records of a file.
    """

    def __init__(self, folder: Path, partition: int, codec: TopicCodec, file_records: int = FILE_RECORDS) -> None:
        self._folder = folder
        self._partition = partition
        self._codec = codec
        self._file_records = file_records
        self._columns = decoded_columns(codec.schemas[0])
        self._schema = pl.DataFrame(schema={**OWN, **self._columns}).to_arrow(compat_level=_OLDEST).schema
        self._waiting: list[Chunk] = []
        self._tree = TreeBuilder()
        self._files: list[DataFile] = []
        self._open: pq.ParquetWriter | None = None
        self._path = Path()
        self._first = self._last = self._count = 0
        self.undecoded = 0

    def add(self, chunk: Chunk) -> None:
        """Take the next records."""
        while len(chunk):
            room = self._file_records - self._count - sum(map(len, self._waiting))
            self._waiting.append(chunk.slice(0, room))
            chunk = chunk.slice(room)
            waiting = sum(map(len, self._waiting))
            full = self._count + waiting == self._file_records
            if full or waiting >= GROUP_RECORDS or sum(map(_bytes, self._waiting)) >= GROUP_BYTES:
                self._write_group()
            if self._count == self._file_records:
                self._close_file()

    def close(self) -> Partition:
        """Write what is left, and tell of it all."""
        self._write_group()
        self._close_file()
        tree = self._tree.tree()
        blocks = [b.hex() for b in tree.blocks]
        return Partition(
            partition=self._partition, records=tree.count, block=tree.block, blocks=blocks, files=self._files
        )

    def abandon(self) -> None:
        """Let go of the open file."""
        if self._open is not None:
            self._open.close()

    def _write_group(self) -> None:
        if not self._waiting:
            return
        offsets = np.concatenate([c.offsets for c in self._waiting])
        keys = BytesColumn.concat([c.keys for c in self._waiting])
        values = BytesColumn.concat([c.values for c in self._waiting])
        self._waiting = []
        if self._open is None:
            self._first, self._count = int(offsets[0]), 0
            self._path = self._folder / f"p{self._partition}-{self._first:012d}.parquet"
            self._open = pq.ParquetWriter(self._path, self._schema, compression="zstd", **self._encodings())
        self._open.write_table(self._table(offsets, keys, values), row_group_size=len(offsets))
        self._tree.add(keys, values)
        self._count += len(offsets)
        self._last = int(offsets[-1])

    def _table(self, offsets: np.ndarray[Any, Any], keys: BytesColumn, values: BytesColumn) -> pa.Table:
        decoded = self._codec.decode(values)
        places = decoded.places()
        n = len(offsets)
        self.undecoded += n - len(places)
        said = decoded.frame()
        said = said.select(
            pl.col(name).alias(column) for name, column in named(said.columns).items() if column in self._columns
        )
        if len(places) < n:
            rows = np.full(n, len(places), dtype=np.uint32)
            rows[places] = np.arange(len(places), dtype=np.uint32)
            index = pl.Series(rows)
            said = said.select(pl.all().gather(index.set(index == len(places), None)))
        own = pl.DataFrame(
            [
                pl.repeat(self._partition, n, dtype=pl.Int32, eager=True).alias("_partition"),
                pl.Series("_offset", offsets),
                binary(keys).alias("_key"),
                binary(values).alias("_value"),
            ]
        )
        return pl.concat([own, said], how="horizontal").to_arrow(compat_level=_OLDEST).cast(self._schema)

    def _encodings(self) -> dict[str, Any]:
        """Offsets rise, values differ: each has an encoding of its own; all else goes by dictionary where it pays."""
        return {
            "use_dictionary": [name for name in self._schema.names if name not in ("_offset", "_value")],
            "column_encoding": {"_offset": "DELTA_BINARY_PACKED"},
        }

    def _close_file(self) -> None:
        if self._open is None:
            return
        self._open.close()
        self._open = None
        self._files.append(
            DataFile(
                name=self._path.name,
                records=self._count,
                first=self._first,
                last=self._last,
                bytes=self._path.stat().st_size,
                sha256=file_digest(self._path),
            )
        )
        self._count = 0


def decoded_columns(schema: dict[str, Any]) -> dict[str, pl.DataType]:
    """Column name -> dtype of the decoded columns, those that Parquet cannot hold (a record of no fields) left out."""
    types = polars_schema(schema)
    return {column: types[name] for name, column in named(types).items() if _holds(types[name])}


def named(fields: Sequence[str] | dict[str, Any]) -> dict[str, str]:
    """Field -> the name of its column."""
    return {name: f"{name}_" if name in OWN else name for name in fields}


def records_of(path: Path, tp: TopicPartition) -> Iterator[Chunk]:
    """The records of one file, in order.

    Raises:
        OSError: the file is not there, or cannot be read.
        ValueError: it is no Parquet file of this kind, or was damaged.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(GROUP_RECORDS, columns=["_offset", "_key", "_value"]):
            offsets = batch.column("_offset").to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
            yield Chunk(tp, offsets, _column(batch.column("_key")), _column(batch.column("_value")))


def file_digest(path: Path) -> str:
    """sha-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _column(array: Any) -> BytesColumn:
    if not pa.types.is_large_binary(array.type):
        raise ValueError(f"its bytes are {array.type}, not large_binary")
    _, starts, data = array.buffers()
    offsets = np.frombuffer(starts, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    octets = np.zeros(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    return BytesColumn(octets, offsets, valid)


def _bytes(chunk: Chunk) -> int:
    return sum(int(c.offsets[-1] - c.offsets[0]) for c in (chunk.keys, chunk.values))


def _holds(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return bool(dtype.fields) and all(_holds(f.dtype) for f in dtype.fields)  # type: ignore[arg-type]
    return _holds(dtype.inner) if isinstance(dtype, pl.List) else True  # type: ignore[arg-type]


_OLDEST = pl.CompatLevel.oldest()

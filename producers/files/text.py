"""The lines of a text file: decompressed, decoded, none longer than a stated length."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from headrace.errors import ConfigError
from headrace.producers.files.batch import BATCH, LONGEST, Damaged

STDIN = Path("-")
BLOCK = 1 << 20
"""Bytes that are read at a time."""
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Lines(NamedTuple):
    """Some lines of a text in UTF-8, with their ends.

    Attributes:
        first: number of the first, from 1.
        lines: the lines; bytes that are none of the text's encoding stay as they are.
        cut: whether the last was cut for its length; what followed in it is passed over.
    """

    first: int
    lines: list[bytes]
    cut: bool = False


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, decompressed; ``-`` is standard input.

    Raises:
        Damaged: what is read is no whole compressed file.
    """
    with open(0 if path == STDIN else path, "rb", closefd=path != STDIN) as raw:
        start = raw.peek(8)[:8]
        ending = next((e for magic, e in _MAGIC.items() if start.startswith(magic)), "")
        try:
            with _decompressed(raw, ending) as file:
                yield file
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as e:
            if not ending or (isinstance(e, OSError) and e.errno is not None):
                raise
            raise Damaged(f"the compressed file is damaged: {e}") from None


def _decompressed(raw: IO[bytes], ending: str) -> Any:
    match ending:
        case ".gz":
            return gzip.GzipFile(fileobj=raw)
        case ".bz2":
            return bz2.BZ2File(raw)
        case ".xz":
            return lzma.LZMAFile(raw)
        case ".zst":
            from backports import zstd  # the standard library's from Python 3.14 on

            return zstd.ZstdFile(raw)
    return raw


def blocks(file: IO[bytes], encoding: str | None, *, universal: bool) -> Iterator[Lines]:
    """The lines of a text, some at a time.

    Args:
        file: bytes.
        encoding: of the text; None: UTF-8, or what its byte order mark says.
        universal: whether a carriage return alone ends a line, too.

    Raises:
        ConfigError: there is no such encoding, or the text is UTF-16 and says so nowhere.
    """
    number, rest, skipping = 1, b"", False
    for block in _utf8(file, encoding):
        found = _split(rest + block, universal=universal)
        rest = found.pop() if found and not found[-1].endswith(b"\n") else b""
        if skipping and found:
            del found[0]
            skipping = False
        for start in range(0, len(found), BATCH):
            part = found[start : start + BATCH]
            yield Lines(number, part)
            number += len(part)
        if skipping:
            rest = b""
        elif len(rest) > LONGEST:
            yield Lines(number, [rest[:1000]], cut=True)
            number, rest, skipping = number + 1, b"", True
    if rest and not skipping:
        yield Lines(number, [rest])


def _split(text: bytes, *, universal: bool) -> list[bytes]:
    if universal:
        return text.splitlines(keepends=True)
    found = text.split(b"\n")
    last = found.pop()
    lines = [line + b"\n" for line in found]
    return [*lines, last] if last else lines


def _utf8(file: IO[bytes], encoding: str | None) -> Iterator[bytes]:
    """A text in UTF-8, block by block."""
    start = file.read(BLOCK)
    mark, name = _encoding(start[:4], encoding)
    block = start[len(mark) :]
    if name == "utf-8":
        while block:
            yield block
            block = file.read(BLOCK)
        return
    strict = name.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(name)("strict" if strict else "surrogateescape")
    done = len(mark)
    while True:
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as e:
            raise Damaged(f"after byte {done:,}: the text is not {name}: {e.reason}") from None
        if text:
            yield octets(text)
        if not block:
            return
        done += len(block)
        block = file.read(BLOCK)


def _encoding(start: bytes, declared: str | None) -> tuple[bytes, str]:
    """The byte order mark that a text begins with, and its encoding."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return mark, name
    if declared is not None:
        try:
            return b"", codecs.lookup(declared).name
        except LookupError:
            raise ConfigError(f"there is no encoding {declared!r}; use a name like utf-8, latin-1, cp1252") from None
    if len(start) > 1 and 0 in start[:2]:
        name = "utf-16-be" if start[0] == 0 else "utf-16-le"
        raise ConfigError(f"the text is not UTF-8; it begins like {name}: say --encoding {name}")
    return b"", "utf-8"


def octets(text: str) -> bytes:
    """Text as the file's bytes, or in UTF-8 where it came in another encoding."""
    return text.encode(errors="surrogateescape")

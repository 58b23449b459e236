"""Bring every part of the stack into the cache, once, with its digest checked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from headrace.embedded.cache import Cache, cache_folder
from headrace.embedded.parts import Part, PartList, read_parts
from headrace.embedded.progress import progress
from headrace.errors import DownloadError

THREADS = 4
UNPACKED_RATIO = 1.2  # of the archive's size; it was made of jars, which do not shrink much


class Source(Protocol):
    """Where parts come from: writes one below a folder, telling the bytes as they arrive."""

    def __call__(self, part: Part, folder: Path, advance: Callable[[int], None]) -> Path: ...


@dataclass(frozen=True)
class Installed:
    """Where the stack's Java programs lie."""

    kafka: tuple[Path, ...]
    """Kafka's class path."""
    registry: Path
    """The registry's folder, with its ``quarkus-run.jar``."""
    search: tuple[Path, ...] = ()
    """The search engine's class path; empty where it was not asked for."""
    search_http: tuple[Path, ...] = ()
    """The jars of the module by which it speaks HTTP."""


def install(
    *,
    search: bool = False,
    cache: Cache | None = None,
    parts: PartList | None = None,
    source: Source | None = None,
    console: Console | None = None,
) -> Installed:
    """Download what is not in the cache yet; quick and silent when all of it is.

    The search engine's parts are fetched only where ``search`` asks for them.
    Several processes may call this at once: one downloads, the others wait for it. An interrupted
    download goes on with the files that are missing.

    Raises:
        DownloadError: no network, no room, or a file is not what its digest says.
    """
    cache = cache or Cache(cache_folder())
    parts = parts or read_parts()
    if not search:
        parts = PartList(parts.kafka, parts.registry)
    if _wanted(cache, parts):
        with cache.locked():
            wanted = _wanted(cache, parts)  # another process may have fetched them while this one waited
            if wanted:
                _download(cache, wanted, _names(wanted, parts), source or _maven, console or Console(stderr=True))
                cache.missing(_jars(parts))  # hashes and remembers
            cache.unpack(parts.registry)
    kafka, engine, http = (tuple(map(cache.path, jars)) for jars in (parts.kafka, parts.search, parts.search_http))
    return Installed(kafka, cache.unpacked(parts.registry), engine, http)


def _wanted(cache: Cache, parts: PartList) -> list[Part]:
    archive = [] if cache.unpacked(parts.registry).exists() else [parts.registry]
    return cache.missing([*archive, *_jars(parts)])


def _jars(parts: PartList) -> list[Part]:
    """Each jar once: two servers may use the same."""
    return list(dict.fromkeys([*parts.kafka, *parts.search, *parts.search_http]))


def _names(wanted: list[Part], parts: PartList) -> str:
    groups = {
        "Kafka and the schema registry": {*parts.kafka, parts.registry},
        "the search engine": {*parts.search, *parts.search_http} - {*parts.kafka},
    }
    return ", ".join(name for name, group in groups.items() if group & {*wanted})


def _download(cache: Cache, wanted: list[Part], names: str, source: Source, console: Console) -> None:
    cache.require_space(int(sum(part.size for part in wanted) * (1 + UNPACKED_RATIO)))
    stop = threading.Event()
    with progress(console, names, wanted, cache.root) as show, ThreadPoolExecutor(THREADS) as pool:

        def advance(count: int) -> None:
            if stop.is_set():
                raise _StoppedError
            show(count)

        def fetch(part: Part) -> None:
            cache.add(part, source(part, cache.partial / part.sha256[:12], advance))

        downloads = [pool.submit(fetch, part) for part in wanted]
        try:
            for download in as_completed(downloads):
                download.result()
        except BaseException:  # an error or Ctrl-C: the threads stop at their next bytes
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _StoppedError(DownloadError):
    """Another download failed; this one was given up."""


def _maven(part: Part, folder: Path, advance: Callable[[int], None]) -> Path:
    from headrace.embedded import maven  # jgo takes a while to import and is needed once

    return maven.fetch(part, folder, advance)

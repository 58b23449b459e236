"""The cache holds only files that are whole and match their digests."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from rich.console import Console

from headrace.embedded import maven
from headrace.embedded.cache import Cache, cache_folder
from headrace.embedded.download import Installed, install
from headrace.embedded.parts import PARTS_FILE, Part, PartList, read_parts
from headrace.errors import DownloadError


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        entry = tarfile.TarInfo("quarkus-run.jar")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"main"))
    return file.getvalue()


CONTENT = {"one": b"first jar", "two": b"second jar", "app": archive(), "engine": b"engine", "http": b"http module"}


def part(name: str, packaging: str = "jar") -> Part:
    content = CONTENT[name]
    return Part("org.test", name, "1.0", "", packaging, hashlib.sha256(content).hexdigest(), len(content))


PARTS = PartList(
    (part("one"), part("two")), part("app", "tar.gz"), search=(part("engine"), part("two")), search_http=(part("http"),)
)


class Maven:
    """Serves ``content`` and remembers what was asked for."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, part: Part, folder: Path, advance: Callable[[int], None]) -> Path:
        self.asked.append(part.artifact)
        if part.artifact not in self.content:
            raise DownloadError(f"{part.coordinate}: no network")
        folder.mkdir()
        path = folder / "arriving"
        path.write_bytes(self.content[part.artifact])
        advance(path.stat().st_size)
        return path


class Screen:
    """A console that keeps what is printed on it."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.console = Console(file=self._file)

    def lines(self) -> list[str]:
        return self._file.getvalue().splitlines()


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


INSTALLED = {
    "lock",
    "checked.json",
    "jars/org/test/one/1.0/one-1.0.jar",
    "jars/org/test/two/1.0/two-1.0.jar",
    f"unpacked/app-1.0-{PARTS.registry.sha256[:12]}/quarkus-run.jar",
}


def test_everything_is_fetched_once_and_then_silently_found(tmp_path: Path) -> None:
    source, screen = Maven(CONTENT), Screen()
    first = install(cache=Cache(tmp_path), parts=PARTS, source=source, console=screen.console)
    said = screen.lines()
    second = install(cache=Cache(tmp_path), parts=PARTS, source=source, console=screen.console)
    assert sorted(source.asked) == ["app", "one", "two"]
    assert files(tmp_path) == INSTALLED
    assert (
        first
        == second
        == Installed(tuple(tmp_path / part.path for part in PARTS.kafka), Cache(tmp_path).unpacked(PARTS.registry))
    )
    assert said == screen.lines()
    assert said[0].startswith("downloading Kafka and the schema registry (3 files, once)")
    assert said[-1] == "downloaded 100 %"


def test_the_search_engine_is_fetched_only_when_asked_for_and_a_shared_jar_once(tmp_path: Path) -> None:
    source, screen = Maven(CONTENT), Screen()
    without = install(cache=Cache(tmp_path), parts=PARTS, source=source, console=Screen().console)
    assert (without.search, without.search_http) == ((), ())
    source.asked.clear()
    added = install(search=True, cache=Cache(tmp_path), parts=PARTS, source=source, console=screen.console)
    assert sorted(source.asked) == ["engine", "http"]
    assert screen.lines()[0].startswith("downloading the search engine (2 files, once)")
    assert added.kafka == without.kafka
    assert added.search == tuple(tmp_path / part.path for part in PARTS.search)
    assert added.search_http == tuple(tmp_path / part.path for part in PARTS.search_http)

    cold, said = Maven(CONTENT), Screen()
    install(search=True, cache=Cache(tmp_path / "cold"), parts=PARTS, source=cold, console=said.console)
    assert sorted(cold.asked) == ["app", "engine", "http", "one", "two"]
    assert said.lines()[0].startswith("downloading Kafka and the schema registry, the search engine (5 files, once)")


def test_a_list_of_parts_reads_back_as_it_was_written(tmp_path: Path) -> None:
    PARTS.write(tmp_path / "parts.json")
    assert read_parts(tmp_path / "parts.json") == PARTS
    read_parts().write(tmp_path / "parts.json")
    assert (tmp_path / "parts.json").read_text() == PARTS_FILE.read_text()


def test_a_file_that_is_not_what_its_digest_says_is_refused_and_deleted(tmp_path: Path) -> None:
    source = Maven(CONTENT | {"two": b"second jaR"})
    with pytest.raises(DownloadError, match=r"^org\.test:two:jar:1\.0 is not what headrace was made with"):
        install(cache=Cache(tmp_path), parts=PARTS, source=source, console=Screen().console)
    assert "jars/org/test/two/1.0/two-1.0.jar" not in files(tmp_path)
    assert not (tmp_path / "partial").exists()


def test_an_interrupted_download_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def breaks_at_the_last(part: Part, folder: Path, advance: Callable[[int], None]) -> Path:
        if part == PARTS.registry:
            deadline = time.monotonic() + 10
            while cache.missing([*PARTS.kafka]) and time.monotonic() < deadline:
                time.sleep(0.01)
            raise DownloadError("no network")
        return Maven(CONTENT)(part, folder, advance)

    with pytest.raises(DownloadError, match=r"^no network$"):
        install(cache=cache, parts=PARTS, source=breaks_at_the_last, console=Screen().console)
    source = Maven(CONTENT)
    install(cache=cache, parts=PARTS, source=source, console=Screen().console)
    assert source.asked == ["app"]
    assert files(tmp_path) == INSTALLED


def test_a_partial_or_changed_file_does_not_count(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    install(cache=cache, parts=PARTS, source=Maven(CONTENT), console=Screen().console)
    cache.path(PARTS.kafka[0]).write_bytes(CONTENT["one"][:4])
    cache.path(PARTS.kafka[1]).write_bytes(b"x" * len(CONTENT["two"]))
    assert cache.missing([*PARTS.kafka]) == [*PARTS.kafka]
    source = Maven(CONTENT)
    install(cache=cache, parts=PARTS, source=source, console=Screen().console)
    assert sorted(source.asked) == ["one", "two"]
    assert cache.path(PARTS.kafka[1]).read_bytes() == CONTENT["two"]


def test_what_a_killed_process_left_half_done_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "partial" / "abc" / "one-1.0.jar"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"fir")
    install(cache=Cache(tmp_path), parts=PARTS, source=Maven(CONTENT), console=Screen().console)
    assert files(tmp_path) == INSTALLED


def test_of_two_at_once_one_downloads_and_the_other_waits(tmp_path: Path) -> None:
    source, results = Maven(CONTENT), []

    def run() -> None:
        results.append(install(cache=Cache(tmp_path), parts=PARTS, source=source, console=Screen().console))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(source.asked) == ["app", "one", "two"]
    assert len(results) == 4
    assert len(set(results)) == 1


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    huge = Part("org.test", "one", "1.0", "", "jar", "0" * 64, 1 << 60)
    source = Maven(CONTENT)
    with pytest.raises(DownloadError, match=r"^no space left on the disk of .* MB needed, .* MB free\."):
        install(cache=Cache(tmp_path), parts=PartList((huge,), PARTS.registry), source=source, console=Screen().console)
    assert source.asked == []


def test_a_cache_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"cannot be written: .*\. Set XDG_CACHE_HOME to a folder of yours$"):
        install(cache=Cache(tmp_path / "file" / "x"), parts=PARTS, source=Maven(CONTENT), console=Screen().console)


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise requests.ConnectionError("HTTPSConnectionPool(...)")

    monkeypatch.setattr(requests, "request", refuse)
    with pytest.raises(DownloadError) as caught:
        maven.fetch(PARTS.kafka[0], tmp_path, lambda _count: None)
    assert str(caught.value) == (
        "org.test:one:jar:1.0 cannot be downloaded (ConnectionError): is there a network? "
        "What has arrived is kept; the next try goes on from there"
    )


def test_the_cache_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "headrace"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "headrace"


def test_the_committed_list_is_whole() -> None:
    parts = read_parts()
    assert len(parts.kafka) == 46
    assert len({part.path for part in parts.kafka}) == 46
    assert parts.registry.coordinate == "io.apicurio:apicurio-registry-app:tar.gz:all:3.3.3"
    search = {(part.group, part.artifact) for part in (*parts.search, *parts.search_http)}
    assert len(search) == len(parts.search) + len(parts.search_http) == 71
    every = (*parts.kafka, parts.registry, *parts.search, *parts.search_http)
    assert {len(part.sha256) for part in every} == {64}

"""The order of the house: imports go one way, between folders and inside the SDK."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

BASE = {"errors", "config", "launch", "progress", "keys", "warm", "lazy", "folders", "dead_share"}
CODEC = {*BASE, "schema", "codec"}
TOPICS = {*CODEC, "declare", "kafka", "topics"}
MODELS = {*TOPICS, "governance", "models"}
SDK = {*MODELS, "state", "worker", "query", "client", "embedded"}
PLATFORM = {"jobs", "streams", "producers", "consumers"}
INSIDE = {
    "errors": set[str](),
    "config": {"errors"},
    "launch": set[str](),
    "lazy": set[str](),
    "dead_share": set[str](),
    "folders": set[str](),
    "warm": {"launch"},
    "progress": set[str](),
    "keys": {"errors"},
    "schema": {"config", "errors"},
    "codec": {"errors", "schema"},
    "declare": {"codec", "config", "errors"},
    "features": {"codec", "declare", "errors"},
    "kafka": {"codec", "config", "errors"},
    "topics": TOPICS,
    "state": {"codec", "errors", "folders"},
    "worker": {"dead_share", "errors", "kafka"},
    "governance": TOPICS,
    "models": MODELS,
    "query": {*MODELS, "query"},
    "client": {*MODELS, "query"},
    "embedded": {"config", "errors", "folders", "keys", "launch"},
    "jobs": SDK,
    "streams": {*SDK, "features", "jobs"},
    "producers": SDK,
    "consumers": {*SDK, "jobs"},
    "runner": {*SDK, *PLATFORM},
    "testing": {*SDK, *PLATFORM, "features", "runner"},
    "project": {"errors"},
    "examples": {*SDK, *PLATFORM, "runner"},
    "cli": {*SDK, *PLATFORM, "runner", "examples", "project", "testing"},
}
"""Room -> the rooms it may import, its own beside them. The command line stands on top."""
OUTSIDE = ("tests", "bench")


def imports_of(file: Path) -> Iterator[list[str]]:
    """Every module a file imports, late imports too, as the parts of its dotted name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            parts = node.module.split(".")
            yield from ([*parts, alias.name] for alias in node.names)


def files_of(room: str) -> list[Path]:
    place = ROOT / "headrace" / room
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def test_imports_go_one_way() -> None:
    wrong = {
        f"{file.relative_to(ROOT)} imports {'.'.join(parts[:2])}"
        for room, allowed in INSIDE.items()
        for file in files_of(room)
        for parts in imports_of(file)
        if parts[0] in OUTSIDE or (parts[0] == "headrace" and len(parts) > 1 and parts[1] not in {*allowed, room})
    }
    assert wrong == set()


def test_every_room_has_its_place() -> None:
    found = {p.stem for p in (ROOT / "headrace").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert found - {"__init__", "__main__"} == set(INSIDE)


def test_a_room_of_the_platform_is_imported_by_its_name_in_the_wheel() -> None:
    """The folders at the top are linked into the package: a second name for a module would make two of it."""
    tops = {link.name for link in (ROOT / "headrace").iterdir() if link.is_symlink()}
    assert tops == {*PLATFORM, "examples"}
    wrong = {
        f"{file.relative_to(ROOT)} imports {parts[0]}"
        for folder in ("headrace", *OUTSIDE)
        for file in (ROOT / folder).rglob("*.py")
        for parts in imports_of(file)
        if parts[0] in tops
    }
    assert wrong == set()


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    names = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (ROOT / "headrace").rglob("*.py")
    }
    graph = {
        name: {m for parts in imports_of(file) for m in (".".join(parts), ".".join(parts[:-1])) if m in names} - {name}
        for name, file in names.items()
        if file.name != "__init__.py"
    }
    done: set[str] = set()
    while ready := {n for n, needs in graph.items() if n not in done and needs & graph.keys() <= done}:
        done |= ready
    assert graph.keys() - done == set()


def test_of_the_what_if_report_only_its_reading_knows_the_log() -> None:
    know = {f.stem for f in files_of("jobs/whatif") for parts in imports_of(f) if parts[1:2] in (["kafka"], ["topics"])}
    assert know == {"past", "candidate", "run"}

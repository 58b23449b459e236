"""The order of the house: imports go one way, between folders and inside the SDK."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

FOLDERS = {
    "headrace": set[str](),
    "streams": {"headrace"},
    "producers": {"headrace"},
    "consumers": {"headrace"},
    "examples": {"headrace", "streams", "producers", "consumers"},
}
PURE = {"errors", "config", "records", "schemas"}
CODEC = {*PURE, "codec", "registry", "pipeline"}
LOG = {*CODEC, "acls", "log", "topics", "windows"}
MODELS = {*LOG, "keys", "launch", "models"}
INSIDE = {
    "errors": set[str](),
    "config": {"errors"},
    "records": set[str](),
    "schemas": set[str](),
    "windows": set[str](),
    "registry": PURE,
    "codec": CODEC - {"pipeline"},
    "pipeline": {"codec", "errors"},
    "topics": {"pipeline", "schemas"},
    "acls": {"pipeline", "topics"},
    "hash_tree": {"codec"},
    "finding": {"config", "errors", "pipeline"},
    "log": LOG,
    "models": MODELS,
    "subscriber": MODELS,
    "progress": set[str](),
    "replay": {*MODELS, "progress", "replay"},
    "audit": {*MODELS, "audit", "progress", "replay"},
    "why": {*MODELS, "progress", "replay", "why"},
    "watch": {*MODELS, "acls", "watch"},
    "dead": LOG,
    "producer": LOG,
    "orders": MODELS,
    "service": LOG,
    "launch": set[str](),
    "limits": set[str](),
    "keys": {"errors"},
    "embedded": {"config", "errors", "keys", "launch"},
}
"""Part of the SDK -> the parts it may import; the command line may import them all."""


def imports_of(file: Path) -> Iterator[list[str]]:
    """Every module a file imports, late imports too, as the parts of its dotted name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            parts = node.module.split(".")
            yield from ([*parts, alias.name] for alias in node.names)


def test_folders_import_one_way() -> None:
    wrong = {
        f"{file.relative_to(ROOT)} imports {parts[0]}"
        for folder, allowed in FOLDERS.items()
        for file in (ROOT / folder).rglob("*.py")
        for parts in imports_of(file)
        if parts[0] in {*FOLDERS, "tests", "bench"} - allowed - {folder}
    }
    assert wrong == set()


def test_of_the_what_if_report_only_its_reading_knows_the_log() -> None:
    folder = ROOT / "streams" / "whatif"
    know = {f.stem for f in folder.glob("*.py") for parts in imports_of(f) if parts[:2] == ["headrace", "log"]}
    assert know == {"past", "candidate", "run"}


def test_the_sdk_imports_one_way() -> None:
    wrong = set()
    for part, allowed in INSIDE.items():
        place = ROOT / "headrace" / part
        files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
        for file in files:
            for parts in imports_of(file):
                if parts[0] == "headrace" and len(parts) > 1 and parts[1] not in {*allowed, part}:
                    wrong.add(f"{file.relative_to(ROOT)} imports headrace.{parts[1]}")
    assert wrong == set()
    found = {p.stem for p in (ROOT / "headrace").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert found - {"__init__", "__main__", "cli"} == set(INSIDE)

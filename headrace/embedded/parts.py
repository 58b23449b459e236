"""The list of jars the embedded stack is made of: Maven coordinates, digests and sizes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

PARTS_FILE = Path(__file__).with_name("parts.json")


@dataclass(frozen=True)
class Part:
    """One file of a Maven repository, fixed by its SHA-256."""

    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    sha256: str
    size: int
    """Bytes."""

    @property
    def coordinate(self) -> str:
        """``group:artifact:packaging[:classifier]:version``."""
        parts = [self.group, self.artifact, self.packaging, self.classifier, self.version]
        return ":".join(p for p in parts if p)

    @property
    def path(self) -> PurePosixPath:
        """Where the file is kept, relative to the cache folder."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        name = f"{self.artifact}-{self.version}{suffix}.{self.packaging}"
        return PurePosixPath("jars", *self.group.split("."), self.artifact, self.version, name)


@dataclass(frozen=True)
class PartList:
    """Everything a stack can be made of.

    Attributes:
        kafka: Kafka's class path.
        registry: the registry's archive.
        search: the search engine's class path.
        search_http: the module by which the search engine speaks HTTP; it loads it by itself.
    """

    kafka: tuple[Part, ...]
    registry: Part
    search: tuple[Part, ...] = ()
    search_http: tuple[Part, ...] = ()

    def write(self, path: Path) -> None:
        """Write as JSON, one part a line so that a change reads well in a diff."""
        registry = json.dumps(asdict(self.registry))
        entries = [
            _entry("kafka", self.kafka),
            f'  "registry": {registry}',
            _entry("search", self.search),
            _entry("search_http", self.search_http),
        ]
        path.write_text("{\n" + ",\n".join(entries) + "\n}\n")


def read_parts(path: Path = PARTS_FILE) -> PartList:
    """The committed list (``python -m headrace.embedded.lock`` makes it)."""
    data = json.loads(path.read_text())
    kafka, search, search_http = (tuple(Part(**part) for part in data[k]) for k in ("kafka", "search", "search_http"))
    return PartList(kafka, Part(**data["registry"]), search, search_http)


def _entry(name: str, parts: tuple[Part, ...]) -> str:
    lines = ",\n".join(f"    {json.dumps(asdict(part))}" for part in parts)
    return f'  "{name}": [\n{lines}\n  ]'

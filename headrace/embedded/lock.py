"""Make ``parts.json``: ``python -m headrace.embedded.lock``. For other versions: change, run, commit."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from jgo.maven import Artifact, MavenContext, PythonResolver

from headrace.embedded.parts import PARTS_FILE, Part, PartList

# Not 4.2 to 4.4: a partition that has no leader for a moment gets no marker of a transaction that ends then, and hangs
# or shows what was aborted (KAFKA-20734).
KAFKA = ("org.apache.kafka:kafka_2.13:4.1.2", "org.slf4j:slf4j-simple:1.7.36")
SEARCH = (
    "org.opensearch:opensearch:3.8.0",
    "org.opensearch:opensearch-agent-bootstrap:3.8.0",  # the server needs it and does not say so
    "org.opensearch:opensearch-plugin-classloader:3.8.0",
    "org.apache.logging.log4j:log4j-core:2.25.4",
)
SEARCH_HTTP = ("org.opensearch.plugin:transport-netty4-client:3.8.0",)
UNUSED = "netty-codec-native-quic"  # HTTP/3, as machine code for every system
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "all", "tar.gz")


def resolve(folder: Path) -> PartList:
    """Resolve each server with all it needs at run time, download everything once, and take the digests."""
    context = MavenContext(repo_cache=folder, resolver=PythonResolver())
    search = _jars(context, SEARCH)
    # A module may not bring what the server has: it refuses to load a class that is there twice.
    ours = {(part.group, part.artifact) for part in search}
    http = [part for part in _jars(context, SEARCH_HTTP) if (part.group, part.artifact) not in ours]
    group, artifact, version, classifier, packaging = REGISTRY
    component = context.project(group, artifact).at_version(version)
    registry = _part(component.artifact(classifier=classifier, packaging=packaging))
    return PartList(_jars(context, KAFKA), registry, search, tuple(part for part in http if part.artifact != UNUSED))


def _jars(context: MavenContext, coordinates: tuple[str, ...]) -> tuple[Part, ...]:
    named, transitive = context.resolver.resolve([context.create_dependency(c) for c in coordinates])
    jars = [_part(dependency.artifact) for dependency in named + transitive]
    return tuple(sorted(jars, key=lambda part: part.coordinate))


def _part(artifact: Artifact) -> Part:
    content = artifact.resolve().read_bytes()
    return Part(
        artifact.groupId,
        artifact.artifactId,
        artifact.version,
        artifact.classifier,
        artifact.packaging,
        hashlib.sha256(content).hexdigest(),
        len(content),
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        resolve(Path(folder)).write(PARTS_FILE)
    print(f"{PARTS_FILE} written")

"""Make ``parts.json``: ``python -m headrace.embedded.lock``. For other versions: change, run, commit."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from jgo.maven import Artifact, MavenContext, PythonResolver

from headrace.embedded.parts import PARTS_FILE, Part, PartList

KAFKA = ("org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:1.7.36")
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "all", "tar.gz")


def resolve(folder: Path) -> PartList:
    """Resolve Kafka with all it needs at run time, download everything once, and take the digests."""
    context = MavenContext(repo_cache=folder, resolver=PythonResolver())
    roots = [context.create_dependency(coordinate) for coordinate in KAFKA]
    named, transitive = context.resolver.resolve(roots)
    jars = [_part(dependency.artifact) for dependency in named + transitive]
    group, artifact, version, classifier, packaging = REGISTRY
    component = context.project(group, artifact).at_version(version)
    registry = _part(component.artifact(classifier=classifier, packaging=packaging))
    return PartList(tuple(sorted(jars, key=lambda part: part.coordinate)), registry)


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

"""A model made again from its manifest: the same examples, split, fit and export must give the same bytes.

Each step is compared with what the manifest says of it, so that the first difference shows where it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np

from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError, HeadraceError
from headrace.jobs.hash_tree import LEAF, HashTree, differing, hashes
from headrace.jobs.train.dataset import Examples, gathered
from headrace.jobs.train.fit import train
from headrace.jobs.train.lineage import as_recorded, code_version, lock_hash, packages, settings, trigger_of
from headrace.kafka.log import Chunk, Offsets
from headrace.models.score.session import runtime_fingerprint
from headrace.schema.own import schema_fingerprint
from headrace.schema.records import Lineage, ModelManifest
from headrace.topics.pipeline_topics import PipelineTopics

Name = Literal["data", "code", "split", "fit", "export"]
LISTED = 5
"""Places at which examples differ that are named."""


class Step(NamedTuple):
    """One step of making a model again: whether it came out as the manifest says, and what was compared or differs."""

    name: Name
    same: bool
    said: str


class Reproduction(NamedTuple):
    """What came of it: the model's id, that of the one made again (empty where it came to none), and the steps."""

    model_id: str
    again: str
    steps: list[Step]

    @property
    def same(self) -> bool:
        """Whether the same bytes came out."""
        return self.model_id == self.again

    @property
    def first_difference(self) -> Step | None:
        """The first step that came out otherwise."""
        return next((step for step in self.steps if not step.same), None)


def reproduce(
    topics: PipelineTopics,
    manifest: ModelManifest,
    chunks: Iterable[Chunk],
    progress: Callable[[str], None] = lambda _: None,
) -> Reproduction:
    """Make a model again.

    Args:
        topics: the pipeline's topics.
        manifest: the model's.
        chunks: the examples of the manifest's ranges, in the order of partition and offset.
        progress: told what is being done.

    Raises:
        ConfigError: the manifest is of another pipeline, or of other features than the pipeline now has.
    """
    pipeline, lineage = topics.pipeline, manifest.lineage
    _of_this(pipeline, manifest)
    progress(f"reading {lineage.records:,} examples")
    seen: dict[int, list[Offsets]] = {r.partition: [] for r in lineage.ranges}

    def noting() -> Iterable[Chunk]:
        for chunk in chunks:
            seen[chunk.tp.partition].append(chunk.offsets)
            yield chunk

    examples = gathered(topics, lineage.ranges, noting())
    steps = [_data(topics, lineage, examples, seen), _code(pipeline, lineage)]
    try:
        again = train(as_recorded(pipeline, lineage), trigger_of(lineage), examples, progress).package.manifest
    except HeadraceError as e:
        return Reproduction(manifest.model_id, "", [*steps, Step("fit", False, f"it gives no model now: {e}")])
    steps += [_split(lineage, again.lineage), _fit(manifest, again), _export(manifest, again)]
    return Reproduction(manifest.model_id, again.model_id, steps)


def _of_this(pipeline: Pipeline, manifest: ModelManifest) -> None:
    short = manifest.model_id[:12]
    if manifest.pipeline != pipeline.name:
        raise ConfigError(f"model {short} is of pipeline {manifest.pipeline}, not of {pipeline.name}")
    if schema_fingerprint(pipeline.feature_schema) != manifest.feature_schema:
        raise ConfigError(
            f"model {short} was trained on other features than {pipeline.name} has now: check out the version of the "
            f"pipeline that trained it ({manifest.lineage.code_version})"
        )


def _data(topics: PipelineTopics, lineage: Lineage, examples: Examples, seen: dict[int, list[Offsets]]) -> Step:
    """The examples must be those that were read then; where they are not, say which."""
    count = sum(tree.count for tree in examples.trees.values())
    if count == lineage.records and examples.root_hash == lineage.root_hash:
        return Step("data", True, f"{count:,} examples, root hash {lineage.root_hash[:12]}")
    found = []
    for then in lineage.trees:
        offsets = np.concatenate([np.zeros(0, np.int64), *seen.get(then.partition, [])])
        now = examples.trees.get(then.partition, HashTree(0, LEAF, ()))
        for start, stop in differing(HashTree(then.count, then.block, hashes(then.blocks)), now):
            there = offsets[start:stop]
            at = f"offsets {there[0]} to {there[-1]}" if len(there) else f"{stop - start} records that are gone"
            found.append(f"{topics.topic('examples')}[{then.partition}] {at}")
    where = f"; they differ in {', '.join(found[:LISTED])}" if found else ""
    more = f" and {len(found) - LISTED} more places" if len(found) > LISTED else ""
    hashed = f"root hash {examples.root_hash[:12]}, {lineage.root_hash[:12]} then"
    return Step("data", False, f"{count:,} examples, {lineage.records:,} then; {hashed}{where}{more}")


def _code(pipeline: Pipeline, lineage: Lineage) -> Step:
    """Code, settings and packages. What differs may or may not change the model."""
    found = []
    versions = zip(_parts(lineage.code_version), _parts(code_version(pipeline)), _PARTS, strict=True)
    found += [f"{what} {then}, now {here}" for then, here, what in versions if then != here]
    said = settings(pipeline)
    changed = [n for n, then in lineage.settings.items() if said.get(n) != then]
    found += [f"{n} {lineage.settings[n]!r}, now {said.get(n)!r} (as it was is used)" for n in changed]
    if lock_hash() != lineage.lock_hash:
        installed = packages()
        other = [f"{n} {v}, now {installed.get(n)}" for n, v in lineage.packages.items() if installed.get(n) != v]
        found += other or ["packages that have no part in training (the lock hash differs)"]
    if lineage.runtime != runtime_fingerprint():
        found.append(f"runtime {lineage.runtime}, now {runtime_fingerprint()}")
    if found:
        return Step("code", False, "; ".join(found))
    return Step("code", True, f"{lineage.code_version}, lock {lineage.lock_hash[:12]}, runtime {lineage.runtime}")


_PARTS = ("headrace", "the pipeline's functions", "the code that trains")


def _parts(version: str) -> tuple[str, str, str]:
    number, _, rest = version.partition("+")
    functions, _, trainer = rest.partition(".")
    return number, functions, trainer


def _split(then: Lineage, now: Lineage) -> Step:
    dates = [(_day(m.train_until), _day(m.validation_until)) for m in (then, now)]
    said = f"fitted until {dates[0][0]}, validated until {dates[0][1]}"
    if (then.train_until, then.validation_until) == (now.train_until, now.validation_until):
        return Step("split", True, said)
    return Step("split", False, f"{said}; now {dates[1][0]} and {dates[1][1]}")


def _fit(then: ModelManifest, now: ModelManifest) -> Step:
    if then.algorithm != now.algorithm:
        return Step("fit", False, f"{now.algorithm} is best now, {then.algorithm} was then")
    if then.lineage.parameters != now.lineage.parameters:
        return Step("fit", False, f"{now.algorithm}: {now.lineage.parameters}, {then.lineage.parameters} then")
    loss = f"log loss {now.metrics['log_loss']:.6f}"
    if then.lineage.fit_hash and then.lineage.fit_hash != now.lineage.fit_hash:
        was = f"{then.metrics['log_loss']:.6f}"
        return Step("fit", False, f"{now.algorithm}: other scores on the validation set ({loss}, {was} then)")
    return Step("fit", True, f"{now.algorithm}: the same scores on the validation set, {loss}")


def _export(then: ModelManifest, now: ModelManifest) -> Step:
    if then.model_id == now.model_id:
        return Step("export", True, f"the same {now.size:,} bytes of ONNX")
    return Step("export", False, f"other ONNX: {now.size:,} bytes, {then.size:,} then")


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}"

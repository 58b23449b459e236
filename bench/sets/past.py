"""How soon a process that follows models has read what it needs, with few and with many past models on the log."""

from __future__ import annotations

import statistics
import time

import numpy as np

from bench.loaded import Loaded
from bench.models import package
from bench.pipeline import REFERENCE, declared
from bench.sitting import FULL, Sitting, load
from headrace.declare.pipeline import Pipeline
from headrace.errors import StackError
from headrace.models.library import ModelLibrary
from headrace.models.package.package import Package, cut, digest
from headrace.models.package.signing import Trust

SIZE = 5 << 20
FEW, MANY = 2, 200
STARTS = 5
LIMIT_S = 60.0


def past(sitting: Sitting) -> None:
    """Seconds from the start of a model library until the model in force is loaded, few and many in turn."""
    before = load()
    counts = (FEW, MANY if sitting.scale is FULL else MANY // 10)
    found = [_published(sitting, count) for count in counts]
    seconds: list[list[float]] = [[] for _ in counts]
    for _ in range(STARTS):
        for (loaded, model_id), taken in zip(found, seconds, strict=True):
            taken.append(_loaded_after(loaded, model_id))
    values = {f"past_{count}_s": statistics.median(taken) for count, taken in zip(counts, seconds, strict=True)}
    sitting.figures("past models", {name: round(value, 2) for name, value in values.items()}, before)


def _published(sitting: Sitting, count: int) -> tuple[Loaded, str]:
    """A pipeline with past models of 5 MB, and the id of a small one that rules."""
    loaded = Loaded(sitting.cluster, declared(f"bench-past-{count}"), REFERENCE)
    for seed in range(count):
        loaded.publish(_of_random_bytes(loaded.pipeline, seed))
    ruling = package(loaded.pipeline, "linear")
    loaded.rule(ruling)
    return loaded, ruling.manifest.model_id


def _of_random_bytes(pipeline: Pipeline, seed: int) -> Package:
    """As large as a model, and never loaded."""
    onnx = np.random.default_rng(seed).bytes(SIZE)
    stated = {"model_id": digest(onnx), "size": SIZE, "chunks": [chunk.digest for chunk in cut(onnx)]}
    return Package(package(pipeline, "linear").manifest.model_copy(update=stated), onnx)


def _loaded_after(loaded: Loaded, model_id: str) -> float:
    began = time.perf_counter()
    library = ModelLibrary(loaded.topics, loaded.cluster.log, Trust(unsigned=True))
    try:
        while not library.current or library.model(model_id) is None:
            if time.perf_counter() - began > LIMIT_S:
                raise StackError(f"{loaded.pipeline.name}: the model in force is not loaded after {LIMIT_S:g} s")
            time.sleep(0.002)
        return time.perf_counter() - began
    finally:
        library.close()

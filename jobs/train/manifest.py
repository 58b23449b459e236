"""From ONNX bytes and what was found about them to the package that is published."""

from __future__ import annotations

from typing import NamedTuple

from headrace.declare.pipeline import Pipeline
from headrace.jobs.train.export import INPUT, SCORES
from headrace.jobs.train.trees import most_split
from headrace.models.package.package import CHUNK_BYTES, Package, digest
from headrace.schema.own import schema_fingerprint
from headrace.schema.records import Certificate, FeatureBaseline, Lineage, ModelManifest, Tensor


class Findings(NamedTuple):
    """What the fit and the export showed of a model."""

    metrics: dict[str, float]
    baseline: list[FeatureBaseline]
    certificates: list[Certificate]
    batching: str


def package(pipeline: Pipeline, algorithm: str, onnx: bytes, lineage: Lineage, findings: Findings) -> Package:
    """ONNX bytes with their manifest, ready to publish."""
    width = len(pipeline.inputs)
    split = most_split(onnx)
    manifest = ModelManifest(
        model_id=digest(onnx),
        pipeline=pipeline.name,
        size=len(onnx),
        chunks=[digest(onnx[i : i + CHUNK_BYTES]) for i in range(0, len(onnx), CHUNK_BYTES)],
        algorithm=algorithm,
        target=pipeline.target.name,
        features=list(pipeline.inputs),
        inputs=[Tensor(name=INPUT, dtype="tensor(float)", shape=[-1, width])],
        outputs=[Tensor(name=SCORES, dtype="tensor(float)", shape=[-1, 2])],
        score_output=SCORES,
        feature_schema=schema_fingerprint(pipeline.feature_schema),
        lineage=lineage,
        metrics=findings.metrics,
        baseline=findings.baseline,
        certificates=findings.certificates,
        batching=findings.batching,
        sort_by=None if split is None else pipeline.inputs[split],
    )
    return Package(manifest, onnx)

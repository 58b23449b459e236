"""Models as `retrain` would publish them, without its training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from sklearn.linear_model import LogisticRegression

from headrace.declare.pipeline import Pipeline
from headrace.jobs.train.export import to_onnx_bytes
from headrace.jobs.train.manifest import Findings, package
from headrace.models.package.package import Package
from headrace.models.score.session import runtime_fingerprint
from headrace.schema.records import Certificate, Lineage

_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def model_package(pipeline: Pipeline, seed: int) -> Package:
    """A logistic regression on two features, trained on random rows. The same seed gives the same model."""
    random = np.random.default_rng(seed)
    x = random.random((200, 2)).astype(np.float32)
    model = LogisticRegression().fit(x, (x[:, 0] + random.normal(0, 0.3, 200) > 0.5).astype(float))
    return packed(pipeline, "logistic", to_onnx_bytes(model, 2), seed)


def packed(pipeline: Pipeline, algorithm: str, onnx: bytes, seed: int) -> Package:
    """ONNX bytes with the manifest they need: as if trained on the first year's 200 records, all certificates passed.

    Args:
        pipeline: whose features the model takes.
        algorithm: its name in the manifest.
        onnx: the model: features (n, k) in, scores (n,) out.
        seed: in the manifest, and in the name of the trigger.
    """
    lineage = Lineage(
        trigger_id=f"test-{seed}",
        trigger_reason="person",
        ranges=[],
        records=200,
        root_hash="",
        train_until=_BEGIN,
        validation_until=_BEGIN + timedelta(days=365),
        seed=seed,
        parameters={},
        code_version="",
        lock_hash="",
        runtime=runtime_fingerprint(),
    )
    findings = Findings(
        metrics={"auc": 0.7, "log_loss": 0.6},
        baseline=[],
        certificates=[Certificate(name=n, passed=True, detail="") for n in ("parity", "batch_invariance")],
        batching="at_least(2)",
    )
    return package(pipeline, algorithm, onnx, lineage, findings)

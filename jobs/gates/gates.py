"""The gates a candidate passes before a person sees it: each a function, its evidence recorded with its verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from headrace.declare.pipeline import Pipeline
from headrace.errors import ModelRejected
from headrace.models.inputs import matrix
from headrace.models.metrics import binary_metrics
from headrace.models.package.package import Package
from headrace.models.score.session import ScoringModel
from headrace.schema.own import schema_fingerprint
from headrace.schema.records import ConsumerContract, GateResult


@dataclass(frozen=True)
class GateCase:
    """What the gates judge.

    Attributes:
        candidate: the model that asks to rule.
        champion: the model that rules now, if any.
        examples: the candidate's own validation examples, which neither has seen in fitting.
        contracts: what each subscriber needs.
    """

    pipeline: Pipeline
    candidate: Package
    champion: Package | None
    examples: pl.DataFrame
    contracts: Sequence[ConsumerContract]


def run_gates(case: GateCase) -> list[GateResult]:
    """Every gate's verdict."""
    return [contract(case), parity(case), quality(case)]


def contract(case: GateCase) -> GateResult:
    """The model takes what the pipeline makes, and asks of no subscriber what it cannot give."""
    manifest = case.candidate.manifest
    problems = []
    if missing := set(manifest.features) - set(case.pipeline.inputs):
        problems.append(f"features the pipeline does not make: {', '.join(sorted(missing))}")
    if manifest.feature_schema not in map(schema_fingerprint, case.pipeline.feature_schemas):
        problems.append("trained on another features schema")
    for subscriber in case.contracts:
        if lacking := set(manifest.features) - set(subscriber.features):
            problems.append(f"{subscriber.consumer_id} cannot give {', '.join(sorted(lacking))}")
        if subscriber.scores != 1:
            problems.append(f"{subscriber.consumer_id} expects {subscriber.scores} scores, the model gives 1")
    try:
        ScoringModel(case.candidate)
    except ModelRejected as e:
        problems.append(str(e))
    summary = "; ".join(problems) or f"{len(manifest.features)} features, {len(case.contracts)} subscribers, all agree"
    evidence = {"features": manifest.features, "subscribers": [c.consumer_id for c in case.contracts]}
    return _result(case, "contract", not problems, case.pipeline.gates.contract, summary, evidence)


def parity(case: GateCase) -> GateResult:
    """The ONNX model scored as the original did, and its bits do not depend on the batch."""
    certificates = {c.name: c for c in case.candidate.manifest.certificates}
    shown = [certificates[n] for n in ("parity", "batch_invariance") if n in certificates]
    passed = len(shown) == 2 and all(c.passed for c in shown)
    summary = "; ".join(c.detail for c in shown) or "the manifest carries no certificate"
    evidence = {c.name: {"passed": c.passed, "detail": c.detail} for c in shown}
    return _result(case, "parity", passed, case.pipeline.gates.parity, summary, evidence)


def quality(case: GateCase) -> GateResult:
    """Log loss on the candidate's validation examples, against the champion; without one, against the base rate."""
    y = case.examples["label"].to_numpy()
    candidate = _measured(case.candidate, case.examples)
    if case.champion is None:
        rate = float(np.mean(y))
        other = binary_metrics(y, np.full(len(y), rate))
        opponent = "the base rate"
    else:
        other = _measured(case.champion, case.examples)
        opponent = f"champion {case.champion.manifest.model_id[:12]}"
    margin = case.pipeline.gates.quality_margin
    passed = candidate["log_loss"] <= other["log_loss"] + margin
    summary = (
        f"log loss {candidate['log_loss']:.4f} against {other['log_loss']:.4f} of {opponent} "
        f"(AUC {candidate['auc']:.4f} against {other['auc']:.4f}) on {len(y)} examples; margin {margin:g}"
    )
    evidence = {"candidate": candidate, "opponent": other, "against": opponent, "margin": margin}
    return _result(case, "quality", passed, case.pipeline.gates.quality, summary, evidence)


def _measured(package: Package, examples: pl.DataFrame) -> dict[str, float]:
    scores = ScoringModel(package).score(matrix(examples, package.manifest.features))[:, 0].astype(np.float64)
    return binary_metrics(examples["label"].to_numpy(), scores)


def _result(case: GateCase, gate: str, passed: bool, mode: str, summary: str, evidence: object) -> GateResult:
    return GateResult.model_validate(
        {
            "model_id": case.candidate.manifest.model_id,
            "gate": gate,
            "passed": bool(passed),
            "mode": mode,
            "summary": summary,
            "evidence": json.dumps(evidence, sort_keys=True),
        }
    )

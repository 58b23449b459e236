"""What a person approves: the gate results of a candidate, by their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.schema.records import GateResult


@dataclass(frozen=True)
class Evidence:
    """What the gates found of a model.

    Attributes:
        model_id: the model.
        gates: the results, one a gate, in the order in which they came.
        hash: what an approval names: it holds for these results and no others.
    """

    model_id: str
    gates: tuple[GateResult, ...]
    hash: str

    @classmethod
    def of(cls, model_id: str, gates: Iterable[GateResult]) -> Evidence:
        """The evidence that these results are."""
        kept = tuple(gates)
        return cls(model_id, kept, evidence_hash(kept))


def evidence_hash(results: Iterable[GateResult]) -> str:
    """sha-256 over the gate results of one candidate: for each gate in order of name, its name, verdict,
    mode, summary and evidence, as JSON with sorted keys and no spaces."""
    stated = [
        r.model_dump(include={"model_id", "gate", "passed", "mode", "summary", "evidence"})
        for r in sorted(results, key=lambda r: r.gate)
    ]
    return hashlib.sha256(json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

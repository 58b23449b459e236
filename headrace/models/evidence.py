"""What a person approves: the gate results of a candidate, by their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from headrace.records import GateResult


def evidence_hash(results: Iterable[GateResult]) -> str:
    """sha-256 over the gate results of one candidate: for each gate in order of name, its name, verdict,
    mode, summary and evidence, as JSON with sorted keys and no spaces."""
    stated = [
        r.model_dump(include={"model_id", "gate", "passed", "mode", "summary", "evidence"})
        for r in sorted(results, key=lambda r: r.gate)
    ]
    return hashlib.sha256(json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

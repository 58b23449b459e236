"""The job every peer does, with the libraries they would take: fastavro and onnxruntime. Runs in each peer's own venv.

Nothing of headrace is imported here or in the peers, but for the ones that run in its environment.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import onnxruntime as ort

HEADER = struct.Struct(">bI")
BATCH = 1000


class Job:
    """What to read, score and write, as the bench describes it in a file."""

    def __init__(self) -> None:
        given = json.loads(Path(os.environ["BENCH_JOB"]).read_text())
        self.bootstrap: str = given["bootstrap"]
        self.registry_url: str = given["registry_url"]
        self.source: str = given["source"]
        self.sink: str = given["sink"]
        self.group: str = given["group"]
        self.inputs: list[str] = given["inputs"]
        self.model_id: str = given["model_id"]
        self.folder = Path(given["folder"])
        self.receipt_schema: dict[str, Any] = given["receipt_schema"]
        self.features_schema: dict[str, Any] = given["features_schema"]
        self._receipt = fastavro.parse_schema(self.receipt_schema)
        self._features = fastavro.parse_schema(self.features_schema)
        self._features_id, self._header = given["features_id"], HEADER.pack(0, given["receipt_id"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(given["onnx"], options, providers=["CPUExecutionProvider"])
        self._name, self._output = given["input"], given["output"]

    def decode(self, value: bytes | None) -> dict[str, Any] | None:
        """A features record, or None where the value is something else: the marker at the beginning."""
        if not value or HEADER.unpack_from(value) != (0, self._features_id):
            return None
        body = io.BytesIO(value)
        body.seek(HEADER.size)
        row: dict[str, Any] = fastavro.schemaless_reader(body, self._features)  # type: ignore[assignment]
        return row

    def score(self, rows: Sequence[dict[str, Any]]) -> list[float]:
        """The probability of 1 of each."""
        matrix = np.array([[row[c] for c in self.inputs] for row in rows], dtype=np.float32)
        scores = np.asarray(self._session.run([self._output], {self._name: matrix})[0])
        found: list[float] = scores[:, 1].tolist()
        return found

    def receipt(self, row: dict[str, Any], score: float, partition: int, offset: int) -> dict[str, Any]:
        """The prediction record of a row."""
        return {
            "id": row["id"],
            "key": row["key"],
            "event_time": row["event_time"],
            "partition": partition,
            "offset": offset,
            "model_id": self.model_id,
            "marker_offset": 0,
            "route": "champion",
            "outputs": [score],
            "runtime": "peer",
        }

    def encode(self, receipt: dict[str, Any]) -> bytes:
        """A receipt in Confluent wire format."""
        out = io.BytesIO()
        out.write(self._header)
        fastavro.schemaless_writer(out, self._receipt, receipt)
        return out.getvalue()

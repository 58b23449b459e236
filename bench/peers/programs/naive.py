"""What most people write: poll one message, AvroDeserializer, score one row, AvroSerializer, produce.

``naive.py onnx`` and ``naive.py sklearn`` do so; ``naive.py batched`` is the same by the thousand. Offsets are
committed by the client every now and then: at least once.
"""

from __future__ import annotations

import json
import pickle
import sys
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from job import BATCH, Job

how = sys.argv[1]
job = Job()
registry = SchemaRegistryClient({"url": job.registry_url})
deserialize = AvroDeserializer(registry)
serialize = AvroSerializer(registry, json.dumps(job.receipt_schema))
incoming = SerializationContext(job.source, MessageField.VALUE)
outgoing = SerializationContext(job.sink, MessageField.VALUE)
consumer = Consumer(
    {
        "bootstrap.servers": job.bootstrap,
        "group.id": job.group,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
)
producer = Producer({"bootstrap.servers": job.bootstrap})


def sklearn_scorer() -> Any:
    """Scores rows with the fitted scikit-learn model itself."""
    model = pickle.loads((job.folder / "model.pickle").read_bytes())

    def score(rows: list[dict[str, Any]]) -> list[float]:
        return model.predict_proba(np.array([[r[c] for c in job.inputs] for r in rows]))[:, 1].tolist()  # type: ignore[no-any-return]

    return score


score = sklearn_scorer() if how == "sklearn" else job.score


def handle(messages: list[Message]) -> None:
    """Score messages and send their receipts."""
    rows = [(m, deserialize(m.value(), incoming)) for m in messages]  # type: ignore[arg-type]
    rows = [(m, row) for m, row in rows if "event_time" in row]
    if not rows:
        return
    for (m, row), value in zip(rows, score([row for _, row in rows]), strict=True):
        receipt = job.receipt(row, value, m.partition() or 0, m.offset() or 0)
        while True:
            try:
                producer.produce(job.sink, serialize(receipt, outgoing), m.key())
                break
            except BufferError:
                producer.poll(0.05)
    producer.poll(0)


consumer.subscribe([job.source])
while True:
    if how == "batched":
        found = consumer.consume(BATCH, 0.5)
    else:
        message = consumer.poll(1.0)
        found = [] if message is None else [message]
    handle([m for m in found if m.error() is None])

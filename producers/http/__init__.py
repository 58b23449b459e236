"""Events over HTTP -> raw: JSON, JSON lines, Avro, CloudEvents and webhooks, answered when Kafka has them."""

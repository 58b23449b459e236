"""Tests: unit, contract (both logs), integration (real Kafka)."""

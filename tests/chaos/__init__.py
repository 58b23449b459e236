"""Faults on purpose: real processes on a real Kafka, hurt on a seeded schedule, and the audit as judge."""

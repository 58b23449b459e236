"""Scoring: sessions, feeding, trees, and records to scores."""

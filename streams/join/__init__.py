"""Join labels to features: examples and outcomes."""

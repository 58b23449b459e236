"""Predictions made again from the log, and held bit for bit against those that stand on it."""

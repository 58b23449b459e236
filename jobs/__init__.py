"""The log -> a result: training, gates, reproduction, what-if, versions of data."""

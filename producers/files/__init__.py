"""Files of events -> raw: CSV, JSON lines, Parquet, Arrow and Avro, compressed or not."""

from headrace.producers.files.batch import BadRow, Options
from headrace.producers.files.push import Pushed, push_file

__all__ = ["BadRow", "Options", "Pushed", "push_file"]

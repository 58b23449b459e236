"""The platform in memory: a pipeline's topics and processors in this process, for tests without a server.

It is held to the same contract suite as Kafka. What it does not have: other processes, brokers that fail, and the
processors that work in child processes (retrain, govern).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl

from headrace.client.events import EventProducer
from headrace.codec.coerce import codec_of, coerce
from headrace.codec.rows import RowEncoder
from headrace.config import Settings
from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError, SchemaError
from headrace.kafka.log import TopicPartition, read_all, read_range
from headrace.kafka.memory import MemoryLog
from headrace.producers.files.batch import Options
from headrace.producers.files.read import form_of, format_of, read_file
from headrace.runner.processors import WorkerContext, build
from headrace.testing.memory import in_memory

IN_MEMORY = ("preprocess", "infer", "join", "monitor")
"""Processors that need no child process."""


class MemoryPlatform:
    """A pipeline with its topics in memory.

    Args:
        pipeline: the declaration.

    Attributes:
        topics: the pipeline's topics, ready for use.
        log: the log they are on.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.log = MemoryLog()
        self.topics = in_memory(pipeline, self.log)

    def push(self, events: pl.DataFrame) -> None:
        """Send raw events, in order.

        Raises:
            SchemaError: an event does not fit the schema. Nothing was sent.
        """
        fitting, bad = coerce(events, self.topics.pipeline.raw)
        if bad:
            raise SchemaError(f"{len(bad)} events do not fit the schema, the first is row {bad[0][0]}: {bad[0][1]}")
        with EventProducer(self.topics) as producer:
            producer.send_rows(fitting)

    def run(self, *processors: str) -> None:
        """Run processors one after the other, each through the exactly-once loop until it has read its inputs.

        Raises:
            ConfigError: there is no such processor, or it works in child processes.
        """
        for name in processors:
            if name not in IN_MEMORY:
                raise ConfigError(f"{name} does not run in memory; what does is {', '.join(IN_MEMORY)}")
            settings = Settings(unsigned_models="accept")
            context = WorkerContext(self.topics, self.log, settings, self.topics.pipeline.name, f"{name}-0")
            loop = build(name, context, commit_interval=0.0)
            inputs = [TopicPartition(t, p) for t in loop.inputs for p in range(self.log.partitions(t))]
            loop.run(until=partial(self._read_through, context.group(name), inputs))

    def rows(self, topic: str) -> pl.DataFrame:
        """Every record of a topic's first type as rows, with ``partition`` and ``offset``, in log order."""
        frames = []
        for chunk in read_all(self.log, self.topics.topic(topic)):
            decoded = self.topics.codec(topic).decode(chunk.values)
            where = (
                pl.lit(chunk.tp.partition, pl.Int32).alias("@partition"),
                pl.Series("@offset", chunk.offsets[decoded.places()]),
            )
            frames.append(decoded.frame().with_columns(where))
        columns = {**self.topics.columns(topic), "@partition": pl.Int32(), "@offset": pl.Int64()}
        return pl.concat(frames) if frames else pl.DataFrame(schema=columns)

    def _read_through(self, group: str, tps: list[TopicPartition]) -> bool:
        committed = self.log.committed(group)
        for tp in tps:
            end = self.log.bounds(tp.topic)[tp.partition][1]
            at = committed.get(tp, 0)
            # What lies behind the last record is a marker of a transaction.
            if at < end and any(len(chunk) for chunk in read_range(self.log, {tp: (at, end)})):
                return False
        return True


def read_events(pipeline: Pipeline, file: str | Path) -> pl.DataFrame:
    """The events of a file (CSV, JSON lines, Parquet, Avro) as rows of the pipeline's schema.

    Raises:
        ConfigError: there is no such file, or it is of no such kind.
        SchemaError: a row does not fit; the message names it.
    """
    path, options, codec = Path(file), Options(), codec_of(pipeline.raw)
    format = format_of(path)
    encoder = RowEncoder(codec, form_of(format, options, pipeline.raw), unknown=lambda _: None)
    frames = []
    for batch in read_file(path, format, pipeline.raw, options):
        found = encoder.encode(batch.rows)
        refused = [(bad.line, bad.reason) for bad in batch.bad]
        refused += [(batch.lines[bad.row], bad.reason) for bad in found.bad]
        if refused:
            line, reason = min(refused)
            raise SchemaError(f"{file}:{line}: {reason}")
        frames.append(codec.decode(found.values).frame())
    if not frames:
        raise SchemaError(f"{file} holds no events")
    return pl.concat(frames)

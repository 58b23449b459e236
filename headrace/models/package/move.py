"""Models that versions before ``model_chunks`` published, written again as this one publishes them."""

from __future__ import annotations

from typing import NamedTuple

from headrace.errors import ModelRejected
from headrace.governance.catalog import Published, published
from headrace.kafka.log import Output, Writer
from headrace.models.package.topic import fetch, publication
from headrace.topics.pipeline_topics import PipelineTopics


class Moved(NamedTuple):
    """What became of the models whose chunks were on the models topic.

    Attributes:
        models: ids of those whose chunks are on their own topic now.
        left: id -> why it cannot be put together, of those left as they are.
    """

    models: list[str]
    left: dict[str, str]


def move(topics: PipelineTopics) -> Moved:
    """Write the chunks and the manifest of each such model again, and tombstones for its chunks on the models topic,
    which Kafka's compaction then removes. One transaction a model; safe to repeat.

    A version before ``model_chunks`` cannot load a model that was moved.

    Raises:
        ConfigError: there is no topic for chunks yet.
        Unavailable: Kafka or the registry is away.
    """
    moved = Moved([], {})
    writer = topics.log.writer(f"{topics.pipeline.name}.retrain.move-models", tracks=False)
    try:
        for model_id, model in published(topics, settled=True).items():
            if model.manifest.chunks_from is not None:
                continue
            try:
                _move(topics, writer, model)
            except ModelRejected as e:
                moved.left[model_id] = str(e)
            else:
                moved.models.append(model_id)
    finally:
        writer.close()
    return moved


def _move(topics: PipelineTopics, writer: Writer, model: Published) -> None:
    manifest, offset = model
    package = fetch(topics, topics.log, manifest, offset)
    keys = [f"{manifest.model_id}/{index}".encode() for index in range(len(manifest.chunks))]
    writer.begin()
    for output in (*publication(topics, package), Output(topics.tp("models"), keys, [None] * len(keys))):
        writer.write(output)
    writer.commit()

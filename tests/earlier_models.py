"""Models as versions before `model_chunks` published them: chunks and manifest on the models topic."""

from __future__ import annotations

import copy

from headrace.codec.topic import TopicCodec
from headrace.kafka.log import Output
from headrace.models.package.package import Package, cut
from headrace.schema.own import own_schema
from headrace.schema.registry import subject_of
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS


def earlier_installation(topics: PipelineTopics) -> None:
    """Make the topics and schemas that `headrace init` of such a version made."""
    written = {t.name: t.schemas(topics.pipeline) for t in TOPICS.values() if t.name != "model_chunks"}
    written["models"] = _schemas()
    subjects = [(subject_of(topics.topic(n), s), s) for n, schemas in written.items() for s in schemas]
    topics.registry.register_all(subjects)
    partitions = {n: topics.pipeline.partitions if TOPICS[n].keyed else 1 for n in written}
    topics.log.create_topics({topics.topic(n): (partitions[n], TOPICS[n].config) for n in written})


def earlier_publication(topics: PipelineTopics, package: Package) -> Output:
    """The records that published a model then."""
    codec = TopicCodec(topics.topic("models"), _schemas(), topics.registry)
    chunks = cut(package.onnx)
    keys = [f"{c.model_id}/{c.index}" for c in chunks] + [package.manifest.model_id]
    values = [codec.encode_control(record) for record in (*chunks, package.manifest)]
    return Output(topics.tp("models"), [key.encode() for key in keys], values)


def _schemas() -> list[dict[str, object]]:
    """The record types of the models topic then: a manifest did not say where its chunks are."""
    manifest = copy.deepcopy(own_schema("ModelManifest"))
    manifest["fields"] = [f for f in manifest["fields"] if f["name"] != "chunks_from"]
    return [own_schema("ModelChunk"), manifest, own_schema("TrainedAgain")]

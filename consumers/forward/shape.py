"""What the documents of one topic look like, once personal data has stayed behind."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.consumers.forward.privacy import Mapping, Privacy, privacy
from headrace.consumers.forward.templates import COORDINATES, alias, properties
from headrace.declare.pipeline import Pipeline
from headrace.topics.table import TOPICS, Topic


@dataclass(frozen=True)
class Shape:
    """The documents of one topic.

    Attributes:
        topic: where they come from.
        alias: under what name they are searched, and the template of their indices.
        fields: their mapping, coordinates among it.
        privacy: what stays behind.
    """

    topic: Topic
    alias: str
    fields: dict[str, Mapping]
    privacy: Privacy

    @property
    def patterns(self) -> str:
        """Names of the indices that hold them."""
        return f"{self.alias}.*"

    def lifecycle(self, named: str) -> str:
        """The lifecycle policy of their indices: the one named, and none where records are kept for ever."""
        return "" if self.topic.retention == "forever" else named


def shapes(pipeline: Pipeline, secret: str) -> dict[str, Shape]:
    """Topic -> shape, of the topics that the pipeline forwards.

    Raises:
        ConfigError: a rule of ``forward`` names a field there is not, or the engine takes no index of this name.
        SchemaError: two record types of a topic have a field of one name and different types.
    """
    return {name: _shape(pipeline, TOPICS[name], secret) for name in pipeline.forward.topics}


def _shape(pipeline: Pipeline, topic: Topic, secret: str) -> Shape:
    fields = properties(pipeline, topic)
    rules = privacy(pipeline.forward, topic.name, fields, secret)
    return Shape(topic, alias(pipeline, topic), {**rules.mapped(fields), **COORDINATES}, rules)

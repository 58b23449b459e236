"""The models that have scored, loaded again from the topic by their ids."""

from __future__ import annotations

import threading

from headrace.errors import ModelRejected
from headrace.governance.catalog import published
from headrace.models.library import load
from headrace.models.package.signing import Trust
from headrace.models.score.session import ScoringModel
from headrace.schema.records import ModelManifest
from headrace.topics.pipeline_topics import PipelineTopics


class Scorers:
    """Models by id, each loaded when it is first asked for, after every check that a worker makes.

    All of them score with onnxruntime alone: what workers score trees with is itself held against it.

    Args:
        topics: the pipeline's topics.
        trust: whose models are used.
    """

    def __init__(self, topics: PipelineTopics, trust: Trust) -> None:
        self._topics = topics
        self._trust = trust
        self._published = published(topics, settled=True)
        self._models: dict[str, ScoringModel | ModelRejected] = {}
        self._lock = threading.Lock()

    def __getitem__(self, model_id: str) -> ScoringModel:
        """The loaded model.

        Raises:
            ModelRejected: it is not on the topic, or does not pass the checks.
        """
        with self._lock:
            if model_id not in self._models:
                try:
                    self._models[model_id] = self._load(model_id)
                except ModelRejected as e:
                    self._models[model_id] = e
            found = self._models[model_id]
        if isinstance(found, ModelRejected):
            raise found
        return found

    def manifest(self, model_id: str) -> ModelManifest | None:
        """What was published of a model; None where nothing was."""
        found = self._published.get(model_id)
        return None if found is None else found.manifest

    def refused(self) -> dict[str, str]:
        """Model id -> why it cannot be used, of those that were asked for."""
        return {m: str(e) for m, e in self._models.items() if isinstance(e, ModelRejected)}

    def used(self) -> list[str]:
        """The models that were asked for and could be loaded."""
        return [m for m, found in self._models.items() if isinstance(found, ScoringModel)]

    def _load(self, model_id: str) -> ScoringModel:
        if model_id not in self._published:
            topic = self._topics.topic("models")
            raise ModelRejected(f"model {model_id[:12]}: {topic} holds no manifest of it")
        manifest, offset = self._published[model_id]
        return load(self._topics, self._topics.log, manifest, offset, self._trust, reference=True)

"""The models of a pipeline, as a service or a notebook sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.errors import ConfigError
from headrace.governance.catalog import governance, published, resolve_model, trained_again
from headrace.governance.evidence import Evidence
from headrace.models.package.signing import Trust
from headrace.models.score.session import ScoringModel
from headrace.query.models import ModelView, model_view
from headrace.query.replay.scorers import Scorers
from headrace.schema.records import ModelManifest
from headrace.topics.pipeline_topics import PipelineTopics


@dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        view: what it was made of, its figures, its state.
        manifest: as published.
        evidence: of its gates; None while there is none.
    """

    view: ModelView
    manifest: ModelManifest
    evidence: Evidence | None


class Models(Mapping[str, Model]):
    """Model id, or as much of its start as is unique -> model. Each look reads the topics anew."""

    def __init__(self, topics: PipelineTopics, trust: Trust) -> None:
        self._topics = topics
        self._trust = trust

    def __getitem__(self, model: str) -> Model:
        """The model.

        Raises:
            KeyError: there is none, or several ids start so; the message says which there are.
        """
        try:
            return self.find(model)
        except ConfigError as e:
            raise KeyError(str(e)) from None

    def find(self, model: str) -> Model:
        """The model; as ``models[model]`` but for the error.

        Raises:
            ConfigError: there is none, or several ids start so; the message says which there are.
        """
        found = published(self._topics)
        model_id = resolve_model(found, model)
        decided = governance(self._topics)
        manifest = found[model_id].manifest
        gates = tuple(decided.gates.get(model_id, {}).values())
        evidence = Evidence.of(model_id, gates) if gates else None
        again = trained_again(self._topics).get(model_id, ())
        return Model(model_view(manifest, decided, again), manifest, evidence)

    def __iter__(self) -> Iterator[str]:
        return iter(published(self._topics))

    def __len__(self) -> int:
        return len(published(self._topics))

    @property
    def champion(self) -> Model | None:
        """The model that answers now; None while there is none."""
        in_force = governance(self._topics).in_force
        return None if in_force is None else self[in_force.policy.champion]

    def load(self, model: str) -> ScoringModel:
        """A model to score with here, after every check that a worker makes.

        Raises:
            ConfigError: there is none of that id.
            ModelRejected: it does not pass a check.
        """
        return Scorers(self._topics, self._trust)[resolve_model(published(self._topics), model)]

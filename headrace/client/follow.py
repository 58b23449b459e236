"""Follow a pipeline's models from any service, and score your own rows with the model in force.

The embedded-model pattern of serving: no model server, no restart. A thread follows the topics; a new policy
is used from the first call after its models are loaded, and until then the old one goes on answering.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headrace.client.feature_rows import FeatureRows, as_rows, feature_matrix, ids_of
from headrace.errors import Unavailable
from headrace.governance.policy import PolicyInForce, answering
from headrace.models.library import ModelLibrary
from headrace.models.package.signing import Trust
from headrace.models.score.session import ScoringModel
from headrace.schema.records import ConsumerContract
from headrace.topics.pipeline_topics import PipelineTopics

Scores = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Scored:
    """Scores of a batch of rows.

    Attributes:
        scores: float32 (n, k), one row for each row given.
        model_ids: the model that answered each row.
        activation_id: the activation whose policy was in force.
    """

    scores: Scores
    model_ids: list[str]
    activation_id: str

    @property
    def probability(self) -> float:
        """The score of the one row that was given.

        Raises:
            ValueError: it was not one row with one score.
        """
        if self.scores.shape != (1, 1):
            raise ValueError(f"{self.scores.shape[0]} rows of {self.scores.shape[1]} scores: see .scores")
        return float(self.scores[0, 0])


class _Snapshot(NamedTuple):
    """A policy with the models it names: what one call to score works with, whatever comes into force meanwhile."""

    policy: PolicyInForce
    models: dict[str, ScoringModel]


class ModelSubscriber:
    """Scores rows with the policy activated last. Safe to share between threads.

    Args:
        topics: the pipeline's topics.
        consumer_id: name of this service. With ``features`` it is published as a contract: a candidate that
            needs other columns does not pass the gates.
        features: feature columns this service can give; empty: no contract is published.
        trust: whose models it uses.

    Example::

        with client.follow("checkout") as model:
            model.wait(30)
            p = model.score({"price": 9.5, "seen_10m": 3}).probability
    """

    def __init__(self, topics: PipelineTopics, consumer_id: str, features: tuple[str, ...], trust: Trust) -> None:
        self._library = ModelLibrary(topics, topics.log, trust)
        self._snapshot: _Snapshot | None = None
        self._lock = threading.Lock()
        if features:
            self._publish(topics, ConsumerContract(consumer_id=consumer_id, features=list(features)))

    def __enter__(self) -> ModelSubscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def in_force(self) -> PolicyInForce | None:
        """The policy this service scores under: the newest whose models are all loaded."""
        snapshot = self._now()
        return None if snapshot is None else snapshot.policy

    def wait(self, seconds: float) -> PolicyInForce:
        """Wait for a policy to score under.

        Raises:
            Unavailable: none came in time.
        """
        deadline = time.monotonic() + seconds
        while (policy := self.in_force) is None:
            if time.monotonic() > deadline:
                raise Unavailable(f"no model has been activated, or loaded, within {seconds:g} s")
            self._library.changed.wait(0.1)
            self._library.changed.clear()
        return policy

    def score(self, rows: FeatureRows, id_column: str = "id") -> Scored:
        """Score rows that carry the model's feature columns.

        Args:
            rows: one row per thing to score: a frame, one mapping, or a list of mappings, from a feature's name to a
                number (true and false are 1 and 0); what else they hold is passed over.
            id_column: column that routes a row where a policy splits answers; without it, a row's index does.

        Raises:
            Unavailable: no model is in force yet.
            SchemaError: a feature is missing, is no number, or is null, NaN or infinite; the message names the row.
        """
        snapshot = self._now()
        if snapshot is None:
            raise Unavailable("no model is in force yet: approve one, or wait()")
        listed = as_rows(rows)
        policy = snapshot.policy.policy
        route = answering(policy, ids_of(listed, id_column))
        scores: Scores | None = None
        for i, r in enumerate(policy.routes):
            mine = np.flatnonzero(route == i)
            if not len(mine):
                continue
            model = snapshot.models[r.model_id]
            part = model.score(feature_matrix(listed, model.manifest.features)[mine])
            if scores is None:
                scores = np.zeros((len(listed), part.shape[1]), dtype=np.float32)
            scores[mine] = part
        answered = [policy.routes[i].model_id for i in route.tolist()]
        none = np.zeros((0, 1), np.float32)
        return Scored(none if scores is None else scores, answered, snapshot.policy.activation_id)

    def close(self) -> None:
        """End the thread that follows the topics."""
        self._library.close()

    def _now(self) -> _Snapshot | None:
        latest = self._library.latest() if self._library.current else None
        with self._lock:
            if latest is not None and (self._snapshot is None or latest != self._snapshot.policy):
                found = {r.model_id: self._library.model(r.model_id) for r in latest.policy.routes}
                models = {model_id: model for model_id, model in found.items() if model is not None}
                if len(models) == len(found):
                    self._snapshot = _Snapshot(latest, models)
                    self._library.keep_only(latest.policy.models)
            return self._snapshot

    def _publish(self, topics: PipelineTopics, contract: ConsumerContract) -> None:
        output = topics.control("contracts", [contract], [contract.consumer_id])
        sender = topics.log.sender(contract.consumer_id)
        sender.send(output.tp.topic, output.keys, output.values)
        sender.flush()

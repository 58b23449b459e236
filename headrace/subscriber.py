"""Follow a pipeline's models from any service, and score your own rows with the model in force.

The embedded-model pattern of serving: no model server, no restart. A thread follows the topics; a new policy
is used from the first call after its models are loaded, and until then the old one goes on answering.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import polars as pl

from headrace.config import load_settings
from headrace.errors import HeadraceError, SchemaError, Unavailable
from headrace.log.pipeline_log import PipelineLog
from headrace.models.library import ModelLibrary
from headrace.models.policy import Marked, answering
from headrace.models.signing import Trust
from headrace.records import ConsumerContract

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


class ModelSubscriber:
    """Scores rows with the policy activated last.

    Args:
        topics: the pipeline's topics.
        consumer_id: name of this service. With ``features`` it is published as a contract: a candidate that
            needs other columns does not pass the gates.
        features: feature columns this service can give; empty: no contract is published.
        trust: whose models it uses; None: whose the settings name.

    Example::

        with ModelSubscriber(topics, "checkout") as models:
            models.wait(30)
            probability = models.score(rows).scores[:, 0]
    """

    def __init__(
        self, topics: PipelineLog, consumer_id: str, features: tuple[str, ...] = (), trust: Trust | None = None
    ) -> None:
        self._library = ModelLibrary(topics, topics.log, trust or Trust.of(load_settings().with_keys()))
        self._in_force: Marked | None = None
        self._lock = threading.Lock()
        if features:
            self._publish(topics, ConsumerContract(consumer_id=consumer_id, features=list(features)))

    def __enter__(self) -> ModelSubscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def in_force(self) -> Marked | None:
        """The policy this service scores under: the newest whose models are all loaded."""
        latest = self._library.latest() if self._library.current else None
        with self._lock:
            if latest is not None and latest != self._in_force and self._loaded(latest):
                self._in_force = latest
                self._library.keep_only(latest.policy.models)
            return self._in_force

    def wait(self, seconds: float) -> Marked:
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

    def score(self, rows: pl.DataFrame, id_column: str = "id") -> Scored:
        """Score rows that carry the model's feature columns.

        Args:
            rows: one row per thing to score; columns are found by name.
            id_column: column that routes a row where a policy splits answers; a missing one routes by place.

        Raises:
            Unavailable: no model is in force yet.
            SchemaError: a feature column is missing, is no number, or holds a null, NaN or infinity.
        """
        marked = self.in_force
        if marked is None:
            raise Unavailable("no model is in force yet: approve one, or wait()")
        ids = (
            rows[id_column].cast(pl.String).to_list() if id_column in rows.columns else list(map(str, range(len(rows))))
        )
        route = answering(marked.policy, ids)
        scores: Scores | None = None
        for i, r in enumerate(marked.policy.routes):
            mine = np.flatnonzero(route == i)
            model = self._library.model(r.model_id)
            if model is None:
                raise HeadraceError(f"model {r.model_id[:12]} was let go while in force: report this")
            part = model.score(_matrix(rows[mine], model.manifest.features)) if len(mine) else None
            if part is not None:
                if scores is None:
                    scores = np.zeros((len(rows), part.shape[1]), dtype=np.float32)
                scores[mine] = part
        answered = [marked.policy.routes[i].model_id for i in route.tolist()]
        return Scored(np.zeros((0, 1), np.float32) if scores is None else scores, answered, marked.activation_id)

    def close(self) -> None:
        """End the thread."""
        self._library.close()

    def _loaded(self, marked: Marked) -> bool:
        return all(self._library.model(r.model_id) is not None for r in marked.policy.routes)

    def _publish(self, topics: PipelineLog, contract: ConsumerContract) -> None:
        output = topics.control("contracts", [contract], [contract.consumer_id])
        sender = topics.log.sender(contract.consumer_id)
        sender.send(output.tp.topic, output.keys, output.values)
        sender.flush()


def _matrix(rows: pl.DataFrame, features: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    if missing := [f for f in features if f not in rows.columns]:
        raise SchemaError(f"rows lack the feature columns {', '.join(missing)}")
    try:
        matrix = rows.select(pl.col(f).cast(pl.Float32) for f in features).to_numpy()
    except pl.exceptions.PolarsError as e:
        raise SchemaError(f"a feature column holds no numbers: {e}") from None
    if not np.isfinite(matrix).all():
        raise SchemaError("a feature is null, NaN or infinite; the model was trained on finite numbers")
    return np.ascontiguousarray(matrix)

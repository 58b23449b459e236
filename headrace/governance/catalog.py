"""What has been published and decided, read from the topics: the manifests, and the state of governance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.errors import ConfigError
from headrace.governance.policy import PolicyTimeline
from headrace.kafka.log import Chunk, read_all
from headrace.schema.records import (
    Activated,
    Approval,
    GateResult,
    ModelManifest,
    Policy,
    Record,
    Rejection,
    RolledBack,
    TrainedAgain,
)
from headrace.topics.pipeline_topics import PipelineTopics

AGAIN = b"/again/"
"""What stands in the key of a :class:`TrainedAgain`, between the model's id and the trigger's."""


class Published(NamedTuple):
    """A manifest and its offset on the models topic."""

    manifest: ModelManifest
    offset: int


def manifests_in(topics: PipelineTopics, chunk: Chunk) -> dict[str, Published]:
    """The manifests among the records of a chunk of the models topic, the first of each id; model chunks are not
    decoded."""
    found: dict[str, Published] = {}
    for offset, record in topics.control_records(without_model_chunks(chunk)):
        if isinstance(record, ModelManifest):
            _add(found, Published(record, offset))
    return found


def _add(found: dict[str, Published], later: Published) -> None:
    """Take a manifest in. One of a known id says nothing new but where the chunks are, where that was not known."""
    model_id, begin = later.manifest.model_id, later.manifest.chunks_from
    first = found.setdefault(model_id, later)
    if first.manifest.chunks_from is None and begin is not None:
        found[model_id] = first._replace(manifest=first.manifest.model_copy(update={"chunks_from": begin}))


def without_model_chunks(chunk: Chunk) -> Chunk:
    """A chunk of the models topic without the bytes of models, which older versions wrote there."""
    return keyed(chunk, lambda key: b"/" not in key)


def keyed(chunk: Chunk, wanted: Callable[[bytes], bool]) -> Chunk:
    """The records of a chunk whose keys are wanted; those without a key are not."""
    places = [i for i, key in enumerate(chunk.keys) if key is not None and wanted(key)]
    return Chunk.of(
        chunk.tp, [int(chunk.offsets[i]) for i in places], [None] * len(places), [chunk.values[i] for i in places]
    )


def trained_again(topics: PipelineTopics) -> dict[str, list[TrainedAgain]]:
    """Model id -> the trainings that gave this model when it had been published before, oldest first."""
    found: dict[str, list[TrainedAgain]] = {}
    for chunk in read_all(topics.log, topics.topic("models"), limit=200):
        for _, record in topics.control_records(keyed(chunk, lambda key: AGAIN in key)):
            if isinstance(record, TrainedAgain):
                found.setdefault(record.model_id, []).append(record)
    return found


def published(topics: PipelineTopics, *, settled: bool = False) -> dict[str, Published]:
    """Every manifest on the models topic, by model id, in the order of publication. Of several of one id, the first:
    the id stands for the bytes, so that a later one can say nothing new.

    With ``settled``, transactions that are open now are waited for.
    """
    found: dict[str, Published] = {}
    for chunk in read_all(topics.log, topics.topic("models"), limit=200, settled=settled):
        for later in manifests_in(topics, chunk).values():
            _add(found, later)
    return found


@dataclass
class Governance:
    """The decisions of a pipeline, folded in log order. Taking a record twice changes nothing."""

    gates: dict[str, dict[str, GateResult]] = field(default_factory=dict)
    orders: dict[int, Approval | RolledBack] = field(default_factory=dict)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    refused: dict[int, Rejection] = field(default_factory=dict)
    activations: dict[str, Activated] = field(default_factory=dict)
    timeline: PolicyTimeline = field(default_factory=PolicyTimeline)

    def take(self, offset: int, record: Record) -> None:
        """Fold in one decisions record."""
        match record:
            case GateResult():
                self.gates.setdefault(record.model_id, {})[record.gate] = record
            case Approval() | RolledBack():
                self.orders[offset] = record
            case Rejection(order_offset=None):
                self.rejected[record.model_id] = record
            case Rejection(order_offset=int() as order):
                self.refused[order] = record
            case Activated():
                self.activations.setdefault(record.activation_id, record)
                self.timeline.add(record)

    def open_orders(self) -> dict[int, Approval | RolledBack]:
        """Orders that are neither carried out nor refused, in the order in which govern takes them: rollbacks first,
        the latest of them before all others; then approvals, oldest first."""
        done = {a.order_offset for a in self.activations.values()} | self.refused.keys()
        left = [(o, order) for o, order in sorted(self.orders.items()) if o not in done]
        back = [(o, order) for o, order in left if isinstance(order, RolledBack)]
        return dict([*reversed(back), *left])

    def asked_for(self, order: Approval | RolledBack) -> Policy | None:
        """The policy that an order asks for; None: it goes back to an activation that there was not, or leaves out
        its champion."""
        if isinstance(order, Approval):
            return order.policy
        earlier = self.activations.get(order.activation_id)
        if earlier is None or earlier.policy.champion in order.without:
            return None
        return earlier.policy.without(order.without)

    def rejected_in(self, policy: Policy) -> list[str]:
        """The models of a policy that are rejected."""
        return [m for m in policy.models if m in self.rejected]

    def next_policies(self) -> Iterator[tuple[Approval | RolledBack, Policy]]:
        """The open orders that name no rejected model, in the order in which govern takes them, with their policies."""
        for order in self.open_orders().values():
            policy = self.asked_for(order)
            if policy is not None and not self.rejected_in(policy):
                yield order, policy

    def ruling_though_rejected(self) -> list[str]:
        """Rejected models of the policy in force, where no open order replaces it."""
        if self.in_force is None or next(self.next_policies(), None) is not None:
            return []
        return self.rejected_in(self.in_force.policy)

    def earlier(self) -> Iterator[Activated]:
        """The activations that may be gone back to, latest first, one of each policy: another than rules now, none of
        whose models is rejected."""
        seen = [self.in_force.policy] if self.in_force is not None else []
        for activated in reversed(self.activations.values()):
            if activated.policy not in seen and not self.rejected_in(activated.policy):
                seen.append(activated.policy)
                yield activated

    @property
    def in_force(self) -> Activated | None:
        """The latest activation of a policy."""
        return list(self.activations.values())[-1] if self.activations else None

    def champions(self) -> list[str]:
        """Model ids in the order in which they first ruled."""
        return list(dict.fromkeys(a.model_id for a in self.activations.values()))


def governance(topics: PipelineTopics, *, settled: bool = False) -> Governance:
    """The decisions of a pipeline as they stand; with ``settled``, transactions that are open now are waited for."""
    state = Governance()
    for offset, record in topics.read_control("decisions", settled=settled):
        state.take(offset, record)
    return state


def resolve_model(models: dict[str, Published], prefix: str) -> str:
    """The one model id that starts with ``prefix``.

    Raises:
        ConfigError: none does, or several do.
    """
    found = [m for m in models if m.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        known = ", ".join(m[:12] for m in models) or "none yet"
        raise ConfigError(f"no published model starts with {prefix!r}; there are: {known}")
    raise ConfigError(f"{prefix!r} fits {len(found)} models: give more of the id")

"""The control records: what people, gates and workers say to one another through the log.

Each model mirrors the Avro schema of the same name in ``schemas/``. Hot records (features, predictions,
labels) are columns and have no class here.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


def now() -> datetime:
    """Wall-clock time, for information only: no result depends on it."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of every control record and of the parts they are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OffsetRange(Record):
    partition: int
    start: int
    stop: int


class PartitionOffset(Record):
    partition: int
    offset: int


FULL = 100
"""Weight of a route that is alone: the weights of an approval are percent."""


class Route(Record):
    model_id: str
    weight: int = Field(gt=0)


class Policy(Record):
    """Which models score a record, and who answers."""

    routes: list[Route] = Field(min_length=1)
    shadows: list[str] = []
    salt: str = ""
    backlog: Literal["SCORE", "SKIP"] = "SCORE"

    @property
    def models(self) -> list[str]:
        """Every model the policy needs, champion first, none twice."""
        return list(dict.fromkeys([*(r.model_id for r in self.routes), *self.shadows]))

    @property
    def champion(self) -> str:
        return self.routes[0].model_id

    def without(self, models: Collection[str]) -> Policy:
        """This policy with some of its candidates or shadows left out; a route that is left alone answers everything.

        Raises:
            ValueError: the champion is among ``models``: what is left is no policy that anyone approved.
        """
        if not models:
            return self
        if self.champion in models:
            raise ValueError(f"policy without its champion {self.champion[:12]}")
        routes = [r for r in self.routes if r.model_id not in models]
        shadows = [m for m in self.shadows if m not in models]
        if len(routes) == 1:
            return Policy(routes=[Route(model_id=self.champion, weight=FULL)], shadows=shadows, backlog=self.backlog)
        return self.model_copy(update={"routes": routes, "shadows": shadows})


class TrainingTrigger(Record):
    trigger_id: str
    reason: Literal["drift", "schedule", "person", "code"]
    detail: str
    requester: str
    event_time: datetime | None = None
    ranges: list[OffsetRange]
    at: datetime = Field(default_factory=now)


class ModelChunk(Record):
    model_id: str
    index: int
    digest: str
    data: bytes


class Tensor(Record):
    name: str
    dtype: str
    shape: list[int]


class RangeTree(Record):
    partition: int
    count: int
    block: int
    blocks: str


class Lineage(Record):
    trigger_id: str
    trigger_reason: str
    ranges: list[OffsetRange]
    records: int
    root_hash: str
    train_until: datetime
    validation_until: datetime
    seed: int
    parameters: dict[str, str]
    code_version: str
    lock_hash: str
    runtime: str
    trees: list[RangeTree] = []
    settings: dict[str, str] = {}
    packages: dict[str, str] = {}
    fit_hash: str = ""


class FeatureBaseline(Record):
    feature: str
    edges: list[float]
    shares: list[float]
    rows: int = 0


class Certificate(Record):
    name: str
    passed: bool
    detail: str


class ModelManifest(Record):
    model_id: str
    pipeline: str
    size: int
    chunks: list[str]
    algorithm: str
    target: str
    features: list[str]
    inputs: list[Tensor]
    outputs: list[Tensor]
    score_output: str
    feature_schema: str
    lineage: Lineage
    metrics: dict[str, float]
    baseline: list[FeatureBaseline]
    certificates: list[Certificate]
    batching: str
    sort_by: str | None = None
    chunks_from: int | None = None
    signature: bytes | None = None
    at: datetime = Field(default_factory=now)


class TrainedAgain(Record):
    model_id: str
    trigger_id: str
    trigger_reason: str
    requester: str
    at: datetime = Field(default_factory=now)


class GateResult(Record):
    model_id: str
    gate: str
    passed: bool
    mode: Literal["block", "advise"]
    summary: str
    evidence: str
    at: datetime = Field(default_factory=now)


class Approval(Record):
    model_id: str
    by: str
    evidence_hash: str
    policy: Policy
    note: str = ""
    at: datetime = Field(default_factory=now)


class Rejection(Record):
    model_id: str
    by: str
    reason: str
    order_offset: int | None = None
    at: datetime = Field(default_factory=now)


class Activated(Record):
    activation_id: str
    model_id: str
    policy: Policy
    markers: list[PartitionOffset]
    reason: str
    order_offset: int
    evidence_hash: str
    at: datetime = Field(default_factory=now)


class RolledBack(Record):
    activation_id: str
    without: list[str] = []
    by: str
    reason: str
    at: datetime = Field(default_factory=now)


class LossAccepted(Record):
    """A person accepts that a group goes on without records that Kafka no longer has."""

    group: str
    topic: str
    partition: int
    start: int
    stop: int
    kind: Literal["unread", "state", "replaced"]
    topic_id: str
    by: str
    at: datetime = Field(default_factory=now)


class FilePushed(Record):
    """How far a file has been pushed, written in the transaction that holds its events."""

    file: str
    name: str
    size: int
    done: int
    sent: int
    refused: int
    finished: bool
    at: datetime = Field(default_factory=now)


class WorkerStatus(Record):
    worker_id: str
    model_id: str
    state: Literal["LOADED", "REJECTED", "ACTIVE"]
    reason: str = ""
    partition: int | None = None
    offset: int | None = None
    runtime: str = ""
    at: datetime = Field(default_factory=now)


class ConsumerContract(Record):
    consumer_id: str
    features: list[str]
    scores: int = 1
    at: datetime = Field(default_factory=now)


class PolicyMarker(Record):
    activation_id: str
    policy: Policy


class DeadLetter(Record):
    stage: str
    code: str
    reason: str
    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    traceback: str | None = None
    at: datetime | None = None


class DeadRetry(Record):
    """The trace of a retry."""

    letter_partition: int
    letter_offset: int
    topic: str
    partition: int
    offset: int
    by: str
    at: datetime = Field(default_factory=now)

    @property
    def where(self) -> str:
        """Where the record now stands, as people read it."""
        return f"{self.topic}[{self.partition}] {self.offset}"


class Metric(Record):
    model_id: str
    name: str
    group: str = ""
    window_start: datetime
    window_end: datetime
    value: float
    count: int
    route: str = ""
    version: int = 1
    bins: list[float] = []


CONTROL_RECORDS: dict[str, type[Record]] = {
    c.__name__: c
    for c in (
        TrainingTrigger,
        ModelChunk,
        ModelManifest,
        TrainedAgain,
        GateResult,
        Approval,
        Rejection,
        Activated,
        RolledBack,
        LossAccepted,
        WorkerStatus,
        ConsumerContract,
        PolicyMarker,
        DeadLetter,
        DeadRetry,
        Metric,
        FilePushed,
    )
}

"""Every processor that needs no child process keeps its contract, and each kind of breach is told."""

from __future__ import annotations

import random
from collections.abc import Sequence

import polars as pl
import pytest

from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.models.package.signing import Trust
from headrace.models.package.topic import publication
from headrace.schema.records import Activated, PartitionOffset, Policy, PolicyMarker, Route
from headrace.streams.infer import Infer
from headrace.streams.join.processor import Join
from headrace.streams.monitor.processor import Monitor
from headrace.streams.preprocess import Preprocess
from headrace.testing import ContractBroken, MemoryPlatform, check_processor
from headrace.testing.models import model_package
from headrace.testing.pipelines import clicks, toy
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Processor, Stateless, Step

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def platform() -> MemoryPlatform:
    """Everything on the log: events, some of them broken, a model in force, predictions, outcomes."""
    made = MemoryPlatform(toy("toy", partitions=2))
    topics = made.topics
    package = model_package(topics.pipeline, 1)
    model_id = package.manifest.model_id
    policy = Policy(routes=[Route(model_id=model_id, weight=1)])
    writer = made.log.writer("test")
    writer.begin()
    for output in publication(topics, package):
        writer.write(output)
    for partition in range(2):
        marker = PolicyMarker(activation_id="a", policy=policy)
        writer.write(topics.control("features", [marker], ["k"], partition))
    writer.commit()
    activated = Activated(
        activation_id="a",
        model_id=model_id,
        policy=policy,
        markers=[PartitionOffset(partition=p, offset=0) for p in range(2)],
        reason="approval",
        order_offset=0,
        evidence_hash="",
    )
    write_control(topics, "decisions", [activated], [model_id])
    made.push(clicks(0, 300))
    made.log.sender("test").send(topics.topic("raw"), [b"user1", b"user2"], [b"\x01nonsense", None])
    made.run("preprocess", "infer", "join")
    return made


def infer(topics: PipelineTopics) -> Processor:
    return Infer(topics, topics.log, "infer-0", Trust(unsigned=True))


@pytest.mark.parametrize("make", [Preprocess, Join, Monitor], ids=lambda make: make.__name__.lower())
def test_a_processor_keeps_its_contract(platform: MemoryPlatform, make: type[Processor]) -> None:
    check_processor(make, platform.topics, rounds=2)


def test_infer_keeps_its_contract(platform: MemoryPlatform) -> None:
    check_processor(infer, platform.topics, rounds=2, patience=20, but=("workers",))


class Copies(Stateless):
    """Copies the raw events' labels on: the least of a processor, in as many wrong ways as its subclasses have."""

    name = "copies"

    def __init__(self, topics: PipelineTopics) -> None:
        self._topics = topics
        self.inputs = (topics.topic("labels"),)
        self.seen = 0

    def process(self, batch: Chunk) -> Step:
        rows = self._topics.codec("labels").decode(batch.values).frame()
        return Step([self._topics.rows("labels", batch.tp.partition, self.changed(rows), list(batch.keys))])

    def changed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows


class ByBatch(Copies):
    def changed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.lit(float(rows.height)).alias("label"))


class Counting(Copies):
    """Numbers the records, and cannot rebuild how far it was."""

    def changed(self, rows: pl.DataFrame) -> pl.DataFrame:
        numbers = pl.int_range(self.seen, self.seen + rows.height, eager=True)
        self.seen += rows.height
        return rows.with_columns(numbers.cast(pl.Float64).alias("label"))

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.seen = 0


class CountingOne(Counting):
    """The same of one partition, rebuilt from its beginning; it has counted before it fails."""

    def __init__(self, topics: PipelineTopics) -> None:
        super().__init__(topics)
        self.counts: dict[int, int] = {}

    def process(self, batch: Chunk) -> Step:
        self.seen = self.counts.get(batch.tp.partition, 0)
        self.counts[batch.tp.partition] = self.seen + len(batch)
        return super().process(batch)

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        return 0

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.counts = {}


class Silent(Copies):
    def process(self, batch: Chunk) -> Step:
        return Step([Output(self._topics.tp("labels", 0), [], [])])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (ByBatch, "cut into other batches, the inputs give other records on toy.labels"),
        (CountingOne, "after an error in each batch, the inputs give other records on toy.labels"),
        (Silent, "the processor writes nothing for these inputs"),
    ],
)
def test_a_breach_is_told(platform: MemoryPlatform, make: type[Processor], said: str) -> None:
    with pytest.raises(ContractBroken, match=said):
        check_processor(make, platform.topics)


def test_state_that_cannot_be_rebuilt_is_told(platform: MemoryPlatform) -> None:
    one = MemoryPlatform(toy("toy", partitions=1))
    one.push(clicks(0, 100))
    one.run("preprocess")
    with pytest.raises(ContractBroken, match="after a restart that rebuilds its state, the inputs give other records"):
        check_processor(Counting, one.topics)


def test_the_copier_itself_is_fine(platform: MemoryPlatform) -> None:
    check_processor(Copies, platform.topics, seed=random.randrange(1000))

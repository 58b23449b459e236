"""Which models a process loads, and in which order: what the stream needs first, what nobody needs never."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from headrace.codec.column import BytesColumn
from headrace.codec.topic import TopicCodec
from headrace.errors import SchemaError
from headrace.kafka.memory import MemoryLog
from headrace.models.library import ModelLibrary
from headrace.models.package.signing import Trust
from headrace.models.package.topic import publication
from headrace.schema.records import Activated, Approval, PartitionOffset, Record, Rejection
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from tests.integration.platform import only
from tests.waiting import wait_for


class Desk:
    """A pipeline in memory, three models for it, and libraries that follow it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.topics = in_memory(toy("library", partitions=1), self.log)
        self.packages = [model_package(self.topics.pipeline, seed) for seed in range(3)]
        self.ids = [p.manifest.model_id for p in self.packages]
        self._writer = self.log.writer("desk")
        self._opened: list[ModelLibrary] = []

    def publish(self) -> None:
        """Put all three models on their topic at once."""
        self._writer.begin()
        for package in self.packages:
            for output in publication(self.topics, package):
                self._writer.write(output)
        self._writer.commit()

    def decide(self, *records: Record) -> list[int]:
        """Write decisions; gives their offsets."""
        self._writer.begin()
        (offsets,) = self._writer.write_and_wait([self.topics.control("decisions", records, ["k"] * len(records))])
        self._writer.commit()
        return offsets

    def approve(self, model_id: str) -> int:
        """Order a model into force; gives the order's offset."""
        order = Approval(model_id=model_id, by="desk", policy=only(model_id), evidence_hash="")
        return self.decide(order)[0]

    def rule(self, model_id: str) -> None:
        """Order a model into force and carry it out."""
        order = self.approve(model_id)
        activated = Activated(
            activation_id=f"a{order}",
            model_id=model_id,
            policy=only(model_id),
            markers=[PartitionOffset(partition=0, offset=order)],
            reason="approval",
            order_offset=order,
            evidence_hash="",
        )
        self.decide(activated)

    def library(self) -> ModelLibrary:
        """A process that starts now."""
        self._opened.append(ModelLibrary(self.topics, self.log, Trust(unsigned=True)))
        return self._opened[-1]

    def close(self) -> None:
        for library in self._opened:
            library.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def loads(library: ModelLibrary, found: list[str], wanted: Sequence[str]) -> Callable[[], bool]:
    """Whether as many models as wanted are loaded; ``found`` gets them in the order of loading."""

    def all_there() -> bool:
        found.extend(e.model_id for e in library.events() if e.state == "LOADED")
        return len(found) >= len(wanted)

    return all_there


def test_a_process_that_starts_loads_no_model_of_the_past_before_it_asks_for_one(desk: Desk) -> None:
    desk.publish()
    for model_id in desk.ids:
        desk.rule(model_id)
    library, found = desk.library(), list[str]()
    wait_for(loads(library, found, [desk.ids[2]]), 30, "the policy in force")
    assert library.model(desk.ids[0]) is None
    wait_for(loads(library, found, [desk.ids[2], desk.ids[0]]), 30, "the model asked for")
    assert found == [desk.ids[2], desk.ids[0]]


def test_a_model_whose_order_was_refused_is_neither_loaded_nor_kept(desk: Desk) -> None:
    desk.publish()
    desk.rule(desk.ids[0])
    order = desk.approve(desk.ids[1])
    library, found = desk.library(), list[str]()
    wait_for(loads(library, found, desk.ids[:2]), 30, "the model in force and the one ordered")
    desk.decide(Rejection(model_id=desk.ids[1], by="govern", reason="no", order_offset=order))
    desk.approve(desk.ids[2])
    wait_for(loads(library, found, desk.ids), 30, "the model ordered next")
    library.keep_only([desk.ids[0]])
    assert [library.model(m) is None for m in desk.ids] == [False, True, False]
    late, since = desk.library(), list[str]()
    wait_for(loads(late, since, [desk.ids[0], desk.ids[2]]), 30, "what a process that starts now needs")
    assert since == [desk.ids[0], desk.ids[2]]


@pytest.mark.slow
def test_what_the_stream_waits_for_comes_first_then_the_orders_in_their_order(desk: Desk) -> None:
    desk.approve(desk.ids[2])
    desk.approve(desk.ids[1])
    library, found = desk.library(), list[str]()
    assert library.model(desk.ids[0]) is None
    desk.publish()
    wait_for(loads(library, found, desk.ids), 40, "all three models")
    assert found == [desk.ids[0], desk.ids[2], desk.ids[1]]


def test_the_bytes_of_models_that_nobody_wants_are_never_decoded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def count(codec: TopicCodec) -> None:
        plain = codec.decode_controls

        def counting(values: BytesColumn) -> Iterator[Record | SchemaError]:
            for record in plain(values):
                decoded.append(type(record).__name__)
                yield record

        monkeypatch.setattr(codec, "decode_controls", counting)

    count(desk.topics.codec("models"))
    count(desk.topics.codec("model_chunks"))
    desk.publish()
    desk.rule(desk.ids[1])
    library = desk.library()
    wait_for(lambda: library.model(desk.ids[1]), 20, "the model in force is loaded")
    chunks = len(desk.packages[1].manifest.chunks)
    assert decoded.count("ModelManifest") >= 3
    assert decoded.count("ModelChunk") == chunks
    before = len(decoded)
    later = desk.library()
    wait_for(lambda: later.current, 20, "a second process has read the topics")
    wait_for(lambda: len(decoded) >= before + 3, 20, "it has read the manifests")
    assert set(decoded[before : before + 3]) == {"ModelManifest"}

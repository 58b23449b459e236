"""Hold a processor to its contract: batches do not matter, state can be rebuilt, an error leaves no trace in it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from headrace.errors import SchemaError
from headrace.kafka.log import Chunk, Output, TopicPartition, read_range
from headrace.schema.records import CONTROL_RECORDS
from headrace.testing.features import ContractBroken
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS
from headrace.worker.processor import Processor, Step

ROUNDS = 4
SEED = 7
TURNS = 10_000
POLL_S = 0.01
MOMENTS = frozenset({"at"})
"""Fields of control records that hold the time of writing: they differ from run to run."""
Make = Callable[[PipelineTopics], Processor]


def check_processor(
    make: Make,
    topics: PipelineTopics,
    *,
    rounds: int = ROUNDS,
    seed: int = SEED,
    patience: float = 0.0,
    but: Sequence[str] = (),
) -> None:
    """Hold a processor to its contract, on the records that its inputs hold.

    Its results must be the same however each partition is cut into batches; a new one that rebuilds its state from
    ``rebuild_from`` must go on as the old one would have; and where it is ``atomic``, a batch on which it raised must
    give, when it comes again, what it would have given.

    Args:
        make: makes the processor on topics; each is closed at the end.
        topics: a pipeline's topics with records on them (see :class:`headrace.testing.MemoryPlatform`). Nothing is
            written to them.
        rounds: how many ways to cut the inputs.
        seed: of the cuts.
        patience: seconds to wait for a processor whose own threads bring what it waits for.
        but: topics that are not compared: what it says of itself there differs from run to run.

    Raises:
        ContractBroken: a law does not hold; the message says which, and for which record.
    """
    chance = random.Random(seed)
    start = _Starter(make, topics, patience, frozenset(map(topics.topic, but)))
    whole = start().to_the_end(_whole(topics, make))
    if not whole.records:
        raise ContractBroken("the processor writes nothing for these inputs: give it records that it writes for")
    for _ in range(rounds):
        pieces = _cut(_whole(topics, make), chance)
        _same("cut into other batches, the inputs", topics, whole, start().to_the_end(pieces))
        _same("after a restart that rebuilds its state, the inputs", topics, whole, _restarted(start, chance))
    if whole.atomic:
        _same("after an error in each batch, the inputs", topics, whole, _disturbed(start, chance))


@dataclass
class _Results:
    """What a run wrote: topic partition -> records in a comparable form, and how often each."""

    records: dict[TopicPartition, Counter[str]] = field(default_factory=dict)
    atomic: bool = True

    def take(self, topics: PipelineTopics, outputs: Sequence[Output]) -> None:
        for output in outputs:
            found = self.records.setdefault(output.tp, Counter())
            found.update(_comparable(topics, output))


@dataclass(frozen=True)
class _Starter:
    """Starts runs of one processor."""

    make: Make
    topics: PipelineTopics
    patience: float
    but: frozenset[str]

    def __call__(self) -> _Run:
        return _Run(self)


class _Run:
    """One processor, fed by hand as the loop feeds it."""

    def __init__(self, start: _Starter) -> None:
        self.topics = topics = start.topics
        self._start = start
        self.processor = start.make(topics)
        self.tps = [TopicPartition(t, p) for t in self.processor.inputs for p in range(topics.log.partitions(t))]
        self.results = _Results(atomic=self.processor.atomic)
        self.processor.assigned(self.tps)
        self.position = dict.fromkeys(self.tps, 0)

    def to_the_end(self, pieces: Mapping[TopicPartition, Sequence[Chunk]]) -> _Results:
        """Give it all of the pieces, those of a partition in order; close it."""
        try:
            self.feed(pieces)
            return self.results
        finally:
            self.processor.close()

    def feed(self, pieces: Mapping[TopicPartition, Sequence[Chunk]], *, discard: bool = False) -> None:
        """Give it pieces until it has taken all that it can; what it waits for for good stays."""
        left = {tp: [chunk for chunk in chunks if len(chunk)] for tp, chunks in pieces.items()}
        deadline = time.monotonic() + self._start.patience
        for _ in range(TURNS):
            taken = 0
            for tp, chunks in left.items():
                if chunks:
                    taken += self._take(tp, chunks, discard)
            # While it rebuilds, too: what was due by then was written before, and one that would find it on its own
            # topic finds nothing here.
            ticked = self._written(self.processor.tick(), discard)
            if taken or ticked:
                deadline = time.monotonic() + self._start.patience
            elif not any(left.values()) or time.monotonic() >= deadline:
                return
            else:
                time.sleep(POLL_S)
        raise ContractBroken(f"the processor goes on writing after {TURNS:,} turns without new records")

    def _take(self, tp: TopicPartition, chunks: list[Chunk], discard: bool) -> int:
        return self.took(tp, chunks, self.processor.process(chunks[0]), discard)

    def took(self, tp: TopicPartition, chunks: list[Chunk], step: Step, discard: bool = False) -> int:
        """Note what came of the first chunk; what was not consumed of it stays. Gives how many records were."""
        chunk = chunks[0]
        done = len(chunk) if step.consumed is None else step.consumed
        if done:
            self._written(step, discard)
            self.position[tp] = int(chunk.offsets[done - 1]) + 1
        rest = chunk.slice(done)
        chunks[:1] = [rest] if len(rest) else []
        return done

    def _written(self, step: Step, discard: bool) -> int:
        outputs = [output for output in step.outputs if len(output) and output.tp.topic not in self._start.but]
        if not discard:
            self.results.take(self.topics, outputs)
        return len(outputs)


def _restarted(start: _Starter, chance: random.Random) -> _Results:
    """The results of a processor, and of another that takes over from it in the middle."""
    first, topics = start(), start.topics
    pieces = _cut(_whole(topics, start.make), chance)
    half = {tp: chunks[: chance.randint(0, len(chunks))] for tp, chunks in pieces.items()}
    try:
        first.feed(half)
        starts = {tp: first.processor.rebuild_from(tp, at) for tp, at in first.position.items()}
    finally:
        first.processor.close()
    second = start()
    for tp, at in first.position.items():
        second.feed(_between(topics, {tp: (starts[tp], at)}), discard=True)
        second.position[tp] = at
    ends = {tp: (at, topics.log.bounds(tp.topic)[tp.partition][1]) for tp, at in first.position.items()}
    results = second.to_the_end(_between(topics, ends))
    for tp, found in first.results.records.items():
        results.records.setdefault(tp, Counter()).update(found)
    return results


class _Broken(Exception):
    """An error on purpose."""


def _disturbed(start: _Starter, chance: random.Random) -> _Results:
    """The results of a processor whose every first attempt at a batch fails before it has encoded its results."""
    run, topics = start(), start.topics
    whole = topics.rows
    failing = False

    def rows(*args: object) -> Output:
        if failing:
            raise _Broken
        return whole(*args)  # type: ignore[arg-type]

    topics.rows = rows  # type: ignore[method-assign, assignment]
    try:
        pieces = _cut(_whole(topics, start.make), chance)
        for tp, chunks in pieces.items():
            for chunk in chunks:
                left = [chunk]
                failing = True
                try:
                    step = run.processor.process(chunk)
                except _Broken:
                    failing = False
                else:  # it encodes its results in another way: nothing was disturbed
                    failing = False
                    run.took(tp, left, step)
                run.feed({tp: left})
        return run.results
    finally:
        topics.rows = whole  # type: ignore[method-assign]
        run.processor.close()


def _whole(topics: PipelineTopics, make: Make) -> dict[TopicPartition, list[Chunk]]:
    processor = make(topics)
    try:
        names = processor.inputs
    finally:
        processor.close()
    bounds = {TopicPartition(t, p): span for t in names for p, span in topics.log.bounds(t).items()}
    return _between(topics, bounds)


def _between(
    topics: PipelineTopics, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> dict[TopicPartition, list[Chunk]]:
    """The records of ranges, one chunk a partition."""
    found: dict[TopicPartition, list[Chunk]] = {tp: [] for tp in ranges}
    for tp, span in ranges.items():
        for chunk in read_range(topics.log, {tp: span}):
            found[tp] = [found[tp][0].followed_by(chunk)] if found[tp] else [chunk]
    return found


def _cut(whole: Mapping[TopicPartition, Sequence[Chunk]], chance: random.Random) -> dict[TopicPartition, list[Chunk]]:
    return {tp: [piece for chunk in chunks for piece in _pieces(chunk, chance)] for tp, chunks in whole.items()}


def _pieces(chunk: Chunk, chance: random.Random) -> Iterator[Chunk]:
    start = 0
    while start < len(chunk):
        stop = start + chance.choice((1, 2, 3, 10, 50))
        yield chunk.slice(start, stop)
        start = stop


def _comparable(topics: PipelineTopics, output: Output) -> Iterator[str]:
    name = topics.short(output.tp.topic)
    if not set(TOPICS[name].records) <= CONTROL_RECORDS.keys():
        yield from (f"{key!r} {value!r}" for key, value in zip(output.keys, output.values, strict=True))
        return
    records = topics.codec(name).decode_controls(output.values)
    for key, record in zip(output.keys, records, strict=True):
        if isinstance(record, SchemaError):
            raise record
        yield f"{key!r} {type(record).__name__} {record.model_dump(exclude=set(MOMENTS))}"


def _same(case: str, topics: PipelineTopics, wanted: _Results, found: _Results) -> None:
    for tp in wanted.records.keys() | found.records.keys():
        one, other = wanted.records.get(tp, Counter()), found.records.get(tp, Counter())
        if one == other:
            continue
        lacking, extra = one - other, other - one
        parts = [f"{n} records are missing, such as {_short(c)}" for n, c in ((lacking.total(), lacking),) if n]
        parts += [f"{n} are there besides, such as {_short(c)}" for n, c in ((extra.total(), extra),) if n]
        raise ContractBroken(f"{case} give other records on {tp}: {'; '.join(parts)}")


def _short(records: Counter[str]) -> str:
    text = next(iter(records))
    return text if len(text) <= 300 else f"{text[:300]}..."

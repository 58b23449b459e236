"""Hold a pipeline's ``features`` and ``labels`` to their contract, on events of your own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise

import numpy as np
import polars as pl

from headrace.codec.coerce import coerce
from headrace.codec.column import BytesColumn
from headrace.declare.aggregations import Aggregate
from headrace.declare.algebra import breach
from headrace.declare.pipeline import Pipeline
from headrace.errors import SchemaError
from headrace.kafka.log import Chunk, TopicPartition
from headrace.kafka.partitioner import partition_of
from headrace.streams.preprocess import Preprocess
from headrace.testing.memory import in_memory
from headrace.worker.bisecting import process_bisecting
from headrace.worker.processor import Step

CUTS = 5
SEED = 7


class ContractBroken(AssertionError):
    """A function does not keep its contract; the message says which part of it, and the first row that shows it."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was checked.
        rows: how many rows of features or labels were compared.
        problem: what is wrong, with the first row that shows it; empty where nothing is.
        mend: what to do about it.
    """

    check: str
    rows: int
    problem: str = ""
    mend: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problem


def check_features(pipeline: Pipeline, events: pl.DataFrame, *, cuts: int = CUTS, seed: int = SEED) -> None:
    """Hold ``features`` and ``labels`` of a pipeline to their contract.

    Args:
        pipeline: the declaration.
        events: raw events with the columns of the schema, in log order: some thousand, over more than the horizon.
        cuts: at how many places the log is cut, for each check that cuts it.
        seed: of the cuts.

    Raises:
        ContractBroken: a check failed; the message lists each one that did.
    """
    failed = [f for f in examine_features(pipeline, events, cuts=cuts, seed=seed) if not f.passed]
    if failed:
        raise ContractBroken("\n".join(f"{f.check}: {f.problem}. {f.mend}" for f in failed))


def examine_features(pipeline: Pipeline, events: pl.DataFrame, *, cuts: int = CUTS, seed: int = SEED) -> list[Finding]:
    """What each check of :func:`check_features` finds.

    Raises:
        SchemaError: the events do not fit the schema, or the functions fail on an empty frame.
    """
    examined = _Examined(pipeline, events)
    chance = random.Random(seed)
    return [
        _every_row(examined),
        _again(examined),
        _no_look_ahead(examined, cuts, chance),
        _any_batches(examined, cuts, chance),
        *_algebras(pipeline, events, chance),
    ]


class _Examined:
    """Events of a pipeline as its partitions hold them, and what preprocess makes of each partition in one batch."""

    def __init__(self, pipeline: Pipeline, events: pl.DataFrame) -> None:
        self.pipeline = pipeline
        self.topics = in_memory(pipeline)
        fitting, bad = coerce(events, pipeline.raw)
        if bad:
            raise SchemaError(f"{len(bad)} events do not fit the schema, the first is row {bad[0][0]}: {bad[0][1]}")
        self.chunks = list(self._chunks(fitting))
        self.whole = [self.made([chunk]) for chunk in self.chunks]

    def made(self, batches: Sequence[Chunk]) -> _Made:
        """What preprocess makes of the batches of one partition."""
        preprocess = Preprocess(self.topics)
        values: dict[str, list[bytes | None]] = {"features": [], "labels": [], "dead": []}
        failures: list[str] = []

        def went_through(part: Chunk, step: Step) -> None:
            for output in step.outputs:
                values[self.topics.short(output.tp.topic)] += output.values

        for batch in batches:
            process_bisecting(preprocess, batch, went_through, lambda one, trace: failures.append(trace))
        rows = {name: self.topics.codec(name).decode(values[name]).frame() for name in values}
        return _Made(values, rows, failures)

    def _chunks(self, events: pl.DataFrame) -> Iterator[Chunk]:
        keys = [str(key).encode() for key in events[self.pipeline.key]]
        values = self.topics.codec("raw").encode(events)
        partition = np.array([partition_of(key, self.pipeline.partitions) for key in keys], dtype=np.int64)
        for number in range(self.pipeline.partitions):
            mine = np.flatnonzero(partition == number)
            if len(mine):
                tp = TopicPartition(self.topics.topic("raw"), number)
                # Offsets are those of the frame, so that a finding names its row.
                yield Chunk(tp, mine, BytesColumn.of(keys)[mine], values[mine])


@dataclass(frozen=True)
class _Made:
    """Features, labels and dead letters of one partition, and the tracebacks of records on which a function failed."""

    values: dict[str, list[bytes | None]]
    """Topic -> its records."""
    rows: dict[str, pl.DataFrame]
    """The same as rows."""
    failures: list[str]


def _every_row(examined: _Examined) -> Finding:
    """Each event that ``features`` gives a row for has numbers that a model can take, and no call fails."""
    check = "every row can be used"
    rows = sum(made.rows["features"].height for made in examined.whole)
    failures = [trace for made in examined.whole for trace in made.failures]
    if failures:
        said = failures[0].strip().splitlines()[-1]
        return Finding(check, rows, f"a function failed on {len(failures)} events: {said}", "Mend what it says")
    dead = pl.concat([made.rows["dead"] for made in examined.whole]) if examined.whole else pl.DataFrame()
    if dead.height:
        first = dead.row(0, named=True)
        problem = f"{dead.height} events become dead letters, the first is row {first['offset']}: {first['reason']}"
        return Finding(check, rows, problem, "Give each row finite numbers, or leave its event out of features()")
    if not rows:
        return Finding(check, 0, "features() gave no row for these events", "Give events that it scores")
    return Finding(check, rows)


def _again(examined: _Examined) -> Finding:
    """Called twice, the functions give the same bits."""
    mend = "Use nothing but the events: no clock, no random numbers, no state between calls"
    return _compared(
        "the same events give the same rows",
        ((whole, examined.made([chunk]), None) for chunk, whole in zip(examined.chunks, examined.whole, strict=True)),
        mend,
    )


def _no_look_ahead(examined: _Examined, cuts: int, chance: random.Random) -> Finding:
    """What comes after an event changes nothing of its row."""

    def pairs() -> Iterator[tuple[_Made, _Made, int | None]]:
        for chunk, whole in zip(examined.chunks, examined.whole, strict=True):
            for cut in _places(len(chunk), cuts, chance):
                yield whole, examined.made([chunk.slice(0, cut)]), int(chunk.offsets[cut])

    return _compared(
        "later events change nothing", pairs(), "Look only at earlier rows: shift, cumulative and rolling expressions"
    )


def _any_batches(examined: _Examined, cuts: int, chance: random.Random) -> Finding:
    """However the log is cut into batches, the rows are the same: what is needed lies within the horizon."""

    def pairs() -> Iterator[tuple[_Made, _Made, int | None]]:
        for chunk, whole in zip(examined.chunks, examined.whole, strict=True):
            for _ in range(cuts):
                edges = [0, *_places(len(chunk), 6, chance), len(chunk)]
                batches = [chunk.slice(a, b) for a, b in pairwise(edges) if a < b]
                yield whole, examined.made(batches), None

    reach = examined.pipeline.reach
    return _compared(
        "any cut into batches gives the same rows",
        pairs(),
        f"Look back no further than the horizon, {reach}, or make it longer",
    )


def _algebras(pipeline: Pipeline, events: pl.DataFrame, chance: random.Random) -> Iterator[Finding]:
    """Each algebra of the user's own keeps its laws, tried on values of these events."""
    for name, window in pipeline.windows.items():
        if isinstance(window, Aggregate):
            assert window.value is not None
            values = events.select(value=window.value)["value"].drop_nulls().to_list()
            tried = [chance.choices(values, k=chance.randint(1, 6)) for _ in range(100)] if values else []
            problem = next((said for some in tried if (said := breach(window.algebra, some))), "")
            mend = "Sum integers or fractions, no floats, and let no order of the values show"
            yield Finding(f"the algebra of window {name} keeps its laws", len(tried), problem, mend)


def _compared(check: str, pairs: Iterator[tuple[_Made, _Made, int | None]], mend: str) -> Finding:
    rows = 0
    for whole, other, before in pairs:
        for name, offset in (("features", "raw_offset"), ("labels", "source_offset")):
            wanted, values = whole.rows[name], whole.values[name]
            if before is not None:
                kept = wanted[offset] < before
                wanted, values = wanted.filter(kept), list(compress(values, kept))
            rows += len(values)
            if values != other.values[name]:
                return Finding(check, rows, _difference(name, offset, wanted, other.rows[name]), mend)
    return Finding(check, rows)


def _difference(name: str, offset: str, wanted: pl.DataFrame, found: pl.DataFrame) -> str:
    """The first row in which two frames differ, in words."""
    both = wanted.join(found, on=offset, how="full", suffix="_other", coalesce=True).sort(offset)
    for row in both.iter_rows(named=True):
        if row["key"] is None or row["key_other"] is None:
            return f"{name}() gives a row for event {row[offset]} in one case and none in another"
        for column in wanted.columns:
            one, other = row.get(column), row.get(f"{column}_other")
            if column != offset and (one, repr(one)) != (other, repr(other)):
                return f"{name}() gives {column} of event {row[offset]} as {one!r} in one case and {other!r} in another"
    return f"{name}() gives the rows in another order"


def _places(length: int, count: int, chance: random.Random) -> list[int]:
    inside = range(1, length)
    return sorted(chance.sample(inside, min(count, len(inside))))

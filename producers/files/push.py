"""Files -> raw, each row exactly once: events, dead letters and how far the file has been read, in one transaction."""

from __future__ import annotations

import gc
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headrace.codec.column import BytesColumn
from headrace.codec.encoder import ColumnValues
from headrace.codec.rows import Encoded, Refused, RowEncoder
from headrace.errors import TransactionAborted, Unavailable
from headrace.kafka.log import LARGEST, Output, Writer
from headrace.kafka.partitioner import partitions_of
from headrace.producers.files.batch import BadRow, Batch, Damaged, Options
from headrace.producers.files.read import form_of, format_of, read_file
from headrace.producers.files.text import STDIN
from headrace.producers.pacing import Pace, Times
from headrace.schema.records import FilePushed
from headrace.topics.pipeline_topics import LONGEST_KEPT, PipelineTopics

COMMIT_S = 1.0
COMMIT_BYTES = 16 << 20
YOUNG = 100_000
"""New objects before the collector looks at them."""
PATIENCE_S = 120.0
"""Seconds for which a transaction is tried again."""
BAD_ROW = "bad_row"


@dataclass
class Pushed:
    """What a push did.

    Attributes:
        sent: events sent, those of earlier pushes of the same file not counted.
        bad: rows refused, likewise.
        before: rows that an earlier push of the same file dealt with.
        finished: whether an earlier push had dealt with all of it.
        reasons: kind of fault -> rows refused for it.
        unknown: fields that rows have and the schema has not; their values were passed over.
    """

    sent: int = 0
    bad: int = 0
    before: int = 0
    finished: bool = False
    reasons: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)


def push_file(
    topics: PipelineTopics,
    path: Path,
    *,
    format: str | None = None,
    options: Options | None = None,
    pace: Pace | None = None,
    again: bool = False,
    dry_run: bool = False,
    report: Callable[[BadRow], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Pushed:
    """Send every row of a file to the pipeline's raw topic, in order, each exactly once.

    A push that was killed is continued: the rows that it committed are passed over.

    Args:
        topics: the pipeline's topics.
        path: the file; ``-`` for standard input, which is always pushed from its beginning.
        format: of the file; None: by its ending.
        options: how to read it.
        pace: how fast; None: as fast as Kafka takes them.
        again: push it from the beginning, whatever was pushed of it before.
        dry_run: read and check alone; nothing is written.
        report: called with each row that cannot be used; it also becomes a dead letter.
        progress: called with the number of rows done, batch by batch.

    Raises:
        ConfigError: the file cannot be read. ``Damaged``: not to its end; what came before the damage was pushed.
        Fenced: the same file is being pushed by another process.
        Unavailable: the broker is away.
    """
    options = options or Options()
    known = format_of(path, format)
    done = Pushed()
    form = form_of(known, options, topics.pipeline.raw)
    encoder = RowEncoder(topics.codec("raw"), form, key=topics.pipeline.key, unknown=done.unknown.add)
    batches = read_file(path, known, topics.pipeline.raw, options)
    target = None if dry_run else _Target(topics, path, again=again)
    young = gc.get_threshold()
    gc.set_threshold(YOUNG)  # rows are objects by the ten thousand that go by themselves
    try:
        if target is not None and target.reached is not None:
            if target.reached.finished:
                done.before, done.finished = target.reached.sent + target.reached.refused, True
                return done
            done.before = target.reached.sent + target.reached.refused
        for batch in batches:
            _push_batch(topics, batch, encoder, target, pace, done, report)
            progress(len(batch.lines) + len(batch.bad))
        if target is not None:
            target.finish()
    except Damaged as e:
        if target is None:
            raise
        target.commit()
        raise Damaged(f"{e}; the {done.sent + done.before:,} rows before that were pushed") from None
    finally:
        gc.set_threshold(*young)
        if target is not None:
            target.close()
    return done


def _push_batch(
    topics: PipelineTopics,
    batch: Batch,
    encoder: RowEncoder,
    target: _Target | None,
    pace: Pace | None,
    done: Pushed,
    report: Callable[[BadRow], None],
) -> None:
    reached = 0 if target is None or target.reached is None else target.reached.done
    if 0 < batch.done <= reached:
        return
    done.unknown |= batch.rows.names - set(topics.columns("raw"))
    found = _small_enough(encoder.encode(batch.rows))
    lines = np.asarray(batch.lines, dtype=np.int64)
    bad = [BadRow(int(lines[i]), why, batch.rows.text(i), kind) for i, why, kind in found.bad]
    bad = sorted([*batch.bad, *bad])
    at = lines[found.places]
    if reached:
        first = int(np.searchsorted(at, reached, side="right"))
        found, at = _part(found, slice(first, len(at))), at[first:]
        bad = [row for row in bad if row.line > reached]
    for row in bad:
        report(row)
        done.reasons[row.kind or row.reason] += 1
    done.sent += len(at)
    done.bad += len(bad)
    if target is None:
        return
    if not len(at):
        target.take(found, bad, batch.done)
        return
    parts = pace.parts(_times(topics, found)) if pace else iter((slice(0, len(at)),))
    behind = 0
    for part in parts:
        last = batch.done if part.stop == len(at) else int(at[part.stop - 1])
        upto = next((i for i in range(behind, len(bad)) if bad[i].line > last), len(bad))
        target.take(_part(found, part), bad[behind:upto], last, at_once=pace is not None)
        behind = upto


class _Target:
    """Where rows go: transactions under the file's own id, each with how far the file has been pushed."""

    def __init__(self, topics: PipelineTopics, path: Path, *, again: bool) -> None:
        self._topics = topics
        self._name = path.name
        known = path != STDIN
        self._file = _digest(path) if known else uuid.uuid4().hex
        self._size = path.stat().st_size if known else 0
        self._id = topics.topic(f"push.{self._file[:20]}")
        self._partitions = topics.log.partitions(topics.topic("raw"))
        topics.prepare("raw", "dead", "pushes")
        self._writer: Writer = topics.log.writer(self._id, tracks=False)
        self.reached = None if again else self._latest()
        self._told = self.reached or self._state(0, 0, 0)
        self._outputs: list[Output] = []
        self._bytes = 0
        self._since = time.monotonic()

    def take(self, rows: Encoded, bad: list[BadRow], done: int, *, at_once: bool = False) -> None:
        """Rows to be sent, and those refused, up to line ``done``."""
        if len(rows.values):
            partitions = partitions_of(rows.keys, self._partitions)
            for partition in np.unique(partitions).tolist():
                mine = np.flatnonzero(partitions == partition)
                whole = len(mine) == len(partitions)
                keys, values = (rows.keys, rows.values) if whole else (rows.keys[mine], rows.values[mine])
                self._outputs.append(Output(self._topics.tp("raw", partition), keys, values))
            self._bytes += rows.values.size
        if bad:
            self._outputs.append(_letters(self._topics, self._name, bad))
        sent, refused = self._told.sent + len(rows.values), self._told.refused + len(bad)
        self._told = self._state(done, sent, refused)
        if at_once or self._bytes >= COMMIT_BYTES or time.monotonic() - self._since >= COMMIT_S:
            self.commit()

    def finish(self) -> None:
        """Commit the rest, and that the file has been pushed to its end."""
        self._told = self._state(self._told.done, self._told.sent, self._told.refused, finished=True)
        self.commit(finished=True)

    def commit(self, *, finished: bool = False) -> None:
        """Commit what was taken since the last commit, tried again until it is sure.

        Raises:
            Fenced: another process pushes the same file.
            Unavailable: the broker was away for ``PATIENCE_S`` seconds.
        """
        if not self._outputs and not finished:
            return
        outputs = [*self._outputs, self._topics.control("pushes", [self._told], [self._file])]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._writer.begin()
                for output in outputs:
                    self._writer.write(output)
                self._writer.commit()
                break
            except (TransactionAborted, Unavailable) as e:
                if time.monotonic() > deadline:
                    raise Unavailable(f"the transaction could not be committed for {PATIENCE_S:.0f} s: {e}") from e
                # Whether a commit whose answer was lost went through is known once a new writer has taken the id.
                self._writer.close()
                self._writer = self._topics.log.writer(self._id, tracks=False)
                if self._latest() == self._told:
                    break
        self._outputs, self._bytes, self._since = [], 0, time.monotonic()

    def close(self) -> None:
        """Let go of the writer; what was not committed is not sent."""
        self._writer.close()

    def _latest(self) -> FilePushed | None:
        """How far the file was pushed, by the last transaction that was committed."""
        found = None
        for _, record in self._topics.read_control("pushes", settled=True):
            if isinstance(record, FilePushed) and record.file == self._file:
                found = record
        return found

    def _state(self, done: int, sent: int, refused: int, *, finished: bool = False) -> FilePushed:
        return FilePushed(
            file=self._file,
            name=self._name,
            size=self._size,
            done=done,
            sent=sent,
            refused=refused,
            finished=finished,
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _part(rows: Encoded, part: slice) -> Encoded:
    if part == slice(0, len(rows.values)):
        return rows
    return Encoded(rows.places[part], rows.keys[part], rows.values[part], rows.bad)


def _small_enough(rows: Encoded) -> Encoded:
    """The rows without those whose record Kafka would not take."""
    sizes = np.diff(rows.values.offsets)
    if not len(sizes) or sizes.max() <= LARGEST:
        return rows
    kind = f"the record is longer than {LARGEST:,} bytes"
    large = np.flatnonzero(sizes > LARGEST)
    bad = [Refused(int(rows.places[i]), f"{kind}: it has {int(sizes[i]):,}", kind) for i in large]
    keep = np.flatnonzero(sizes <= LARGEST)
    return Encoded(rows.places[keep], rows.keys[keep], rows.values[keep], sorted([*rows.bad, *bad]))


def _times(topics: PipelineTopics, rows: Encoded) -> Times:
    """Event times of records, microseconds since 1970."""
    name = topics.pipeline.event_time
    unit = 1 if topics.columns("raw")[name].time_unit == "us" else 1000  # type: ignore[attr-defined]
    return topics.codec("raw").decode(rows.values).integers(name) * unit


def _letters(topics: PipelineTopics, name: str, bad: list[BadRow]) -> Output:
    """Dead letters of rows, which have no partition of their own: they are kept in the first."""
    columns: dict[str, ColumnValues] = {
        "stage": "push",
        "code": BAD_ROW,
        "reason": BytesColumn.of([row.reason.encode(errors="backslashreplace") for row in bad]),
        "topic": name,
        "partition": -1,
        "offset": np.array([row.line for row in bad], dtype=np.int64),
        "key": None,
        "value": BytesColumn.of([row.text[:LONGEST_KEPT] for row in bad]),
        "traceback": None,
        "at": time.time_ns() // 1_000,
    }
    letters = topics.codec("dead").encode_columns(len(bad), columns)
    return Output(topics.tp("dead", 0), BytesColumn.nulls(len(bad)), letters, {BAD_ROW: len(bad)})

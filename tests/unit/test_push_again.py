"""A push that was killed and given again sends each row once; a file that was pushed is not pushed twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Fenced
from headrace.kafka.log import read_all
from headrace.producers.files import BadRow, push_file
from headrace.producers.files import push as pushing
from headrace.producers.files.batch import Damaged
from headrace.producers.pacing import Pace
from headrace.schema.records import FilePushed
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import toy
from headrace.topics.pipeline_topics import PipelineTopics

HEAD = "kind,click_id,user,at,price,bought"


class Killed(BaseException):
    """Stands for a process that ends where it is."""


@pytest.fixture
def topics() -> PipelineTopics:
    return in_memory(toy("again", partitions=3))


def clicks(folder: Path, rows: int, bad: frozenset[int] = frozenset(), name: str = "clicks.csv") -> Path:
    """A file of rows with ids c0, c1, ..., of which some have a price that is none."""
    lines = [
        f"seen,c{i},u{i % 7},2024-03-01T{i % 24:02}:00:00Z,{'dear' if i in bad else i},{'true' if i % 2 else ''}"
        for i in range(rows)
    ]
    path = folder / name
    path.write_text("\n".join([HEAD, *lines]))
    return path


def sent(topics: PipelineTopics) -> list[str]:
    """Ids of the events on raw."""
    frames = [topics.codec("raw").decode(c.values).frame() for c in read_all(topics.log, topics.topic("raw"))]
    return sorted((i for f in frames for i in f["click_id"]), key=lambda i: int(i[1:]))


def letters(topics: PipelineTopics) -> list[int]:
    """Lines of the rows that became dead letters."""
    found = [r for c in read_all(topics.log, topics.topic("dead")) for _, r in topics.control_records(c)]
    return sorted(r.offset for r in found if hasattr(r, "offset"))


def told(topics: PipelineTopics) -> list[tuple[int, int, int, bool]]:
    """How far files were pushed, as the topic says it."""
    return [
        (r.done, r.sent, r.refused, r.finished) for _, r in topics.read_control("pushes") if isinstance(r, FilePushed)
    ]


def push_until(topics: PipelineTopics, path: Path, killed_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Push with a commit every few rows, and be killed after so many transactions."""
    commits = 0
    commit = pushing._Target.commit

    def counted(self: pushing._Target, *, finished: bool = False) -> None:
        nonlocal commits
        if commits == killed_after:
            raise Killed
        commit(self, finished=finished)
        commits += 1

    monkeypatch.setattr(pushing._Target, "commit", counted)
    monkeypatch.setattr(pushing, "COMMIT_BYTES", 1)
    try:
        push_file(topics, path)
    except Killed:
        pass
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_a_push_that_was_killed_goes_on_where_it_stopped(
    topics: PipelineTopics, tmp_path: Path, killed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clicks(tmp_path, 45_000, frozenset({5, 20_000, 44_999}))
    push_until(topics, path, killed_after, monkeypatch)
    before = len(sent(topics))
    assert (before > 0) == (killed_after > 0)
    seen: list[BadRow] = []
    done = push_file(topics, path, report=seen.append)
    assert sent(topics) == [f"c{i}" for i in range(45_000) if i not in {5, 20_000, 44_999}]
    assert letters(topics) == [7, 20_002, 45_001]
    assert done.sent + before == 44_997
    assert done.before == before + len(letters(topics)) - len(seen)


def test_a_file_that_was_pushed_is_told_and_not_pushed_again(topics: PipelineTopics, tmp_path: Path) -> None:
    path = clicks(tmp_path, 10, frozenset({3}))
    first = push_file(topics, path)
    assert (first.sent, first.bad, first.before, first.finished) == (9, 1, 0, False)
    copy = tmp_path / "copy-under-another-name.csv"
    copy.write_bytes(path.read_bytes())
    again = push_file(topics, copy)
    assert (again.sent, again.bad, again.before, again.finished) == (0, 0, 10, True)
    assert len(sent(topics)) == 9
    assert push_file(topics, path, again=True).sent == 9
    assert len(sent(topics)) == 18
    path.write_text(path.read_text() + "\n" + "seen,c99,u1,2024-03-01T00:00:00Z,1,")
    assert push_file(topics, path).sent == 10


def test_how_far_a_file_was_pushed_stands_in_the_transaction_of_its_events(
    topics: PipelineTopics, tmp_path: Path
) -> None:
    push_file(topics, clicks(tmp_path, 10, frozenset({3})))
    assert told(topics) == [(11, 9, 1, True)]


def test_a_dry_run_reads_and_refuses_and_writes_nothing(topics: PipelineTopics, tmp_path: Path) -> None:
    done = push_file(topics, clicks(tmp_path, 10, frozenset({3})), dry_run=True)
    assert (done.sent, done.bad, dict(done.reasons)) == (9, 1, {"field price: not a double": 1})
    assert (sent(topics), letters(topics), told(topics)) == ([], [], [])


def test_a_file_of_bad_rows_alone_becomes_dead_letters_once(topics: PipelineTopics, tmp_path: Path) -> None:
    push_file(topics, clicks(tmp_path, 3, frozenset(range(3))))
    assert (sent(topics), letters(topics)) == ([], [2, 3, 4])


def test_a_second_push_of_the_same_file_takes_over_from_the_first(topics: PipelineTopics, tmp_path: Path) -> None:
    path = clicks(tmp_path, 30_000)
    began: list[int] = []

    def other(rows: int) -> None:
        if not began:
            began.append(rows)
            push_file(topics, path)

    with pytest.raises(Fenced):
        push_file(topics, path, progress=other)
    assert sent(topics) == [f"c{i}" for i in range(30_000)]


@given(
    rows=st.integers(1, 60),
    bad=st.frozensets(st.integers(0, 59), max_size=20),
    rate=st.sampled_from([None, 200.0, 2000.0]),
    stop=st.integers(0, 60),
)
def test_a_push_in_parts_that_is_killed_anywhere_sends_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, rows: int, bad: frozenset[int], rate: float | None, stop: int
) -> None:
    topics = in_memory(toy("parts", partitions=2))
    path = clicks(tmp_path_factory.mktemp("parts"), rows, bad)
    pace = Pace(rate=rate) if rate else None
    if pace is not None:
        slept = 0

        def sleep(_: float) -> None:
            nonlocal slept
            slept += 1
            if slept > stop:
                raise Killed

        pace._sleep = sleep
    try:
        push_file(topics, path, pace=pace)
    except Killed:
        push_file(topics, path)
    assert sent(topics) == [f"c{i}" for i in range(rows) if i not in bad]
    assert letters(topics) == [i + 2 for i in sorted(bad) if i < rows]


def test_the_same_events_come_in_the_order_of_the_file(topics: PipelineTopics, tmp_path: Path) -> None:
    push_file(topics, clicks(tmp_path, 25_000, frozenset(range(0, 25_000, 11))))
    for chunk in read_all(topics.log, topics.topic("raw")):
        ids = [int(i[1:]) for i in topics.codec("raw").decode(chunk.values).frame()["click_id"]]
        assert ids == sorted(ids)


def test_a_row_larger_than_kafka_takes_is_refused(topics: PipelineTopics, tmp_path: Path) -> None:
    row = {"kind": "seen", "click_id": "c1", "user": "u1", "at": "2024-03-01T10:00:00Z", "price": 9.5}
    path = tmp_path / "large.jsonl"
    path.write_text("\n".join([json.dumps(row), json.dumps({**row, "kind": "x" * 3_100_000}), json.dumps(row)]))
    seen: list[BadRow] = []
    assert push_file(topics, path, report=seen.append).sent == 2
    assert [(b.line, b.kind) for b in seen] == [(2, "the record is longer than 3,000,000 bytes")]


def test_what_came_before_damage_is_pushed_and_counted(topics: PipelineTopics, tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    import gzip

    whole = gzip.compress(clicks(tmp_path, 60_000).read_bytes())
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(
        Damaged, match=r"cut\.csv\.gz: the compressed file is damaged: .*; the [0-9,]+ rows before that"
    ):
        push_file(topics, path)
    ids = sent(topics)
    assert ids == [f"c{i}" for i in range(len(ids))]
    assert 10_000 < len(ids) < 60_000

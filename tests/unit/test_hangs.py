"""What a worker notes of the records in hand, and how those after it narrow down the one on which processes hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.kafka.log import Chunk, TopicPartition
from headrace.worker.hangs import Hangs

TP = TopicPartition("shop.raw", 1)


def chunk(offsets: list[int], tp: TopicPartition = TP) -> Chunk:
    return Chunk.of(tp, offsets, [None] * len(offsets), [b"x"] * len(offsets))


@pytest.fixture(scope="module")
def ended() -> int:
    """The id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def hung(folder: Path, pid: int, part: Chunk, threads: str = "Thread 1 stood here") -> None:
    """Leave what a process leaves that hung on some records; without ``threads``, one that was killed."""
    note = folder / f"shop.preprocess.{pid}.hand"
    note.write_text(json.dumps([*part.tp, int(part.offsets[0]), int(part.offsets[-1])]).ljust(512))
    note.with_suffix(".hung").write_text(threads)


def pieces(folder: Path, part: Chunk) -> list[tuple[list[int], int]]:
    """How a new worker takes these records."""
    hangs = Hangs(folder, "shop.preprocess")
    try:
        return [(piece.offsets.tolist(), times) for piece, times in hangs.pieces(part)]
    finally:
        hangs.close()


def test_the_record_on_which_processes_hang_is_narrowed_down_and_left_out(tmp_path: Path, ended: int) -> None:
    """As if every process hung on offset 5,000, however the records are cut."""
    log = chunk([o for o in range(10_000) if o % 10])  # transaction markers leave gaps
    left_out: list[int] = []
    deaths = 0
    while deaths < 12:
        left_out = []
        for part, times in pieces(tmp_path, log):
            if times:
                left_out += part
            elif 5_001 in part:
                hung(tmp_path, ended, chunk(part))
                deaths += 1
                break
        else:
            break
    assert left_out == [5_001]
    assert deaths <= 8


def test_a_process_that_was_killed_is_no_hang(tmp_path: Path, ended: int) -> None:
    for _ in range(5):
        hung(tmp_path, ended, chunk([7]), threads="")
        assert pieces(tmp_path, chunk([6, 7, 8])) == [([6, 7, 8], 0)]


def test_one_hang_alone_changes_nothing_but_where_a_batch_is_cut(tmp_path: Path, ended: int) -> None:
    hung(tmp_path, ended, chunk([10, 20]))
    assert pieces(tmp_path, chunk([5, 10, 15, 20, 25])) == [([5], 0), ([10, 15, 20], 0), ([25], 0)]
    assert pieces(tmp_path, chunk([10, 15], TopicPartition("shop.raw", 2))) == [([10, 15], 0)]


def test_what_is_in_hand_is_noted_while_it_is_and_what_lives_is_left_alone(tmp_path: Path) -> None:
    mine = Hangs(tmp_path, "shop.preprocess")
    note = tmp_path / f"shop.preprocess.{os.getpid()}.hand"
    with mine.in_hand(chunk([3, 9])):
        assert json.loads(note.read_text()) == ["shop.raw", 1, 3, 9]
        Hangs(None, "shop.preprocess")
        assert json.loads(note.read_text()) == ["shop.raw", 1, 3, 9]
    assert note.read_text().strip() == ""
    with pytest.raises(ValueError, match="code"), mine.in_hand(chunk([4])):
        raise ValueError("code")
    assert note.read_text().strip() == ""
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_noted(tmp_path: Path) -> None:
    hangs = Hangs(None, "shop.preprocess")
    with hangs.in_hand(chunk([1])):
        assert list(hangs.pieces(chunk([1, 2]))) != []
    hangs.close()


@given(
    offsets=st.lists(st.integers(0, 300), min_size=1, unique=True).map(sorted),
    hangs=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 80)), max_size=8),
)
def test_the_pieces_are_the_records_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, ended: int, offsets: list[int], hangs: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("hangs")
    for first, more in hangs:
        hung(folder, ended, chunk([first, first + more] if more else [first]))
        pieces(folder, chunk([0]))
    found = pieces(folder, chunk(offsets))
    assert [o for part, _ in found for o in part] == offsets
    assert all(part for part, _ in found)
    singles = {first for first, more in hangs if not more}
    assert {o for part, times in found if times for o in part} <= singles
    assert np.all([len(part) == 1 for part, times in found if times])

"""The index of held rows: what it finds, as rows come and go past every limit of its numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.errors import StateError
from headrace.state import index
from headrace.state.index import Index

SKIPPED = 1
ROWS = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=30)


def starting_at(number: int) -> Index:
    """An index that has had ``number`` rows, all of which are gone."""
    made = Index()
    made.first = made.end = made._base = number
    return made


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few buckets to begin with, so that they divide."""
    monkeypatch.setattr(index, "LEAST", 2)


@given(
    st.lists(st.tuples(ROWS, st.integers(0, 40)), max_size=12),
    st.sampled_from([0, 2**32 - 30, 2**40 + 2**32 - 7]),
)
@example([([(1, True, False)] * 3, 2), ([(5, True, False)] * 9, 3)], 2**32 - 5)
def test_it_finds_the_rows_of_each_tag_that_are_held_oldest_first(
    batches: list[tuple[list[tuple[int, bool, bool]], int]], number: int
) -> None:
    held: list[tuple[int, int]] = []
    rows = starting_at(number)
    for batch, gone in batches:
        # Tags that differ in high bits alone share a bucket for long.
        tags = np.array([(tag % 8) << 20 | tag for tag, _, _ in batch], dtype=np.uint32)
        skipped = np.array([skip for _, _, skip in batch], dtype=np.uint8)
        linked = np.array([link for _, link, _ in batch], dtype=np.bool_)
        held += [(rows.end + k, int(tags[k])) for k in range(len(batch)) if linked[k] and not skipped[k]]
        rows.add(tags, skipped, linked)
        rows.first = min(rows.end, rows.first + gone)
        held = [(row, tag) for row, tag in held if row >= rows.first]
        every = np.array([(tag % 8) << 20 | tag for tag in range(41)], dtype=np.uint32)
        asked = np.arange(41) % 5 != 0
        starts, found = rows.candidates(every, asked, SKIPPED)
        seen = [found[starts[k] : starts[k + 1]].tolist() for k in range(41)]
        assert seen == [[r for r, t in held if t == every[k]] if asked[k] else [] for k in range(41)]


def test_more_rows_than_its_numbers_tell_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST", 3)
    rows, every = Index(), np.ones(2, dtype=np.bool_)
    rows.add(np.zeros(2, np.uint32), np.zeros(2, np.uint8), every)
    with pytest.raises(
        StateError, match=r"^more than 3 records of one partition are held, which is the most: give the"
    ):
        rows.add(np.zeros(2, np.uint32), np.zeros(2, np.uint8), every)

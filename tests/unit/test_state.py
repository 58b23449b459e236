"""What workers hold: found by id, in memory to a budget, then on a disk that may be full, read-only or damaged."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.errors import StateError
from headrace.state import budget, hashing, segment
from headrace.state.budget import Budget
from headrace.state.folder import StateFolder
from headrace.state.hashing import grouped
from headrace.state.keyed import Cursor, KeyedRecords
from headrace.state.records import Arrived
from headrace.testing import MemoryPlatform
from headrace.testing.pipelines import clicks, toy
from tests.disk import Disk, may_mount

LOST_NOTHING = "Nothing is lost: the worker makes its state again from the log when it is started again"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of few rows, each worth a file."""
    monkeypatch.setattr(segment, "MOST_ROWS", 5)
    monkeypatch.setattr(budget, "LEAST", 0)


def arrived(rows: list[tuple[bytes, bytes, bytes | None]], first: int = 0) -> Arrived:
    """Records of these ids, values and keys; the time of each is its offset."""
    ids, values, keys = (BytesColumn.of([row[i] for row in rows]) for i in range(3))
    times = np.arange(first, first + len(rows), dtype=np.int64)
    return Arrived(ids, times, times, times, values, keys)


def add(held: KeyedRecords, batch: Arrived) -> None:
    count = len(batch.times)
    held.add(batch, grouped(batch.ids), np.zeros(count, np.uint8), np.ones(count, np.bool_))


def filled(place: Budget, count: int = 12) -> KeyedRecords:
    """A store of ``count`` records, which came three at a time."""
    held = KeyedRecords()
    place.replace([held])
    for first in range(0, count, 3):
        add(held, arrived([(b"i%d" % n, b"value of i%d" % n, b"k") for n in range(first, first + 3)], first))
        place.settle()
    return held


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.segment"))


ROWS = st.lists(
    st.tuples(st.sampled_from([b"", b"a", b"ab", b"b" * 70]), st.binary(max_size=90), st.none() | st.binary())
)


@pytest.mark.parametrize("memory", [1 << 30, 0], ids=["memory", "disk"])
def test_records_come_back_as_they_were_in_the_order_they_came(memory: int, tmp_path: Path) -> None:
    place = Budget(memory, tmp_path)

    @given(st.lists(ROWS.filter(bool), max_size=5))
    def holds(batches: list[list[tuple[bytes, bytes, bytes | None]]]) -> None:
        held = KeyedRecords()
        place.replace([held])
        every: list[tuple[bytes, bytes, bytes | None]] = []
        for batch in batches:
            add(held, arrived(batch, len(every)))
            every += batch
            place.settle()
        wanted = [b"ab", b"none", b"", b"a", b"b" * 70]
        found = held.find(grouped(BytesColumn.of(wanted)))
        for place_, id_ in enumerate(wanted):
            inside = np.arange(found.starts[place_], found.starts[place_ + 1])
            rows = found.located.at(inside)
            seen = list(zip(rows.offsets.tolist(), rows.values(), rows.keys(), strict=True))
            assert seen == [(n, value, key) for n, (i, value, key) in enumerate(every) if i == id_]

    holds()
    place.close()


def test_ids_of_one_tag_are_told_apart_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "tags_of", lambda data, offsets, seed: np.full(len(offsets) - 1, 7, np.uint32))
    held = filled(Budget(), 60)
    found = held.find(grouped(BytesColumn.of([b"i7", b"i59", b"i60"])))
    assert (found.starts.tolist(), found.numbers.tolist()) == ([0, 1, 2, 2], [7, 59])


def test_what_is_over_the_budget_goes_to_files_of_the_owner_alone_and_they_go_with_the_worker(tmp_path: Path) -> None:
    place = Budget(0, tmp_path / "workers", "toy.join.join-0")
    held = filled(place)
    (made,) = (tmp_path / "workers").iterdir()
    assert made.name.startswith("toy.join.join-0-")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "workers", made)}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o600}
    assert place.on_disk == sum(path.stat().st_size for path in files(tmp_path / "workers"))
    assert held.records.held == 0
    place.close()
    assert list((tmp_path / "workers").iterdir()) == []


def test_records_that_expire_take_their_files_with_them(tmp_path: Path) -> None:
    place = Budget(0, tmp_path)
    held = filled(place)
    cursor = Cursor(held)
    left = []
    for before in (2, 3, 7, 11, 12):
        cursor.go_on(before)
        held.drop_before(cursor.at)
        left.append((cursor.at, cursor.offset(-1), len(files(tmp_path))))
    assert left == [(2, 2, 4), (3, 3, 3), (7, 7, 2), (11, 11, 1), (12, -1, 0)]
    place.close()


def test_the_folder_of_a_worker_that_was_killed_is_cleared_away_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    dies = (
        "import os, sys; from pathlib import Path; from headrace.state.folder import StateFolder; "
        "StateFolder(Path(sys.argv[1]), 'dead').new_file().write_bytes(b'x'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", dies, str(tmp_path)], check=False)
    assert [path.name[:5] for path in tmp_path.iterdir()] == ["dead-"]
    one, two = StateFolder(tmp_path, "w"), StateFolder(tmp_path, "w")
    places = [folder.new_file().parent for folder in (one, two)]
    assert sorted(tmp_path.iterdir()) == sorted(places)
    one.close()
    assert list(tmp_path.iterdir()) == [places[1]]
    two.close()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(lambda path: flip(path, 3), "row 0 of 3 is not the one written", id="a time"),
        pytest.param(lambda path: flip(path, -1), "row 2 of 3: its bytes are not those written", id="a value"),
        pytest.param(shorten, r"it ends at byte \d+, and was longer", id="cut short"),
        pytest.param(lambda path: path.unlink(), "No such file or directory", id="removed"),
    ],
)
def test_a_damaged_file_is_told_with_its_name_and_what_to_do(
    damage: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    place = Budget(0, tmp_path)
    held = filled(place)
    damage(files(tmp_path)[1])
    wanted = grouped(BytesColumn.of([b"i0", b"i3", b"i5"]))
    name = re.escape(str(files(tmp_path)[0].parent))
    mend = "See to the disk, and that nobody else writes there"
    with pytest.raises(
        StateError, match=rf"^the state on disk is damaged: {name}/\d+.segment: {said}. {mend}. {LOST_NOTHING}$"
    ):
        held.find(wanted)
    place.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if not may_mount():
        pytest.skip("no file system may be mounted here")
    made = Disk(tmp_path / "disk", 4)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_worker_that_its_disk_refuses_stops_with_a_line_and_loses_nothing(
    trouble: str, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "full": r"cannot (take [\d,]+ bytes more|be made): No space left on device\. To go on: make room there",
        "read-only": r"cannot be made: Read-only file system\. To go on: it is on a file system that is read-only",
    }
    platform, undisturbed = (MemoryPlatform(toy("toy", partitions=1)) for _ in range(2))
    for each in (platform, undisturbed):
        each.push(clicks(0, 300))
        each.run("preprocess")
    undisturbed.run("join")
    monkeypatch.setenv("HEADRACE_WORKER_STATE__MEMORY", "0")
    monkeypatch.setenv("HEADRACE_WORKER_STATE__FOLDER", str(disk.folder / "workers"))
    if trouble == "full":
        disk.fill()
    else:
        disk.read_only()
    with pytest.raises(
        StateError, match=rf"^the state on disk, {disk.folder}/workers\S*, {told[trouble]}.*{LOST_NOTHING}$"
    ):
        platform.run("join")
    if trouble == "full":
        disk.free()
    else:
        disk.writable()
    platform.run("join")
    assert platform.rows("examples").height > 0
    assert platform.rows("examples").equals(undisturbed.rows("examples"))
    assert os.listdir(disk.folder / "workers") == []

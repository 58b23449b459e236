"""The hash tree against its definition, written out as RFC 6962 has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.jobs.hash_tree import HashTree, TreeBuilder, differing, forest_root, hashes, stated

Record = tuple[bytes | None, bytes | None]
RECORD = st.tuples(st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=40))


def leaves(records: Sequence[Record]) -> list[bytes]:
    framed = [
        b"".join(b"\xff" * 8 if part is None else len(part).to_bytes(8, "big") + part for part in record)
        for record in records
    ]
    return [hashlib.sha256(b"\x00" + b"".join(framed[i : i + 16])).digest() for i in range(0, len(framed), 16)]


def root(found: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if len(found) == 0:
        return hashlib.sha256().digest()
    if len(found) == 1:
        return found[0]
    k = 1
    while k * 2 < len(found):
        k *= 2
    return hashlib.sha256(b"\x01" + root(found[:k]) + root(found[k:])).digest()


def tree(records: Sequence[Record], cuts: Sequence[int] = (), most: int = 256) -> HashTree:
    builder = TreeBuilder(most)
    places = [0, *sorted(c % (len(records) + 1) for c in cuts), len(records)]
    for start, stop in pairwise(places):
        part = records[start:stop]
        builder.add(BytesColumn.of([k for k, _ in part]), BytesColumn.of([v for _, v in part]))
    return builder.tree()


@given(st.lists(RECORD, max_size=300), st.lists(st.integers(0, 300), max_size=4), st.sampled_from([2, 4, 8, 256]))
def test_the_root_is_that_of_the_standard_however_the_records_come(
    records: list[Record], cuts: list[int], most: int
) -> None:
    found = tree(records, cuts, most)
    assert found.count == len(records)
    assert found.root == root(leaves(records))
    assert len(found.blocks) <= most
    assert sum(stop - start for start, stop in map(found.span, range(len(found.blocks)))) == len(records)


@given(st.lists(RECORD, min_size=1, max_size=300), st.data())
def test_a_changed_record_is_found_in_its_block(records: list[Record], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    other = data.draw(RECORD.filter(lambda r: r != records[place]))
    changed = [*records[:place], other, *records[place + 1 :]]
    one, two = tree(records, most=8), tree(changed, most=4)
    [(start, stop)] = differing(one, two)
    assert start <= place < stop
    assert stop - start <= max(one.block, two.block)
    assert differing(one, tree(records, most=2)) == []


@given(st.lists(RECORD, max_size=90), st.lists(RECORD, min_size=1, max_size=90))
def test_records_added_or_cut_off_show_in_the_last_spans(records: list[Record], more: list[Record]) -> None:
    found = differing(tree(records), tree([*records, *more]))
    assert found != []
    assert found[-1][1] == len(records) + len(more)


def test_records_of_a_sliced_column_hash_as_the_same_records_elsewhere() -> None:
    keys, values = BytesColumn.of([b"a", None, b"c"]), BytesColumn.of([b"1", b"22", None])
    builder = TreeBuilder()
    builder.add(keys[1:], values[1:])
    assert builder.tree() == tree([(None, b"22"), (b"c", None)])


def test_the_root_of_several_partitions_tells_them_apart() -> None:
    one, two = tree([(b"a", b"1")]), tree([(b"b", b"2")])
    wanted = hashlib.sha256(
        b"\x02" + b"".join(p.to_bytes(4, "big") + (1).to_bytes(8, "big") + t.root for p, t in ((0, one), (3, two)))
    )
    assert forest_root({3: two, 0: one}) == wanted.hexdigest()
    assert forest_root({0: two, 3: one}) != forest_root({0: one, 3: two})
    assert hashes(stated(one.blocks)) == one.blocks

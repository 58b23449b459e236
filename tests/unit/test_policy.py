"""Which model scores which record: by the markers, and by the record's id."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from headrace.governance.policy import PolicyInForce, PolicyTimeline, answering
from headrace.schema.records import Policy, Route

A, B = (Policy(routes=[Route(model_id=m, weight=1)]) for m in "ab")


def test_a_record_is_scored_under_the_last_marker_before_it() -> None:
    timeline = PolicyTimeline()
    timeline.mark(0, PolicyInForce(20, "second", B))
    timeline.mark(0, PolicyInForce(10, "first", A))
    found = {offset: timeline.at(0, offset) for offset in (0, 10, 11, 20, 21, 99)}
    names = {offset: marked.activation_id if marked else None for offset, marked in found.items()}
    assert names == {0: "first", 10: "first", 11: "first", 20: "first", 21: "second", 99: "second"}
    assert timeline.at(1, 5) is None
    assert [timeline.before_first(0, o) for o in (9, 10, 11)] == [True, False, False]


@given(st.permutations([3, 8, 15, 16, 40]), st.integers(0, 60))
def test_the_order_in_which_markers_are_learnt_changes_nothing(offsets: list[int], asked: int) -> None:
    timelines = [PolicyTimeline(), PolicyTimeline()]
    for timeline, order in zip(timelines, (sorted(offsets), [*offsets, *offsets]), strict=True):
        for offset in order:
            timeline.mark(0, PolicyInForce(offset, str(offset), A))
    assert timelines[0].at(0, asked) == timelines[1].at(0, asked)


def test_routing_is_sticky_portable_and_near_its_weights() -> None:
    policy = Policy(routes=[Route(model_id="a", weight=90), Route(model_id="b", weight=10)], salt="s")
    ids = [f"id{i}" for i in range(20_000)]
    route = answering(policy, ids)
    assert (route == answering(policy, ids)).all()
    assert (route[::-1] == answering(policy, ids[::-1])).all()
    for i in range(100):
        point = int.from_bytes(hashlib.sha256(f"s:{ids[i]}".encode()).digest()[:8], "big") / 2**64
        assert route[i] == int(point >= 0.9)
    assert 0.09 < route.mean() < 0.11

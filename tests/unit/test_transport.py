"""Which transport carries records, and the columns of byte strings they travel in."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.errors import ConfigError
from headrace.kafka.choice import choose_transport
from headrace.kafka.native import choice
from headrace.kafka.native.librdkafka import handle
from headrace.kafka.python_transport import PYTHON

strings = st.lists(st.none() | st.binary(max_size=40), max_size=30)


@pytest.mark.skipif(isinstance(choice.native(), str), reason=f"no native transport here: {choice.native()}")
def test_native_is_taken_where_it_can_be() -> None:
    assert choose_transport("auto").name == "native"
    assert choose_transport("native") is choose_transport("auto")
    assert choose_transport("python") is PYTHON


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "library", lambda: "confluent-kafka 9.9: it was tested with 2.16.1")
    monkeypatch.setattr(choice, "native", choice.native.__wrapped__)


def test_elsewhere_auto_falls_back_and_says_why(elsewhere: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "headrace.kafka")
    assert choose_transport("auto") is PYTHON
    assert caplog.messages == [
        "the native transport cannot be used, records travel two to three times slower: "
        "confluent-kafka 9.9: it was tested with 2.16.1"
    ]


def test_elsewhere_native_is_refused_and_says_why(elsewhere: None) -> None:
    with pytest.raises(ConfigError, match=r"transport = native cannot be had: confluent-kafka 9.9"):
        choose_transport("native")


def test_only_a_client_has_a_handle() -> None:
    with pytest.raises(TypeError, match="object is no Kafka client"):
        handle(object())  # type: ignore[arg-type]


@given(strings)
def test_a_column_gives_back_what_it_was_made_of(values: list[bytes | None]) -> None:
    column = BytesColumn.of(values)
    assert column.to_list() == values
    assert [column[i] for i in range(len(column))] == values
    slots: list[dict[str, bytes | None]] = [{} for _ in values]
    column.into(slots, "name")
    assert [slot["name"] for slot in slots] == values


@given(strings, strings, st.data())
def test_slices_picks_and_joins_of_columns_are_those_of_lists(
    first: list[bytes | None], second: list[bytes | None], data: st.DataObject
) -> None:
    both = BytesColumn.concat([BytesColumn.of(first), BytesColumn.of(second)])
    values = first + second
    assert both.to_list() == values
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(values))] * 2)))
    part = both[start:stop]
    assert part.to_list() == values[start:stop]
    framed = b"".join(len(v or b"").to_bytes(8, "big") + (v or b"") for v in values[start:stop])
    assert part.framed().tobytes() == framed
    assert part[::-1].to_list() == values[start:stop][::-1]


def test_what_is_no_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="keys and values are bytes or None, not int, str"):
        BytesColumn.of([b"a", "b", 1, None])  # type: ignore[list-item]

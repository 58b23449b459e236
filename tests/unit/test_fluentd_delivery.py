"""Which message is sent next and when it is done with; which receiver is asked next and when it is asked again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from headrace.consumers.forward.fluentd.delivery import WINDOW, WINDOW_BYTES, Delivery
from headrace.consumers.forward.fluentd.messages import Message
from headrace.consumers.forward.fluentd.preference import FIRST_PAUSE_S, LONGEST_PAUSE_S, Preference


def delivery(count: int, size: int = 1) -> Delivery:
    return Delivery(iter([Message(str(i), bytes(size)) for i in range(count)]))


def pulled(of: Delivery, window: int = WINDOW) -> list[str]:
    chunks = []
    while message := of.next(window):
        chunks.append(message.chunk)
    return chunks


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_no_more_messages_are_in_flight_than_the_window_holds() -> None:
    sending = delivery(20)
    assert pulled(sending, 3) == ["0", "1", "2"]
    assert sending.acked("1")
    assert pulled(sending, 3) == ["3"]
    assert sending.in_flight == 3


@pytest.mark.parametrize(("size", "count"), [(WINDOW_BYTES + 1, 1), (WINDOW_BYTES // 2, 2), (WINDOW_BYTES // 2 + 1, 2)])
def test_large_messages_fill_the_window_sooner(size: int, count: int) -> None:
    sending = delivery(5, size)
    assert len(pulled(sending)) == count
    assert sending.acked("0")
    assert pulled(sending) == [str(count)]


def test_on_another_connection_what_has_no_ack_goes_first_and_in_order() -> None:
    sending = delivery(6)
    assert pulled(sending, 4) == ["0", "1", "2", "3"]
    assert sending.acked("2")
    sending.start_over()
    assert sending.in_flight == 0
    assert pulled(sending, 2) == ["0", "1"]
    sending.start_over()
    assert pulled(sending) == ["0", "1", "3", "4", "5"]


def test_an_ack_counts_once_and_for_its_own_message_only() -> None:
    sending = delivery(2)
    assert not sending.acked("0")
    assert pulled(sending) == ["0", "1"]
    assert [sending.acked(chunk) for chunk in ("0", "0", "7", "1")] == [True, False, False, True]
    assert sending.in_flight == 0


def test_an_ack_from_a_lost_connection_does_not_count() -> None:
    sending = delivery(1)
    assert pulled(sending) == ["0"]
    sending.start_over()
    assert not sending.acked("0")
    assert pulled(sending) == ["0"]


def test_receivers_are_asked_in_the_order_wanted_and_those_that_failed_last() -> None:
    clock = Clock()
    preference = Preference(3, clock)
    assert preference.order() == [0, 1, 2]
    preference.failed(0)
    assert preference.order() == [1, 2, 0]
    clock.now += FIRST_PAUSE_S / 2
    preference.failed(1)
    assert preference.order() == [2, 0, 1]
    clock.now += FIRST_PAUSE_S / 2
    assert preference.order() == [0, 2, 1]
    clock.now += FIRST_PAUSE_S
    assert preference.order() == [0, 1, 2]


def test_a_pause_doubles_up_to_the_longest_until_an_ack_ends_it() -> None:
    clock = Clock()
    preference = Preference(2, clock)
    ends = [clock.now]
    for _ in range(9):
        preference.failed(0)
        while preference.order() != [0, 1]:
            clock.now += FIRST_PAUSE_S / 2
        ends.append(clock.now)
    pauses = [later - earlier for earlier, later in pairwise(ends)]
    assert pauses == [min(FIRST_PAUSE_S * 2**i, LONGEST_PAUSE_S) for i in range(9)]
    preference.failed(0)
    preference.worked(0)
    assert preference.order() == [0, 1]

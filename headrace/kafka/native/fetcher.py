"""Reading: batches of librdkafka's messages to columns."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
from confluent_kafka import Consumer, KafkaError

from headrace.codec.column import BytesColumn
from headrace.codec.framing import ID_HEADER, LONGEST_ID, with_ids
from headrace.errors import StackError
from headrace.kafka.log import Chunk, TopicPartition
from headrace.kafka.native import kernels
from headrace.kafka.native.librdkafka import LibRdKafka, handle
from headrace.kafka.transport import ClientEvent, Fetched, event_of

WAKE = (1).to_bytes(8, "little")
"""What librdkafka writes to the event file when a queue that was empty is so no more."""

_ID_HEADER = np.frombuffer(ID_HEADER.encode() + b"\0", dtype=np.uint8)
Pointers = np.ndarray[tuple[int], np.dtype[np.int64]]


class NativeFetcher:
    """Reads each partition from its own queue; everything else a consumer is told stays on the consumer's.

    So no callback ever runs inside the batch call: rebalances and errors come out of ``Consumer.poll``.

    Args:
        library: librdkafka.
        consumer: reads.
        timed: whether chunks get the records' timestamps.
    """

    def __init__(self, library: LibRdKafka, consumer: Consumer, timed: bool) -> None:
        self._library = library
        self._consumer = consumer
        self._timed = timed
        self._handle = handle(consumer)
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._waiting = select.poll()  # select() takes no file beyond the thousandth
        self._waiting.register(self._event, select.POLLIN)
        self._wake = np.frombuffer(WAKE, dtype=np.uint8)
        self._events = library.queue_get_consumer(self._handle)
        self._tell(self._events)
        self._partitions: deque[tuple[TopicPartition, int]] = deque()
        self._paused: set[TopicPartition] = set()
        self._carrying: Collection[str] = ()
        self._pointers: Pointers = np.zeros(1, dtype=np.int64)
        self._columns(TopicPartition("", 0), self._pointers[:0])  # compiled, or loaded, before the first record

    def carry_ids(self, topics: Collection[str]) -> None:
        self._carrying = topics
        if topics:  # compiled, or loaded, before the first record
            _with_ids(self._pointers[:0], BytesColumn.nulls(0))

    def direct(self, tps: Sequence[TopicPartition]) -> None:
        self._release()
        self._paused.clear()
        for tp in tps:
            queue = self._library.queue_get_partition(self._handle, tp.topic.encode(), tp.partition)
            if not queue:
                raise StackError(f"librdkafka gives no queue for {tp}")
            self._library.queue_forward(queue, None)
            self._tell(queue)
            self._partitions.append((tp, queue))

    def poll(self, limit: int, timeout: float) -> Fetched:
        if len(self._pointers) < limit:
            self._pointers = np.zeros(limit, dtype=np.int64)
        found = self._polled(limit)
        if timeout > 0 and not (found.chunks or found.events) and self._waiting.poll(timeout * 1000):
            os.eventfd_read(self._event)
            found = self._polled(limit)
        return found

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        # The client's own pause drops what has been fetched, and its resume can take a second to be noticed.
        self._paused.update(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(tps)

    def close(self) -> None:
        self._release()
        if self._events:
            self._hush(self._events)
            self._events = 0
            os.close(self._event)

    def _polled(self, limit: int) -> Fetched:
        """What is there now. Partitions take turns at being first."""
        event = self._consumer.poll(0)
        found = Fetched([], [] if event is None else [event_of(event)])
        for _ in range(len(self._partitions)):
            self._partitions.rotate(-1)
            tp, queue = self._partitions[-1]
            if tp in self._paused:
                continue
            count = self._library.consume_batch_queue(queue, 0, self._pointers.ctypes.data, limit)
            if count < 0:
                raise StackError(f"librdkafka gives no records of {tp}: {KafkaError(self._library.last_error()).str()}")
            if count:
                pointers = self._pointers[:count]
                try:
                    part = self._columns(tp, pointers)
                finally:
                    kernels.destroy_messages(pointers)
                found = Fetched(found.chunks + part.chunks, found.events + part.events)
                limit -= count
                if limit == 0:
                    break
        return found

    def _tell(self, queue: int) -> None:
        """Have a queue tell of itself through the event file."""
        self._library.queue_io_event_enable(queue, self._event, self._wake.ctypes.data, len(WAKE))

    def _hush(self, queue: int) -> None:
        self._library.queue_io_event_enable(queue, -1, None, 0)
        self._library.queue_destroy(queue)

    def _release(self) -> None:
        for _, queue in self._partitions:
            self._hush(queue)
        self._partitions.clear()

    def _columns(self, tp: TopicPartition, pointers: Pointers) -> Fetched:
        """Messages of a partition as one chunk, and those that carry an error."""
        words = np.empty((len(pointers), kernels.WORDS), dtype=np.int64)
        kernels.read_messages(pointers, words)
        times = self._timestamps(pointers) if self._timed else None
        errors = words.view(np.int32)[:, kernels.ERROR_32]
        events = []
        if errors.any():
            events = [_other(tp, words[row], int(errors[row])) for row in np.flatnonzero(errors)]
            sound = errors == 0
            words, pointers = words[sound], pointers[sound]
            times = None if times is None else times[sound]
        keys = column(words, kernels.KEY, kernels.KEY_LENGTH)
        values = column(words, kernels.PAYLOAD, kernels.LENGTH)
        if tp.topic in self._carrying:
            values = _with_ids(pointers, values)
        chunk = Chunk(tp, words[:, kernels.OFFSET].copy(), keys, values, times)
        return Fetched([chunk] if len(chunk) else [], events)

    @staticmethod
    def _timestamps(pointers: Pointers) -> Pointers:
        found = np.empty(len(pointers), dtype=np.int64)
        kernels.read_timestamps(pointers, found)
        return found


def _other(tp: TopicPartition, words: np.ndarray[tuple[int], np.dtype[np.int64]], error: int) -> ClientEvent:
    said = column(words.reshape(1, -1), kernels.PAYLOAD, kernels.LENGTH)[0] or b""
    fatal = error == KafkaError._FATAL
    return ClientEvent(tp, int(words[kernels.OFFSET]), KafkaError(error, said.decode(errors="replace"), fatal))


def _with_ids(pointers: Pointers, values: BytesColumn) -> BytesColumn:
    starts, lengths = np.zeros((2, len(pointers)), dtype=np.int64)
    data, begins, _ = values.buffers()
    asked = (pointers, _ID_HEADER, LONGEST_ID, data, begins)
    if not kernels.find_header(*asked, False, starts, lengths):
        return values
    kernels.find_header(*asked, True, starts, lengths)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    ids = np.empty(int(offsets[-1]), dtype=np.uint8)
    kernels.copy_headers(starts, lengths, ids)
    return with_ids(values, BytesColumn(ids, offsets))


def column(words: kernels.Words, pointer: int, length: int) -> BytesColumn:
    """A copy of the strings that messages (n, 9) point at: at words ``pointer``, lengths at words ``length``."""
    offsets = np.zeros(len(words) + 1, dtype=np.int64)
    valid = np.empty(len(words), dtype=np.bool_)
    whole = kernels.measure_strings(words, pointer, length, offsets, valid)
    data = np.empty(int(offsets[-1]), dtype=np.uint8)
    kernels.copy_strings(words, pointer, offsets, data)
    return BytesColumn(data, offsets, None if whole else valid)

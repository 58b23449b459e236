"""Sending to a real Kafka outside of transactions: the idempotent producer through which events enter the log."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.errors import HeadraceError, Unavailable
from headrace.kafka import writer
from headrace.kafka.client import client
from headrace.kafka.log import FULL_S, LARGEST, Headers, OnDelivery, Output, TopicPartition
from headrace.kafka.python_transport import PythonBatchWriter
from headrace.kafka.reports import Reports, closed, full

BUSY = 50
"""Records in a turn from which on the threads that send take the client's reports, and the one in the background rests:
two that take them would wait for each other."""
EVERY = 32
"""Records between two looks for reports by a thread that sends: each look gives way to the other threads."""
TURN_S = 0.02
IDLE_S = 1.0
ROOM_S = 0.05


class KafkaSender:
    """An idempotent producer outside transactions.

    A thread in the background, made with the first record, takes the client's reports and calls those who asked to be
    told: nobody polls, and no callback runs inside a call of its own user's.
    """

    def __init__(self, conf: Mapping[str, Any]) -> None:
        settings = {"queue.buffering.max.messages": writer.QUEUE, **conf, "delivery.report.only.error": False}
        self._producer = client(Producer, {**writer.PRODUCER, **settings})
        self._reports = Reports()
        self._failed: deque[str] = deque()
        self._lock = threading.Lock()
        """Held for as long as the client takes one record: none is taken once the sender is closed."""
        self._closed = False
        self._taken = 0
        self._serving: list[None] = []
        """One for each thread that takes the client's reports itself for now."""
        self._watch: _Watch | None = None
        # The batch writer fills the same slots again and again: one thread at a time.
        self._batch_writer = PythonBatchWriter(self._delivered, partition=False)
        self._batch = threading.Lock()

    def send(
        self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], *, wait: float = FULL_S
    ) -> None:
        output = Output(TopicPartition(topic, -1), keys, values)
        room = _Room(self._producer, topic, wait)
        with self._batch:
            self._check()
            self._serving.append(None)
            try:
                refused = self._batch_writer.queue(self._producer, output, room)
            finally:
                self._serving.pop()
        self._wake()
        self._producer.poll(0)
        if refused:
            raise HeadraceError(f"{len(refused)} records for {topic} cannot be sent: {why(refused[0])}")

    def offer(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        timestamp: int = 0,
        on_delivery: OnDelivery | None = None,
    ) -> bool:
        report = self._delivered if on_delivery is None else partial(self._reports.add, on_delivery)
        try:
            with self._lock:
                self._check()
                if headers is None:
                    self._producer.produce(topic, value, key, -1, report, None, timestamp)
                else:
                    self._producer.produce(topic, value, key, -1, report, None, timestamp, headers)  # type: ignore[arg-type]
                self._taken = taken = self._taken + 1
        except BufferError:
            self._producer.poll(0)
            return False
        except KafkaException as e:
            raise HeadraceError(f"a record for {topic} cannot be sent: {why(e.args[0])}") from e
        self._wake()
        if taken % EVERY == 0:
            self._producer.poll(0)
        return True

    def wait_for_room(self, timeout: float) -> None:
        self._producer.poll(timeout)

    def flush(self, timeout: float = writer.START_S) -> None:
        self._serving.append(None)
        try:
            left = self._producer.flush(timeout)
        finally:
            self._serving.pop()
        self._reports.tell()
        # Another thread may be told of a failure meanwhile: that one stays for the next flush.
        failed = [self._failed.popleft() for _ in range(len(self._failed))]
        if left or failed:
            first = failed[0] if failed else "no answer from the broker"
            raise Unavailable(f"{left + len(failed)} records were not delivered: {first}")

    def close(self, timeout: float = writer.START_S) -> None:
        with self._batch, self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self.flush(timeout)
        finally:
            if self._watch is not None:
                self._watch.end()

    def _check(self) -> None:
        if self._closed:
            raise closed()

    def _wake(self) -> None:
        if self._watch is None:
            with self._lock:
                if self._watch is None:
                    self._watch = _Watch(self)
        if not self._watch.awake.is_set():
            self._watch.awake.set()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error.str())


class _Room:
    """Waits until the client's full queue has shrunk, for so many seconds at most."""

    def __init__(self, producer: Producer, topic: str, seconds: float) -> None:
        self._producer = producer
        self._topic = topic
        self._seconds = seconds

    def __call__(self) -> None:
        before, deadline = len(self._producer), time.monotonic() + self._seconds
        while not self._producer.poll(ROOM_S) and len(self._producer) >= before:
            if time.monotonic() > deadline:
                raise full(self._topic, self._seconds, "the first of these records were handed over, the rest not")


class _Watch:
    """The thread that takes a client's reports while nobody sends. It ends with its sender, closed or let go."""

    def __init__(self, sender: KafkaSender) -> None:
        self.awake = threading.Event()
        self._sender = weakref.ref(sender, lambda _: self.end())
        self._ended = False
        threading.Thread(target=self._run, name="headrace-sender", daemon=True).start()

    def end(self) -> None:
        self._ended = True
        self.awake.set()

    def _run(self) -> None:
        before = 0
        while self.awake.wait(IDLE_S) or not self._ended:
            sender = self._sender()
            if sender is None or self._ended:
                return
            before = self._turn(sender, before)
            del sender

    def _turn(self, sender: KafkaSender, before: int) -> int:
        """Take reports for a moment; gives the number of records sent so far."""
        taken = sender._taken
        if sender._serving or taken - before > BUSY:
            time.sleep(TURN_S)
        else:
            sender._producer.poll(TURN_S)
        sender._reports.tell()
        if not len(sender._producer) and not sender._reports:
            self.awake.clear()
            if len(sender._producer):  # sent since it was looked at
                self.awake.set()
        return taken


def why(error: KafkaError) -> str:
    """Why a client does not take a record, and what to do about it."""
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return f"over {LARGEST} bytes, make it smaller"
    return error.str()

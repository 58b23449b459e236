"""Writing to a real Kafka: the transactional writer of the exactly-once loop."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.errors import ConfigError, Fenced, HeadraceError, StackError, TransactionAborted, Unavailable
from headrace.kafka.background_call import BackgroundCall
from headrace.kafka.client import client
from headrace.kafka.client_errors import AT_THE_DOOR, REFUSED, UNKNOWN, refusal
from headrace.kafka.log import LARGEST, GroupReader, Output, Position, TopicPartition
from headrace.kafka.python_transport import PythonBatchWriter
from headrace.kafka.transport import BatchWriter, Transport, columns

T = TypeVar("T")
log = logging.getLogger("headrace.kafka")

TRANSACTION_TIMEOUT_MS = 10_000
CALL_S = 15.0
GRACE_S = 5.0
START_S = 60.0
QUEUE = 200_000
FULL_BATCH = LARGEST
"""Bytes before compression; librdkafka makes none larger than a record may be. Each batch costs broker and client a
turn, whatever its size: the fewer, the faster. Topics of ``headrace init`` take one even where it does not compress."""
USUAL_BATCH = 1_000_000
"""What a topic that others made takes: Kafka's own limit is a little more."""
LINGER_MS = 200
"""A commit sends what is left, however young. Until then only full batches go: librdkafka has one request of a
partition on its way at a time, and while another is due it asks the socket again and again instead of sleeping."""
DRAIN_S = 0.05
"""Longest wait for a sign that the broker takes what is on its way."""
SETTLE_S = 0.006
"""About how long the broker still writes the markers of a commit that it has answered. A send of the next transaction
that meets them is tried again after 20 ms."""
RECORD_HEADER = 36
"""Bytes librdkafka counts for a record beside its key and value."""

PRODUCER: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    "batch.size": USUAL_BATCH,
    "batch.num.messages": 100_000,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": LARGEST + RECORD_HEADER,
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
}
_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}


class KafkaWriter:
    """One transactional producer. After a call that timed out, or a transaction that outlived its limit, it
    replaces its producer, so that a late answer of the old one cannot touch the next transaction."""

    def __init__(
        self, common: Mapping[str, Any], transactional_id: str, transport: Transport, *, tracks: bool = True
    ) -> None:
        self._conf = {
            **PRODUCER,
            "linger.ms": LINGER_MS,
            "batch.size": FULL_BATCH,
            "compression.type": "lz4",  # the least work of client and broker together, none included
            "queue.buffering.max.messages": QUEUE,
            **common,
            "transactional.id": transactional_id,
            "enable.idempotence": True,
            "delivery.report.only.error": not tracks,
        }
        self._id = transactional_id
        self._tracks = tracks
        self._limit_s = int(self._conf["transaction.timeout.ms"]) / 1000
        self._began = 0.0
        self._stale = False
        self._known: set[TopicPartition] = set()
        self._written = Written()
        self._batch_writer: BatchWriter = PythonBatchWriter() if tracks else transport.batch_writer()
        self._producer = self._started(START_S)

    def begin(self) -> None:
        if self._stale:
            try:
                self._replace()
            except Unavailable as e:
                raise TransactionAborted(str(e)) from e
        self._began = time.monotonic()
        self._written = Written()
        self._call("begin", self._producer.begin_transaction)

    def write(self, output: Output) -> None:
        self._check(output.tp)
        keys, values = columns(output)
        self._written.note(output.tp, len(values), keys.size + values.size)
        whole = replace(output, keys=keys, values=values)
        refused = self._call("write", lambda: self._batch_writer.queue(self._producer, whole, self._room))
        if refused:
            raise self._refused(output.tp, refused[0])
        self._call("write", lambda: self._producer.poll(0))

    def write_and_wait(self, outputs: Sequence[Output]) -> list[list[int]]:
        if not self._tracks:
            raise HeadraceError(f"{self._id}: this writer does not track offsets; make it with tracks=True")
        offsets: list[list[int]] = [[-1] * len(o) for o in outputs]
        failed: list[KafkaError] = []

        def note(row: list[int], place: int) -> Callable[[KafkaError | None, Message], None]:
            def delivered(error: KafkaError | None, message: Message) -> None:
                if error is None:
                    row[place] = int(message.offset() or 0)
                else:
                    failed.append(error)

            return delivered

        for output, row in zip(outputs, offsets, strict=True):
            self._check(output.tp)
            for place, (key, value) in enumerate(zip(output.keys, output.values, strict=True)):
                self._produce(output.tp, key, value, note(row, place))
        self._call("write", lambda: self._producer.flush(CALL_S))
        if any(-1 in row for row in offsets):
            why = failed[0].str() if failed else f"no answer for {CALL_S:.0f} s"
            raise TransactionAborted(f"{self._id}: records written to {outputs[0].tp} were not confirmed: {why}")
        return offsets

    def send_offsets(self, positions: Mapping[TopicPartition, Position], group: GroupReader) -> None:
        parts = [
            KafkaPartition(tp.topic, tp.partition, at.offset, metadata=at.metadata) for tp, at in positions.items()
        ]
        metadata = group.metadata  # type: ignore[attr-defined]
        if metadata is None:
            raise TransactionAborted(f"{self._id}: this member has no partitions to commit offsets of")
        producer = self._producer
        # It may never return, whatever timeout it is given (librdkafka issues 5456 and 5511).
        sending = BackgroundCall(partial(producer.send_offsets_to_transaction, parts, metadata, CALL_S))

        def send() -> None:
            try:
                self._drain()
                producer.flush(CALL_S)  # what has not gone yet goes beside the offsets, not after them
            finally:
                if not sending.returned(within_s=CALL_S + GRACE_S):
                    raise TransactionAborted(f"{self._id}: the client hangs; a new producer takes over")

        self._last_call("send offsets", send)

    def commit(self) -> None:
        self._last_call("commit", lambda: self._producer.commit_transaction(CALL_S))
        time.sleep(SETTLE_S)

    def abort(self) -> None:
        if not self._stale:
            try:
                self._producer.abort_transaction(CALL_S)
            except KafkaException as e:
                if isinstance(self._translated("abort", e.args[0]), Fenced):
                    raise Fenced(self._fenced(e.args[0])) from e
                log.warning("%s: abort failed (%s); a new producer takes over", self._id, e.args[0].str())
                self._stale = True
        if self._stale:
            # Now rather than at the next begin: the outcome must be settled before committed offsets are read.
            try:
                self._replace()
            except Unavailable as e:
                log.warning("%s", e)

    def close(self) -> None:
        discard(self._producer)
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            try:
                # It aborts what is open, and asks for as long as Kafka is away.
                if not BackgroundCall(self._producer.close).returned(within_s=GRACE_S):
                    log.warning("%s: Kafka is away, what is open there is left to time out", self._id)
            except KafkaException as e:
                log.info("%s: closed after %s", self._id, e.args[0].str())

    def _replace(self) -> None:
        discard(self._producer)
        self._stale = True
        self._known.clear()
        self._producer = self._started(0.0)
        self._stale = False

    def _started(self, patience_s: float) -> Producer:
        producer = client(Producer, self._conf)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                producer.init_transactions(CALL_S)
                return producer
            except KafkaException as e:
                error: KafkaError = e.args[0]
                if error.code() in _FENCED:
                    raise Fenced(self._fenced(error)) from e
                if not error.retriable():
                    raise StackError(f"{self._id}: Kafka refuses transactions: {error.str()}") from e
                if time.monotonic() > deadline:
                    discard(producer)
                    raise Unavailable(f"{self._id}: transactions cannot start: {error.str()}") from e

    def _produce(
        self,
        tp: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        on_delivery: Callable[[KafkaError | None, Message], None],
    ) -> None:
        while True:
            try:
                return self._producer.produce(tp.topic, value, key, tp.partition, on_delivery=on_delivery)
            except BufferError:
                self._call("write", self._room)
            except KafkaException as e:
                raise self._refused(tp, e.args[0]) from e

    def _check(self, tp: TopicPartition) -> None:
        """See that a partition is there before the first record for it, which the client would take in any case.

        Raises:
            ConfigError: it is not.
        """
        if tp in self._known:
            return
        found = self._call("write", lambda: self._producer.list_topics(tp.topic, timeout=CALL_S)).topics[tp.topic]
        if found.error is not None:
            raise self._refused(tp, found.error)
        self._known |= {TopicPartition(tp.topic, p) for p in found.partitions}
        if tp not in self._known:
            raise self._refused(tp, KafkaError(KafkaError._UNKNOWN_PARTITION))

    def _drain(self) -> None:
        """Wait until less than a request of each partition is left. While a flush has more than one to send, the
        client's thread asks the socket again and again instead of sleeping."""
        few = self._written.records_in(int(self._conf["batch.size"]))
        left, before = len(self._producer), -1
        while left > few and left != before:
            self._producer.poll(DRAIN_S)  # a confirmed record counts until its report is taken
            left, before = len(self._producer), left

    def _room(self) -> None:
        """Wait until the client's full queue has shrunk."""
        before, deadline = len(self._producer), time.monotonic() + CALL_S
        while len(self._producer) >= before:
            self._producer.flush(0.05)
            if time.monotonic() > deadline:
                raise TransactionAborted(f"{self._id}: the broker took nothing for {CALL_S:.0f} s")

    def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except KafkaException as e:
            raise self._translated(what, e.args[0]) from e
        except SystemError as e:
            # How a fatal error comes out of poll and flush when a delivery callback ran after it.
            if not isinstance(e.__cause__, KafkaException):
                raise
            raise self._translated(what, e.__cause__.args[0]) from e

    def _last_call(self, what: str, call: Callable[[], object]) -> None:
        """A call after which everything written must have arrived."""
        try:
            self._call(what, call)
        except TransactionAborted:
            # Where the broker has refused a record, the client's next transaction would skip its sequence number.
            self._stale = True
            raise

    def _translated(self, what: str, error: KafkaError) -> HeadraceError:
        if error.code() in _FENCED and time.monotonic() - self._began < self._limit_s:
            return Fenced(self._fenced(error))
        if error.code() in _FENCED:
            # The broker fences a transaction that outlives its limit as it does one of a namesake. Go on with a new
            # producer: should there be a namesake after all, it is fenced in turn, within its limit, and stops.
            self._stale = True
            return TransactionAborted(f"{self._id}: the transaction was open longer than {self._limit_s:.0f} s")
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and int(self._conf["batch.size"]) > USUAL_BATCH:
            self._conf["batch.size"] = USUAL_BATCH
            self._stale = True
            log.warning("%s: a topic's max.message.bytes is below a full batch, %d from here on", self._id, USUAL_BATCH)
        if error.code() in REFUSED - AT_THE_DOOR:
            return refusal(f"{self._id}: {what}", error)
        # A producer does not get over a fatal error; a new one does, unless Kafka refuses it for good.
        self._stale = self._stale or error.fatal()
        return TransactionAborted(f"{self._id}: {what} failed: {error.str()}")

    def _refused(self, tp: TopicPartition, error: KafkaError) -> HeadraceError:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            limit = int(self._conf["message.max.bytes"]) - RECORD_HEADER
            return HeadraceError(f"a record for {tp} is over {limit} bytes: make it smaller")
        if error.code() in UNKNOWN:
            return ConfigError(f"Kafka has no partition {tp}: run `headrace init PIPELINE`, which adds it")
        return self._translated(f"write to {tp}", error)

    def _fenced(self, error: KafkaError) -> str:
        return f"another worker runs as {self._id}; this one stops ({error.str()})"


class Written:
    """What was written in a transaction, by partition."""

    def __init__(self) -> None:
        self._by_partition: dict[TopicPartition, tuple[int, int]] = {}

    def note(self, tp: TopicPartition, records: int, octets: int) -> None:
        before = self._by_partition.get(tp, (0, 0))
        self._by_partition[tp] = before[0] + records, before[1] + octets

    def records_in(self, octets: int) -> float:
        """How many records so many bytes of each partition hold, by the mean size of its records."""
        return sum(min(records, octets * records / max(size, 1)) for records, size in self._by_partition.values())


def discard(producer: Producer) -> None:
    """Drop what a producer still holds. It is not closed, which would wait for a broker that may be away."""
    try:
        producer.purge()
    except KafkaException as e:
        log.debug("a producer was let go with %s", e.args[0].str())

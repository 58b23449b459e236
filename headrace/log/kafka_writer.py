"""Writing to a real Kafka: the transactional writer of the exactly-once loop, and the plain idempotent sender."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.errors import Fenced, HeadraceError, TransactionAborted, Unavailable
from headrace.log.base import GroupReader, Output, Position, TopicPartition

log = logging.getLogger("headrace.kafka")

TRANSACTION_TIMEOUT_MS = 10_000
CALL_S = 15.0
START_S = 60.0
QUEUE = 200_000

PRODUCER: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    "batch.size": 1_000_000,
    "batch.num.messages": 100_000,
    "queue.buffering.max.messages": QUEUE,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": 2_000_000,
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
}
_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


class KafkaWriter:
    """One transactional producer. After a call that timed out it replaces its producer, so that a late
    answer of the old one cannot touch the next transaction."""

    def __init__(self, common: Mapping[str, Any], transactional_id: str) -> None:
        self._conf = {
            **PRODUCER,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            **common,
            "transactional.id": transactional_id,
            "enable.idempotence": True,
            "delivery.report.only.error": False,
        }
        self._id = transactional_id
        self._stale = False
        self._producer = self._started()

    def begin(self) -> None:
        if self._stale:
            try:
                self._producer = self._started()
            except Unavailable as e:
                raise TransactionAborted(str(e)) from e
            self._stale = False
        self._call("begin", self._producer.begin_transaction)

    def write(self, output: Output) -> None:
        if not output.values:
            return
        self._wait_for_room(len(output))
        messages = [{"key": k, "value": v} for k, v in zip(output.keys, output.values, strict=True)]
        queued = self._producer.produce_batch(output.tp.topic, messages, partition=output.tp.partition)
        if queued < len(messages):
            refused = next(m["_error"] for m in messages if "_error" in m)
            raise self._refused(output.tp, refused)
        self._producer.poll(0)

    def write_tracked(self, outputs: Sequence[Output]) -> list[list[int]]:
        offsets: list[list[int]] = [[-1] * len(o) for o in outputs]

        def note(row: list[int], place: int) -> Callable[[KafkaError | None, Message], None]:
            def delivered(error: KafkaError | None, message: Message) -> None:
                if error is None:
                    row[place] = int(message.offset() or 0)

            return delivered

        for output, row in zip(outputs, offsets, strict=True):
            for place, (key, value) in enumerate(zip(output.keys, output.values, strict=True)):
                self._producer.produce(output.tp.topic, value, key, output.tp.partition, on_delivery=note(row, place))
        self._producer.flush(CALL_S)
        if any(-1 in row for row in offsets):
            raise TransactionAborted(f"{self._id}: records written to {outputs[0].tp} were not confirmed in time")
        return offsets

    def send_offsets(self, positions: Mapping[TopicPartition, Position], group: GroupReader) -> None:
        metadata = group.consumer.consumer_group_metadata()  # type: ignore[attr-defined]
        parts = [
            KafkaPartition(tp.topic, tp.partition, at.offset, metadata=str(at.rebuild_from))
            for tp, at in positions.items()
        ]
        self._call("send offsets", lambda: self._producer.send_offsets_to_transaction(parts, metadata, CALL_S))

    def commit(self) -> None:
        self._call("commit", lambda: self._producer.commit_transaction(CALL_S))

    def abort(self) -> None:
        try:
            self._producer.abort_transaction(CALL_S)
        except KafkaException as e:
            error: KafkaError = e.args[0]
            if error.code() in _FENCED:
                raise Fenced(self._fenced(error)) from e
            log.warning("%s: abort failed (%s); a new producer will take over", self._id, error.str())
            self._producer.purge()
            self._stale = True

    def close(self) -> None:
        self._producer.purge()
        self._producer.close()

    def _started(self) -> Producer:
        producer = Producer(self._conf, logger=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                producer.init_transactions(CALL_S)
                return producer
            except KafkaException as e:
                error: KafkaError = e.args[0]
                if error.code() in _FENCED:
                    raise Fenced(self._fenced(error)) from e
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self._id}: transactions cannot start: {error.str()}") from e

    def _wait_for_room(self, wanted: int) -> None:
        """Block while the client's queue has no room, so that a batch is queued whole and in order."""
        deadline = time.monotonic() + CALL_S
        while len(self._producer) + wanted > QUEUE and len(self._producer):
            self._producer.poll(0.05)
            if time.monotonic() > deadline:
                raise TransactionAborted(f"{self._id}: the broker took nothing for {CALL_S:.0f} s")

    def _call(self, what: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except KafkaException as e:
            error: KafkaError = e.args[0]
            if error.code() in _FENCED or error.fatal():
                raise Fenced(self._fenced(error)) from e
            raise TransactionAborted(f"{self._id}: {what} failed: {error.str()}") from e

    def _refused(self, tp: TopicPartition, error: object) -> HeadraceError:
        if isinstance(error, KafkaError) and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return HeadraceError(f"a record for {tp} is over {self._conf['message.max.bytes']} bytes")
        return TransactionAborted(f"{self._id}: the client refused records for {tp}: {error}")

    def _fenced(self, error: KafkaError) -> str:
        return f"another worker runs as {self._id}; this one stops ({error.str()})"


class KafkaSender:
    """An idempotent producer outside transactions."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self._producer = Producer({**PRODUCER, **conf}, logger=log)
        self._failed: list[str] = []

    def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        for start in range(0, len(values), QUEUE // 4):
            self._send_some(topic, keys[start : start + QUEUE // 4], values[start : start + QUEUE // 4])

    def flush(self) -> None:
        left = self._producer.flush(START_S)
        if left or self._failed:
            first = self._failed[0] if self._failed else "no answer from the broker"
            count = left + len(self._failed)
            self._failed.clear()
            raise Unavailable(f"{count} records were not delivered: {first}")

    def _send_some(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        while len(self._producer) + len(values) > QUEUE:
            self._producer.poll(0.05)
        messages = [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)]
        queued = self._producer.produce_batch(topic, messages, on_delivery=self._delivered)
        self._failed.extend(str(m["_error"]) for m in messages if "_error" in m)
        if queued:
            self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error.str())

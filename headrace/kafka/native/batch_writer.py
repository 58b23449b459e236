"""Writing: columns to batches of librdkafka's messages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer

from headrace.codec.column import BytesColumn
from headrace.kafka.log import Output
from headrace.kafka.native import kernels
from headrace.kafka.native.librdkafka import LibRdKafka, handle
from headrace.kafka.python_transport import SLICE
from headrace.kafka.transport import columns

COPY = 0x2
"""``RD_KAFKA_MSG_F_COPY``: librdkafka takes copies; the columns are free to go when the call returns."""


class NativeBatchWriter:
    """Queues columns of messages. There is no report for each: what is lost fails the transaction it is in."""

    def __init__(self, library: LibRdKafka) -> None:
        self._library = library
        nothing = BytesColumn.nulls(0)
        kernels.point_at(np.zeros((0, kernels.WORDS), np.int64), kernels.KEY, kernels.KEY_LENGTH, *nothing.buffers())

    def queue(self, producer: Producer, output: Output, full: Callable[[], object]) -> list[KafkaError]:
        key_column, value_column = columns(output)
        owner = handle(producer)
        topic = self._library.topic_new(owner, output.tp.topic.encode(), None)
        if not topic:
            raise KafkaException(KafkaError(self._library.last_error()))
        errors: list[KafkaError] = []
        try:
            for start in range(0, len(value_column), SLICE):
                part = slice(start, start + SLICE)
                errors += self._queue(topic, output.tp.partition, key_column[part], value_column[part], full)
        finally:
            self._library.topic_destroy(topic)
        return errors

    def _queue(
        self, topic: int, partition: int, keys: BytesColumn, values: BytesColumn, full: Callable[[], object]
    ) -> list[KafkaError]:
        words = np.zeros((len(values), kernels.WORDS), dtype=np.int64)
        kernels.point_at(words, kernels.KEY, kernels.KEY_LENGTH, *keys.buffers())
        kernels.point_at(words, kernels.PAYLOAD, kernels.LENGTH, *values.buffers())
        errors: list[KafkaError] = []
        while len(words):
            done = self._library.produce_batch(topic, partition, COPY, words.ctypes.data, len(words))
            if done == len(words):
                break
            codes = words.view(np.int32)[:, kernels.ERROR_32]
            # A full queue refuses all that follows; an error of a record's own, that one alone.
            waiting = codes == KafkaError._QUEUE_FULL
            refused = codes[(codes != 0) & ~waiting].tolist()
            errors += [KafkaError(code, None, code == KafkaError._FATAL) for code in refused]
            words = np.ascontiguousarray(words[waiting])
            words.view(np.int32)[:, kernels.ERROR_32] = 0
            if len(words):
                full()
        return errors

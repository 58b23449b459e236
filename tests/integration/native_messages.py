"""Stands between the kernels and librdkafka in a process of its own: notes each message handed out and given back.

``python -m tests.integration.native_messages '{"bootstrap": ..., "kafka": {...}, "topic": ..., "group": ...}'`` reads
the topic in every way there is and prints what it noted.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Sequence

import llvmlite.binding

from headrace.config import Settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import GroupReader, Reader, TopicPartition
from headrace.kafka.native.librdkafka import MESSAGE_DESTROY, LibRdKafka, library
from tests.waiting import wait_for

GIVE_BACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Messages:
    """What became of every message. To be made before the kernels are first used.

    Args:
        crash_at: at this message, counted from 1, a kernel crashes while it gives messages back; 0: at none.
    """

    def __init__(self, crash_at: int = 0) -> None:
        found = library()
        assert isinstance(found, LibRdKafka)
        self.handed_out = 0
        self.given_back = 0
        self.unknown = 0
        self.held: set[int] = set()
        self._crash_at = crash_at
        self._consume = found.consume_batch_queue
        self._destroy = GIVE_BACK(llvmlite.binding.address_of_symbol(MESSAGE_DESTROY))
        self._noted = GIVE_BACK(self._back)
        llvmlite.binding.add_symbol(MESSAGE_DESTROY, ctypes.cast(self._noted, ctypes.c_void_p).value)
        found.consume_batch_queue = self._out  # type: ignore[assignment]

    def _out(self, queue: int, timeout: int, pointers: int, limit: int) -> int:
        count = int(self._consume(queue, timeout, pointers, limit))
        found = (ctypes.c_int64 * max(count, 0)).from_address(pointers)
        self.handed_out += len(found)
        self.held.update(found)
        return count

    def _back(self, pointer: int) -> None:
        self.given_back += 1
        if self.given_back == self._crash_at:
            ctypes.string_at(8)
        if pointer not in self.held:
            self.unknown += 1
            return
        self.held.remove(pointer)
        self._destroy(pointer)


class Member:
    """A group member that lets what it gets flow."""

    def __init__(self, log: KafkaLog, group: str, topic: str, name: str) -> None:
        self.assigned: set[TopicPartition] = set()
        self.read = 0
        self.fresh = False
        self.reader: GroupReader = log.group(group, [topic], name, self)

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.assigned = set(tps)
        self.fresh = True

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None:
        self.assigned = set()

    on_lost = on_revoked

    def poll(self, limit: int) -> None:
        if self.fresh:
            self.reader.rewind(dict.fromkeys(self.assigned, 0))
            self.fresh = False
        self.reader.resume(sorted(self.assigned))
        self.read += sum(map(len, self.reader.poll(limit, 0.05)))


def until(condition: Callable[[], bool], what: str, *members: Member) -> None:
    def turn() -> bool:
        for member in members:
            member.poll(70)
        return condition()

    wait_for(turn, 30, what)


def main() -> None:
    args = json.loads(sys.argv[1])
    messages = Messages()
    log = KafkaLog(Settings(bootstrap=args["bootstrap"], kafka=args["kafka"], transport="native"), "messages")
    ends = {TopicPartition(args["topic"], p): end for p, (_, end) in log.bounds(args["topic"]).items()}

    whole, part = log.reader(dict.fromkeys(ends, 0)), log.reader(dict.fromkeys(ends, 0))
    read = {"whole": 0, "part": 0}

    def reading(name: str, reader: Reader, limit: int) -> bool:
        read[name] += sum(map(len, reader.poll(limit, 0.05)))
        return all(reader.reached(tp) == end for tp, end in ends.items()) or (name == "part" and read[name] > 0)

    wait_for(lambda: reading("whole", whole, 333), 30, "the whole topic is read")
    wait_for(lambda: reading("part", part, 50), 30, "a part is read")
    whole.close()
    part.close()  # with most of it fetched and not read

    first = Member(log, args["group"], args["topic"], "first")
    until(lambda: first.read > 200, "the first member reads", first)
    first.reader.pause(sorted(first.assigned))
    first.reader.poll(70, 0.0)
    second = Member(log, args["group"], args["topic"], "second")
    until(lambda: bool(first.assigned and second.assigned), "the members share the partitions", first, second)
    until(lambda: second.read > 200, "the second member reads", first, second)
    second.reader.close()
    until(lambda: first.assigned == set(ends), "the first member has them all again", first)
    first.reader.close()
    said = {"handed_out": messages.handed_out, "given_back": messages.given_back, "unknown": messages.unknown}
    print(json.dumps(said | {"held": len(messages.held), "whole": read["whole"]}))


if __name__ == "__main__":
    main()

"""The log on a real Kafka, over confluent-kafka: one small class for each thing the platform does with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from headrace.config import Settings
from headrace.errors import ConfigError, Unavailable
from headrace.kafka.acl import Rule
from headrace.kafka.choice import choose_transport
from headrace.kafka.client import client
from headrace.kafka.client_errors import AWAY, REFUSED, UNKNOWN, refusal
from headrace.kafka.fixed import refuse_fixed
from headrace.kafka.headed import read_headed
from headrace.kafka.log import (
    GroupReader,
    Headed,
    PolledSender,
    Position,
    Reader,
    RebalanceListener,
    Sender,
    TopicPartition,
    Writer,
    kept_for,
)
from headrace.kafka.polled import KafkaPolledSender
from headrace.kafka.reader import CONSUMER, KafkaGroupReader, KafkaReader, positions
from headrace.kafka.sender import KafkaSender
from headrace.kafka.writer import PRODUCER, KafkaWriter

T = TypeVar("T")

CALL_S = 10.0
LEADER_S = 2.0
_CONSUMERS_OWN = {*CONSUMER, "group.protocol"}


class KafkaLog:
    """A Kafka cluster.

    Args:
        settings: bootstrap servers, and any librdkafka property for every client.
        client_id: name under which this process shows in the broker's logs and groups.

    Raises:
        ConfigError: a property is refused, by librdkafka or because exactly-once rests on another value.
    """

    def __init__(self, settings: Settings, client_id: str = "headrace") -> None:
        refuse_fixed(settings.kafka)
        self._common: dict[str, Any] = {
            "bootstrap.servers": settings.bootstrap,
            "client.id": client_id,
            "log_level": 4,
            "topic.metadata.refresh.interval.ms": 5_000,
            "reconnect.backoff.max.ms": 1_000,
            # The other setting forgets brokers that are down, after which calls hang (librdkafka issue 5511).
            "metadata.recovery.strategy": "none",
            **settings.kafka,
        }
        # A client warns of every property that belongs to the other kind.
        self._reading = {k: v for k, v in self._common.items() if k not in PRODUCER}
        self._writing = {k: v for k, v in self._common.items() if k not in _CONSUMERS_OWN}
        self._transport = choose_transport(settings.transport)
        self._carrying: set[str] = set()
        self._replication = settings.replication_factor
        self._admin = client(AdminClient, {k: v for k, v in self._writing.items() if k not in PRODUCER})

    def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> list[str]:
        there = set(self._call("the list of topics", lambda: self._admin.list_topics(timeout=CALL_S)).topics)
        missing = {name: wanted for name, wanted in topics.items() if name not in there}
        asked = {name: self._asked_topic(name, n, config) for name, (n, config) in missing.items()}
        for name, future in self._creating(missing).items():
            self._result(asked[name], future, ignore={KafkaError.TOPIC_ALREADY_EXISTS})
        self._until_known({name: n for name, (n, _) in missing.items()})
        return list(missing)

    def add_partitions(self, topic: str, count: int) -> None:
        what = f"partitions = {count} of topic {topic}"
        asked = self._call(what, lambda: self._admin.create_partitions([NewPartitions(topic, count)]))
        for future in asked.values():
            self._result(what, future)
        self._until_known({topic: count})

    def partitions(self, topic: str) -> int:
        told = self._call(f"the partitions of {topic}", lambda: self._admin.list_topics(topic, timeout=CALL_S))
        found = told.topics[topic]
        if found.error is not None and found.error.code() in REFUSED:
            raise refusal(f"the partitions of {topic}", found.error)
        if found.error is not None and found.error.code() not in UNKNOWN:
            raise Unavailable(f"Kafka does not tell of topic {topic} for now: {found.error.str()}")
        if not found.partitions:
            raise ConfigError(f"Kafka has no topic {topic}: run `headrace init PIPELINE` first")
        return len(found.partitions)

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        parts = [KafkaPartition(topic, p) for p in range(self.partitions(topic))]
        first = self._list_offsets(parts, _FIRST, IsolationLevel.READ_COMMITTED)
        last = self._list_offsets(parts, _LAST, IsolationLevel.READ_COMMITTED)
        return {p.partition: (first[p.partition], last[p.partition]) for p in parts}

    def high_watermarks(self, topic: str) -> dict[int, int]:
        parts = [KafkaPartition(topic, p) for p in range(self.partitions(topic))]
        return self._list_offsets(parts, _LAST, IsolationLevel.READ_UNCOMMITTED)

    def offsets_at(self, topic: str, when: datetime) -> dict[int, int]:
        parts = [KafkaPartition(topic, p) for p in range(self.partitions(topic))]
        at = OffsetSpec.for_timestamp(int(when.timestamp() * 1000))
        found = self._list_offsets(parts, at, IsolationLevel.READ_UNCOMMITTED)
        return {p: end if found[p] < 0 else found[p] for p, end in self.high_watermarks(topic).items()}

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=CALL_S)
        try:
            return {t: str(self._result(f"the id of topic {t}", future).topic_id) for t, future in asked.items()}
        except Unavailable:
            for topic in topics:
                self.partitions(topic)  # says it where one is not there
            raise

    def retention(self, topic: str) -> timedelta | None:
        self.partitions(topic)
        asked = ConfigResource(ResourceType.TOPIC, topic)
        future = self._admin.describe_configs([asked], request_timeout=CALL_S)[asked]
        found = self._result(f"the properties of topic {topic}", future)
        return kept_for({name: entry.value for name, entry in found.items()})

    def keep_for(self, topic: str, span: timedelta) -> None:
        name, value = "retention.ms", str(span // timedelta(milliseconds=1))
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        future = self._admin.incremental_alter_configs([changed], request_timeout=CALL_S)[changed]
        self._result(f"{name} = {value} of topic {topic}", future)

    def members(self, group: str) -> set[str]:
        future = self._admin.describe_consumer_groups([group], request_timeout=CALL_S)[group]
        found = self._result(f"the members of group {group}", future, ignore={KafkaError.GROUP_ID_NOT_FOUND})
        return {m.client_id for m in found.members} if found else set()

    def committed(self, group: str) -> dict[TopicPartition, int]:
        return {tp: at.offset for tp, at in self.positions(group).items()}

    def positions(self, group: str) -> dict[TopicPartition, Position]:
        # A consumer is asked, of every partition there is: the admin client, which could list them, ends the whole
        # process where the group's coordinator is not the one it knew (librdkafka issue 5040).
        topics = self._call("the list of topics", lambda: self._admin.list_topics(timeout=CALL_S)).topics
        parts = [KafkaPartition(name, p) for name, topic in topics.items() for p in topic.partitions]
        # Uncommitted: not to wait for what an open transaction is about to move.
        conf = {**self._reading, "group.id": group, "isolation.level": "read_uncommitted", "enable.auto.commit": False}
        consumer = client(Consumer, conf)

        def ask() -> dict[TopicPartition, Position]:
            answer = consumer.committed(parts, timeout=CALL_S)
            if errors := [p.error for p in answer if p.error is not None]:
                raise KafkaException(errors[0])
            return positions(answer)

        try:
            return _patiently(lambda: self._call(f"the offsets of group {group}", ask))
        finally:
            consumer.close()

    def grant(self, rules: Sequence[Rule]) -> None:
        """Set ACLs; those that are there already stay."""
        bindings = [
            AclBinding(
                _RESOURCES[rule.kind],
                rule.name,
                ResourcePatternType.PREFIXED if rule.prefixed else ResourcePatternType.LITERAL,
                f"User:{rule.principal}",
                "*",
                _OPERATIONS[rule.operation],
                AclPermissionType.ALLOW,
            )
            for rule in rules
        ]
        asked = {binding: f"the ACL {_said(rule)}" for binding, rule in zip(bindings, rules, strict=True)}
        for binding, future in self._admin.create_acls(bindings).items():
            self._result(asked[binding], future)
        # They hold when the broker tells of them, not yet when it has taken them.
        deadline = time.monotonic() + CALL_S
        while not set(bindings) <= set(self._result("the list of ACLs", self._admin.describe_acls(_EVERY_ACL))):
            if time.monotonic() > deadline:
                raise Unavailable("Kafka does not show the ACLs it was given")
            time.sleep(0.05)

    def carry_ids(self, topics: Iterable[str]) -> None:
        self._carrying.update(topics)

    def reader(self, starts: Mapping[TopicPartition, int], *, committed: bool = True) -> Reader:
        return KafkaReader(self._reading, starts, self._transport, committed=committed, carrying=self._carrying)

    def group(
        self, name: str, topics: Sequence[str], member: str, listener: RebalanceListener, *, timed: bool = False
    ) -> GroupReader:
        conf = {**self._reading, "client.id": member, "group.id": name}
        return KafkaGroupReader(conf, topics, listener, self._transport, timed=timed, carrying=self._carrying)

    def writer(self, transactional_id: str, *, tracks: bool = True) -> Writer:
        return KafkaWriter(self._writing, transactional_id, self._transport, tracks=tracks)

    def sender(self, name: str) -> Sender:
        return KafkaSender({**self._writing, "client.id": name})

    def polled_sender(self, name: str) -> PolledSender:
        return KafkaPolledSender({**self._writing, "client.id": name})

    def headed(self, topic: str, header: str, since: datetime) -> Iterator[Headed]:
        starts, ends = self.offsets_at(topic, since), self.high_watermarks(topic)
        ranges = {TopicPartition(topic, p): (start, ends[p]) for p, start in starts.items() if start < ends[p]}
        return read_headed(self._reading, ranges, header)

    def _until_known(self, topics: Mapping[str, int]) -> None:
        """Wait until the brokers tell of these topics' partitions: a created topic takes a moment to show."""
        deadline = time.monotonic() + CALL_S
        while True:
            known = self._call("the list of topics", lambda: self._admin.list_topics(timeout=CALL_S)).topics
            if all(name in known and len(known[name].partitions) >= n for name, n in topics.items()):
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka does not show the new partitions of {', '.join(topics)}")
            time.sleep(0.02)

    def _list_offsets(
        self, parts: Sequence[KafkaPartition], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[int, int]:
        asked = dict.fromkeys(parts, spec)

        def ask() -> dict[int, int]:
            futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=CALL_S)
            return {
                p.partition: self._result(f"offsets of {p.topic}[{p.partition}]", f).offset for p, f in futures.items()
            }

        return _patiently(ask)

    def _creating(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> dict[str, Future[None]]:
        """Ask for topics; gives what is to be waited for."""
        if not topics:
            return {}
        new = partial(NewTopic, replication_factor=self._replication)
        made = [(name, n, dict(config)) for name, (n, config) in topics.items()]
        return self._call(
            f"{len(topics)} topics with replication_factor = {self._replication}",
            lambda: self._admin.create_topics([new(name, n, config=config) for name, n, config in made]),
        )

    def _asked_topic(self, name: str, partitions: int, config: Mapping[str, str]) -> str:
        """A topic that is asked for, in words: each property is named as the user sets it."""
        wanted = {"partitions": partitions, "replication_factor": self._replication, **config}
        return f"topic {name} with {', '.join(f'{k} = {v}' for k, v in wanted.items())}"

    def _result(self, what: str, future: Future[T], ignore: set[int] | None = None) -> T:
        return self._call(what, lambda: future.result(CALL_S * 3), ignore)

    def _call(self, what: str, call: Callable[[], T], ignore: set[int] | None = None) -> T:
        """Call the client; ``what`` is asked for, as a refusal names it."""
        try:
            return call()
        except KafkaException as e:
            error: KafkaError = e.args[0]
            if ignore and error.code() in ignore:
                return None  # type: ignore[return-value]
            if error.code() in UNKNOWN:  # for a moment after a topic is made, some brokers do not know it
                raise Unavailable(f"Kafka, asked for {what}: {error.str()}") from e
            if error.code() in AWAY:
                raise Unavailable(f"Kafka at {self._common['bootstrap.servers']} is away: {error.str()}") from e
            raise refusal(what, error) from e
        except (ValueError, OverflowError) as e:  # what the client itself refuses to ask for
            raise ConfigError(f"{what} cannot be asked for: {e}") from e
        except TimeoutError as e:
            raise Unavailable(f"Kafka at {self._common['bootstrap.servers']} does not answer") from e


def _said(rule: Rule) -> str:
    """A rule in words."""
    of = f"{rule.kind.replace('_', ' ')} {rule.name}{'*' if rule.prefixed else ''}"
    return f"'User:{rule.principal} may {rule.operation} {of}'"


_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "read": AclOperation.READ,
    "write": AclOperation.WRITE,
    "describe": AclOperation.DESCRIBE,
    "describe_configs": AclOperation.DESCRIBE_CONFIGS,
}
_EVERY_ACL = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)
_FIRST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LAST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again for a moment: a partition just created has no leader yet, a broker just started no groups."""
    deadline = time.monotonic() + LEADER_S
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)

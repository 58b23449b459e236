"""What Kafka's errors mean for the platform: it is away, it does not know, it refuses, or something is broken."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError

from headrace.errors import ConfigError, Fenced, StackError

log = logging.getLogger("headrace.kafka")

AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._WAIT_COORD,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
}
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}
UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


def raise_unless_passing(error: KafkaError) -> None:
    """An error the client gets over by itself is logged; one it does not is raised."""
    if error.fatal():
        raise Fenced(f"Kafka ended this member: {error.str()}")
    if error.code() in AWAY:
        log.warning("kafka is away, waiting: %s", error.str())
        return
    if error.code() in UNKNOWN:
        raise ConfigError(f"{error.str()}: run `headrace init PIPELINE` first")
    if error.code() in REFUSED:
        raise ConfigError(f"{error.str()}: this principal has no right to it (`headrace init` sets ACLs)")
    if error.code() == KafkaError._MAX_POLL_EXCEEDED:
        log.warning("this member was too slow and has left the group: %s", error.str())
        return
    raise StackError(f"Kafka: {error.str()}")

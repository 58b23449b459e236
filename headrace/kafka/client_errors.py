"""What Kafka's errors mean for the platform: it is away, it does not know, it refuses, or something is broken."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from headrace.errors import ConfigError, Fenced, HeadraceError, StackError

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
AT_THE_DOOR = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}
"""What a broker says to who has not come in yet. It may be of a moment: a broker that restarts, a secret or certificate
being renewed."""
PATIENCE_S = 60.0
"""Seconds that a client which has been let in before goes on knocking."""
UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}

_ACLS = "this principal has no right to it (`headrace init` sets ACLs)"
_MENDS = {
    KafkaError.INVALID_REPLICATION_FACTOR: "set replication_factor (HEADRACE_REPLICATION_FACTOR, or headrace.toml) to "
    "at most the number of brokers",
    KafkaError.INVALID_PARTITIONS: "see `partitions` of the pipeline; Kafka adds partitions and takes none away",
    KafkaError.INVALID_CONFIG: "the brokers do not take one of these properties",
    KafkaError.TOPIC_EXCEPTION: "give the pipeline a name that Kafka takes: at most 200 letters, digits, '.', '_', '-'",
    KafkaError.POLICY_VIOLATION: "the cluster's own policy refuses it: ask its operators, or make the topic as the "
    "policy wants it and run the command again",
    KafkaError.SECURITY_DISABLED: "this cluster has no ACLs: run `headrace init PIPELINE --no-acls`",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "this principal may not change the cluster: use an operator's credentials",
    KafkaError._SSL: "there is no TLS with it: see ssl.ca.location and the other ssl.* properties",
    KafkaError._AUTHENTICATION: "see the credentials in HEADRACE_KAFKA, headrace.toml or -X",
    KafkaError.SASL_AUTHENTICATION_FAILED: "see the credentials in HEADRACE_KAFKA, headrace.toml or -X",
}
"""What to do about a refusal, where Kafka's own words do not say."""


def refusal(what: str, error: KafkaError) -> HeadraceError:
    """The error of a request that Kafka refuses.

    Args:
        what: was asked for: the topic (group, rule), and every property and value of the request.
        error: Kafka's answer.
    """
    why = error.str().rstrip(". ")
    mend = _MENDS.get(error.code()) or (_ACLS if error.code() in REFUSED else "")
    if not mend:
        return StackError(f"Kafka refused {what}: {why}")
    return ConfigError(f"Kafka refused {what}: {why}; {mend}")


class Door:
    """Tells a refusal of a moment from one that stays: who has never been let in, or not for long, is refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known = False
        self._since: float | None = None

    def open(self) -> None:
        """The broker has answered."""
        self._known, self._since = True, None

    def passing(self, error: KafkaError) -> None:
        """As :func:`raise_unless_passing`, but for what is said at the door."""
        if error.code() not in AT_THE_DOOR:
            raise_unless_passing(error)
            return
        now = self._clock()
        self._since = self._since or now
        if not self._known or now - self._since > PATIENCE_S:
            raise refusal("to let this client in", error)
        log.warning("Kafka does not let this client in for now, knocking again: %s", error.str())


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
        raise ConfigError(f"{error.str()}: {_ACLS}")
    if error.code() == KafkaError._MAX_POLL_EXCEEDED:
        log.warning("this member was too slow and has left the group: %s", error.str())
        return
    raise StackError(f"Kafka: {error.str()}")

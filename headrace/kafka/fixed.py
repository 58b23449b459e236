"""The properties of librdkafka that headrace sets itself: another value of one is refused, never dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from headrace.errors import ConfigError


class Fixed(NamedTuple):
    """A property that is not the user's to choose.

    Attributes:
        names: the property, and its other names.
        values: the values that say what headrace sets anyway; empty: it differs from client to client.
        why: what rests on it, or what to use in its place.
    """

    names: tuple[str, ...]
    values: tuple[str, ...]
    why: str


EXACTLY_ONCE = "exactly-once rests on"
FALSE, TRUE = ("false", "f", "0"), ("true", "t", "1")
FIXED: tuple[Fixed, ...] = (
    Fixed(("group.protocol",), ("classic",), f"{EXACTLY_ONCE} classic, in which a worker hands its partitions over"),
    Fixed(("isolation.level",), ("read_committed",), f"{EXACTLY_ONCE} read_committed"),
    Fixed(("enable.auto.commit", "auto.commit.enable"), FALSE, f"{EXACTLY_ONCE} false: transactions commit offsets"),
    Fixed(("enable.auto.offset.store",), FALSE, f"{EXACTLY_ONCE} false: transactions commit offsets"),
    Fixed(("auto.offset.reset",), ("error",), f"{EXACTLY_ONCE} error: records must not be skipped unnoticed"),
    Fixed(("partition.assignment.strategy",), ("range",), "range keeps one key's partitions of all topics together"),
    Fixed(("enable.partition.eof",), (), "headrace sets it where it needs it"),
    Fixed(("enable.idempotence",), TRUE, f"{EXACTLY_ONCE} true"),
    Fixed(("acks", "request.required.acks"), ("all", "-1"), f"{EXACTLY_ONCE} all"),
    Fixed(("delivery.report.only.error",), (), "headrace sets it where it needs it"),
    Fixed(("transactional.id",), (), "it is made of pipeline, processor and worker: name a worker with --worker-id"),
    Fixed(("group.id",), (), "a group is named PIPELINE.PROCESSOR"),
    Fixed(("group.instance.id",), (), "a worker keeps its identity by its name: --worker-id"),
    Fixed(("client.id",), (), "a client is named as its worker: --worker-id"),
    Fixed(("bootstrap.servers", "metadata.broker.list"), (), "name the brokers with --kafka or HEADRACE_BOOTSTRAP"),
)
"""What is refused unless it says what holds anyway."""


def refuse_fixed(properties: Mapping[str, str]) -> None:
    """See that the user's properties leave alone what headrace sets itself.

    Raises:
        ConfigError: one does not; the message names it, its value and the reason.
    """
    for fixed in FIXED:
        for name in fixed.names:
            if name in properties and str(properties[name]).strip().lower() not in fixed.values:
                raise ConfigError(
                    f"headrace does not support {name}={properties[name]}: {fixed.why}. "
                    "Leave it out of -X, HEADRACE_KAFKA and [kafka]"
                )

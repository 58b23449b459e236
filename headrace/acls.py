"""Who may do what with a pipeline's topics: the least each processor needs, from the topic table."""

from __future__ import annotations

from typing import Literal, NamedTuple

from headrace.pipeline import Pipeline
from headrace.topics import TOPICS

PROCESSORS = ("preprocess", "infer", "join", "retrain", "govern", "monitor", "forward")
PRODUCER = "producer"
READER_GROUP = "headrace-reader"
"""The group that readers without a group name: nothing is ever committed to it, but a client looks where it lives."""
Kind = Literal["topic", "group", "transactional_id"]
Operation = Literal["read", "write", "describe"]
_PRINCIPALS = {"producers": (PRODUCER,), "all": (*PROCESSORS, PRODUCER), **{p: (p,) for p in PROCESSORS}}
"""Word of the topic table -> principals. People and subscribers have names of their own, which you give rights to."""


class Rule(NamedTuple):
    """A principal may do something with what has a name, or a name that begins so."""

    principal: str
    kind: Kind
    name: str
    prefixed: bool
    operation: Operation


def rules(pipeline: Pipeline) -> list[Rule]:
    """Every rule of a pipeline, none twice."""
    found: dict[Rule, None] = {}
    for topic in TOPICS.values():
        name = pipeline.topic(topic.name)
        for words, operation in ((topic.readers, "read"), (topic.writers, "write")):
            for principal in (p for word in words for p in _PRINCIPALS.get(word, ())):
                found[Rule(principal, "topic", name, False, operation)] = None  # type: ignore[arg-type]
                found[Rule(principal, "topic", name, False, "describe")] = None
    for processor in PROCESSORS:
        group = f"{pipeline.name}.{processor}"
        found[Rule(processor, "group", group, False, "read")] = None
        for operation in ("write", "describe"):
            found[Rule(processor, "transactional_id", f"{group}.", True, operation)] = None  # type: ignore[arg-type]
        found[Rule(processor, "group", READER_GROUP, False, "describe")] = None
    # An activation waits for the infer workers there are.
    found[Rule("govern", "group", f"{pipeline.name}.infer", False, "describe")] = None
    return list(found)

"""The least rights that each party of a pipeline needs, as Kafka's access rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.declare.pipeline import Pipeline
from headrace.kafka.acl import READER_GROUP, Rule
from headrace.topics.parties import OUTSIDE, PEOPLE, Party


def rules(pipeline: Pipeline, processors: Iterable[Party]) -> list[Rule]:
    """Every rule of a pipeline, none twice: of its processors, and of the parties outside."""
    workers = tuple(processors)
    every = [*(rule for party in (*workers, *OUTSIDE) for rule in _rules(pipeline, party))]
    for party in workers:
        group = f"{pipeline.name}.{party.name}"
        every.append(Rule(party.name, "group", group, False, "read"))
        every += _transactions(party.name, f"{group}.")
        # At its start a worker sees that its topics keep what it needs, and what was accepted as lost.
        every += [Rule(party.name, "topic", pipeline.topic(name), False, "describe_configs") for name in party.reads]
        every += [Rule(party.name, "topic", pipeline.topic("decisions"), False, op) for op in ("read", "describe")]
        every.append(Rule(party.name, "group", READER_GROUP, False, "describe"))
    # An activation waits for the live infer workers; people watch every group.
    every.append(Rule("govern", "group", f"{pipeline.name}.infer", False, "describe"))
    every += [Rule(PEOPLE.name, "group", f"{pipeline.name}.{party.name}", False, "describe") for party in workers]
    return list(dict.fromkeys(every))


def _rules(pipeline: Pipeline, party: Party) -> Iterator[Rule]:
    for name in party.reads:
        yield Rule(party.name, "topic", pipeline.topic(name), False, "read")
    for name in party.writes:
        yield Rule(party.name, "topic", pipeline.topic(name), False, "write")
    for name in (*party.reads, *party.writes):
        yield Rule(party.name, "topic", pipeline.topic(name), False, "describe")
    if party.reads:
        yield Rule(party.name, "group", READER_GROUP, False, "describe")
    for beginning in party.transactional_ids:
        yield from _transactions(party.name, pipeline.topic(beginning))


def _transactions(principal: str, beginning: str) -> Iterator[Rule]:
    yield Rule(principal, "transactional_id", beginning, True, "write")
    yield Rule(principal, "transactional_id", beginning, True, "describe")

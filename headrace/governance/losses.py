"""What a group of workers needs and Kafka no longer has, and what of that a person has accepted as lost."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.kafka.log import TopicPartition
from headrace.kafka.missing import Ground, Missing
from headrace.schema.records import LossAccepted
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics


def missing(topics: PipelineTopics, group: str, inputs: Sequence[str]) -> list[Missing]:
    """What a group needs to go on and Kafka no longer has.

    Args:
        topics: the pipeline's topics.
        group: full name of the consumer group.
        inputs: the topics it reads, by their names within the pipeline.
    """
    names = [topics.topic(name) for name in inputs]
    committed = topics.log.positions(group)
    return Ground.of(topics.log, names).missing({tp: at for tp, at in committed.items() if tp.topic in names})


def accept_losses(topics: PipelineTopics, group: str, inputs: Sequence[str], by: str) -> list[Missing]:
    """Write down that a group goes on without what is missing now; gives what that is."""
    found = missing(topics, group, inputs)
    records = [
        LossAccepted(
            group=group,
            topic=m.tp.topic,
            partition=m.tp.partition,
            start=m.start,
            stop=m.stop,
            kind=m.kind,
            topic_id=m.topic_id,
            by=by,
        )
        for m in found
    ]
    if records:
        write_control(topics, "decisions", records, [group] * len(records))
    return found


def accepted_losses(topics: PipelineTopics, group: str = "") -> list[LossAccepted]:
    """What has been accepted as lost, of one group or of all, in the order of the log."""
    records = (record for _, record in topics.read_control("decisions", settled=True))
    return [r for r in records if isinstance(r, LossAccepted) and group in ("", r.group)]


def as_missing(loss: LossAccepted) -> Missing:
    """The stretch that a person has accepted as lost."""
    return Missing(TopicPartition(loss.topic, loss.partition), loss.start, loss.stop, loss.topic_id, loss.kind)

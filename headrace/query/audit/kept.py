"""What Kafka no longer has of what workers need: each such gap has been accepted in writing, or is a promise broken."""

from __future__ import annotations

from headrace.governance.losses import accepted_losses, as_missing, missing
from headrace.query.audit.report import Report
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.retention import too_short
from headrace.topics.table import TOPICS

GROUPS = ("preprocess", "infer", "join", "retrain", "govern", "monitor", "forward")
"""Processors whose groups may stand on records that are gone."""


def kept(topics: PipelineTopics, report: Report) -> None:
    """Hold each group's committed positions against what the topics still have."""
    written = accepted_losses(topics)
    for loss in written:
        report.note(
            f"offsets that {loss.by} accepted as lost: {loss.group}, {as_missing(loss)}", loss.stop - loss.start
        )
    for processor in GROUPS:
        group = f"{topics.pipeline.name}.{processor}"
        accepted = {(m.tp, m.topic_id): m.stop for m in map(as_missing, (w for w in written if w.group == group))}
        committed = topics.log.committed(group)
        if not committed:
            continue
        found = missing(topics, group, tuple(TOPICS))
        report.checked("kept", processor, len(committed))
        for gap in found:
            if accepted.get((gap.tp, gap.topic_id), -1) < gap.stop:
                what = f"{processor} cannot go on: {gap}"
                report.broken("kept", processor, (gap.tp.topic, gap.tp.partition), [gap.start], what)
    for line in too_short(topics.log, topics.pipeline, TOPICS):
        report.note(f"topic is kept too short: {line}; run `headrace init PIPELINE`", 1)

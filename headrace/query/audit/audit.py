"""The audit of a pipeline: what was published and decided, then each partition, every promise held against the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headrace.models.package.signing import Trust
from headrace.progress import SILENT, Progress
from headrace.query.audit.governed import decided, refused_elsewhere
from headrace.query.audit.kept import kept
from headrace.query.audit.partition import PartitionAudit
from headrace.query.audit.publications import whole
from headrace.query.audit.recomputed import Recompute
from headrace.query.audit.report import Report
from headrace.query.audit.scope import Scope, Window, scopes
from headrace.query.replay.scorers import Scorers
from headrace.topics.pipeline_topics import PipelineTopics

EVERYTHING = Window()


def audit(
    topics: PipelineTopics,
    recompute: Recompute | None = None,
    trust: Trust | None = None,
    window: Window = EVERYTHING,
    progress: Progress = SILENT,
    replay: bool = False,
) -> Report:
    """Read the topics of a pipeline, read_committed, and judge them.

    Args:
        topics: the pipeline's topics.
        recompute: runs processors again; without it, what only that can decide is left out.
        trust: whose models may be used; without it, signatures are not looked at.
        window: the inputs to judge.
        progress: told how far it has come.
        replay: whether to score again too, with the models that are trusted.

    Raises:
        ConfigError: the pipeline has no topics here.
        Unavailable: Kafka or the registry is away.
    """
    report = Report()
    partitions: Mapping[int, Scope] = scopes(topics, report, window)
    scorers = Scorers(topics, trust or Trust(unsigned=True)) if replay else None
    progress.begins("reading every topic and checking it", sum(scope.size for scope in partitions.values()))
    whole(topics, report, trust)
    kept(topics, report)
    decisions = topics.topic("decisions")
    state = decided(report, decisions, topics.read_control("decisions", settled=True))
    advanced: Callable[[int], None] = progress.advanced
    models: set[str] = set()
    for partition, scope in partitions.items():
        models |= PartitionAudit(topics, report, partition, scope, state, advanced).run(recompute, scorers)
    for why in scorers.refused().values() if scorers else ():
        report.note(f"model not replayed: {why}", 1)
    refused_elsewhere(report, topics.topic("workers"), topics.read_control("workers", settled=True), models)
    return report

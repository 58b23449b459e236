"""How long a pipeline's topics must keep a record, which follows from its horizons."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError
from headrace.kafka.log import Log
from headrace.topics.table import TOPICS

LEFTS_KEPT, LABELS_KEPT = 2, 4
"""Label horizons that the join's state reaches back over features and predictions, and over labels."""
ALL_TIME = timedelta(days=100 * 365)
"""How long raw records are kept for windows of all time."""
MARGIN = timedelta(days=7)
"""How long a worker may be stopped, and people may take to look, beyond what state needs."""


def state_needs(pipeline: Pipeline) -> dict[str, timedelta]:
    """Topic -> span of event time that the state of its readers is rebuilt from; topics that none is are left out."""
    label = pipeline.label_horizon
    windows = 2 * pipeline.drift.window + label + pipeline.lateness
    return {
        "raw": ALL_TIME if pipeline.endless else pipeline.reach + pipeline.lateness,
        "features": max(LEFTS_KEPT * label, windows),
        "labels": LABELS_KEPT * label,
        "predictions": max(LEFTS_KEPT * label, windows),
        "outcomes": windows,
        "metrics": windows,
    }


def wanted_retention(pipeline: Pipeline) -> dict[str, timedelta]:
    """Topic -> how long a record is kept at least, for each topic that is kept for a time."""
    needs = state_needs(pipeline)
    return {t.name: needs.get(t.name, timedelta(0)) + MARGIN for t in TOPICS.values() if t.retention == "time"}


def keep_long_enough(log: Log, pipeline: Pipeline) -> dict[str, tuple[timedelta, timedelta]]:
    """Raise the retention of topics that keep records for less than the pipeline needs; none is lowered.

    Returns:
        Topic -> how long it kept records, and how long it keeps them now.
    """
    raised = {}
    for name, wanted in wanted_retention(pipeline).items():
        kept = log.retention(pipeline.topic(name))
        if kept is not None and kept < wanted:
            log.keep_for(pipeline.topic(name), wanted)
            raised[pipeline.topic(name)] = (kept, wanted)
    return raised


def too_short(log: Log, pipeline: Pipeline, names: Iterable[str]) -> list[str]:
    """One line for each of these topics that drops what state is rebuilt from."""
    needs = state_needs(pipeline)
    lines = []
    for name in names:
        kept = log.retention(pipeline.topic(name)) if name in needs else None
        if kept is not None and kept < needs[name]:
            lines.append(f"{pipeline.topic(name)} keeps records for {days(kept)}, and {days(needs[name])} are needed")
    return lines


def check_retention(log: Log, pipeline: Pipeline, names: Iterable[str]) -> None:
    """See that topics keep what the state of their readers is rebuilt from.

    Raises:
        ConfigError: one does not.
    """
    if lines := too_short(log, pipeline, names):
        raise ConfigError(
            f"{'; '.join(lines)} (horizons of the pipeline). What Kafka has dropped cannot be rebuilt from: run "
            "`headrace init PIPELINE`, which raises retention.ms"
        )


def days(span: timedelta) -> str:
    """A span as people say it."""
    if span < timedelta(days=2):
        return f"{span / timedelta(hours=1):.3g} hours"
    return f"{span / timedelta(days=1):.3g} days"

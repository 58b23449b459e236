"""The what-if question put to a pipeline's log: from a model's name to the report."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.governance.catalog import published, resolve_model
from headrace.jobs.whatif.candidate import loaded
from headrace.jobs.whatif.past import Past
from headrace.jobs.whatif.report import Asked, Gathering, Report, draw_up
from headrace.models.package.signing import Trust
from headrace.progress import Progress
from headrace.query.audit.scope import Window
from headrace.schema.own import schema_fingerprint
from headrace.topics.pipeline_topics import PipelineTopics


def what_if(
    topics: PipelineTopics,
    model: str,
    trust: Trust,
    window: Window | None = None,
    threshold: float = 0.5,
    progress: Progress | None = None,
) -> Report:
    """Score production's past under a candidate and draw up the report.

    Args:
        topics: the pipeline's topics.
        model: the candidate's id, or as much of its start as is unique.
        trust: whose models are used.
        window: which records, by when they came to the features topic; None: all.
        threshold: score from which a decision is yes.
        progress: told how far it has come.

    Raises:
        ConfigError: no such model, no topics, or nothing to compare with in the window.
        ModelRejected: the candidate fails a check.
        Unavailable: Kafka or the registry is away.
    """
    told, window = progress or Progress(), window or Window()
    models = published(topics, settled=True)
    found = models[resolve_model(models, model)]
    past = Past(topics, window)
    candidate = loaded(topics, found, trust)
    told.begins("reading features, predictions and labels", past.size)
    read_by = {model_id: p.manifest.lineage.ranges for model_id, p in models.items()}
    gathering = Gathering(topics.pipeline.groups)
    for read in past.read(candidate, read_by, told.advanced):
        gathering.add(read.rows, read.damaged)
    asked = Asked(
        topics.pipeline.name,
        candidate.manifest,
        window.start,
        window.stop,
        past.ranges,
        threshold,
        candidate.manifest.feature_schema in map(schema_fingerprint, topics.pipeline.feature_schemas),
    )
    report = draw_up(asked, gathering.gathered(), topics.pipeline.groups)
    if not report.counts.answered:
        raise ConfigError(
            f"none of the {report.counts.records:,} records in that range has an answer on "
            f"{topics.topic('predictions')}: widen --from and --to, or look at `headrace dead list`"
        )
    return report

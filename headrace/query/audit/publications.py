"""Every published model held against its digests, chunk by chunk."""

from __future__ import annotations

from headrace.errors import ModelRejected
from headrace.governance.catalog import Published, published
from headrace.kafka.log import read_range
from headrace.models.package.package import Package, digest
from headrace.models.package.signing import Trust, check
from headrace.models.package.topic import fetch
from headrace.query.audit.report import Report
from headrace.schema.records import ModelChunk
from headrace.topics.pipeline_topics import PipelineTopics

_AT_ONCE = 50
"""Records in memory together: a chunk is half a megabyte."""


def whole(topics: PipelineTopics, report: Report, trust: Trust | None) -> None:
    """Put every model together, check its signature where it is known whom to trust, and look at every chunk."""
    # Asked first: every chunk that is committed now has its manifest among those read after.
    committed = {topics.tp(name): topics.log.bounds(topics.topic(name))[0] for name in ("models", "model_chunks")}
    models = published(topics, settled=True)
    tp = (topics.topic("models"), 0)
    for model in models.values():
        report.checked("manifest", "models", 1)
        try:
            package = fetch(topics, topics.log, model.manifest, model.offset)
        except ModelRejected as e:
            report.broken("manifest", "models", tp, [model.offset], str(e))
            continue
        if trust is not None:
            _signed(report, tp, model.offset, package, trust)
    for chunk in read_range(topics.log, committed, _AT_ONCE):
        for offset, record in topics.control_records(chunk):
            if isinstance(record, ModelChunk):
                report.checked("manifest", "chunks", 1)
                if why := _altered(record, models):
                    report.broken("manifest", "chunks", chunk.tp, [offset], why)


def _signed(report: Report, tp: tuple[str, int], offset: int, package: Package, trust: Trust) -> None:
    report.checked("manifest", "signatures", 1)
    try:
        if not check(package, trust):
            report.note("models without a signature, which the settings accept", 1)
    except ModelRejected as e:
        report.broken("manifest", "signatures", tp, [offset], str(e))


def _altered(chunk: ModelChunk, models: dict[str, Published]) -> str:
    known = f"chunk {chunk.index} of model {chunk.model_id[:12]}"
    model = models.get(chunk.model_id)
    if model is None:
        return f"{known} is there without a manifest"
    wanted = model.manifest.chunks[chunk.index] if 0 <= chunk.index < len(model.manifest.chunks) else None
    if digest(chunk.data) != wanted:
        return f"{known} does not have the digest that the manifest states"
    return ""

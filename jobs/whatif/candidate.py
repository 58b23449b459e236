"""The model the question is about: found on the models topic, and loaded as a worker loads one."""

from __future__ import annotations

import numpy as np

from headrace.errors import ModelRejected
from headrace.governance.catalog import Published
from headrace.models.library import load
from headrace.models.package.signing import Trust
from headrace.models.score.session import ScoringModel
from headrace.topics.pipeline_topics import PipelineTopics


def loaded(topics: PipelineTopics, published: Published, trust: Trust) -> ScoringModel:
    """The candidate, past every check that a worker makes; it need be neither approved nor past its gates.

    Raises:
        ModelRejected: it is of another pipeline, fails a check, or gives other than one score a record.
    """
    manifest, pipeline = published.manifest, topics.pipeline.name
    short = manifest.model_id[:12]
    if manifest.pipeline != pipeline:
        raise ModelRejected(
            f"model {short}: it was made for pipeline {manifest.pipeline!r}, not {pipeline!r}; "
            f"`headrace models list {pipeline}` shows those that were"
        )
    model = load(topics, topics.log, manifest, published.offset, trust)
    width = model.score(np.zeros((1, len(manifest.features)), dtype=np.float32)).shape[1]
    if width != 1:
        raise ModelRejected(f"model {short}: it gives {width} scores a record; a yes-or-no target has one")
    return model

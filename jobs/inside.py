"""The inside of a child job: connect, do the work, say what went wrong in a file."""

from __future__ import annotations

import errno
import importlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.config import Settings
from headrace.declare.find import find_pipeline
from headrace.kafka.cluster import KafkaLog
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

ERROR_FILE = "error.json"
Work = Callable[[PipelineTopics, dict[str, Any], Path], None]
"""A job: the pipeline's topics, its spec, and the folder for its results."""


def spec_of(pipeline: str, settings: Settings) -> dict[str, Any]:
    """What a child needs to connect as its parent is connected."""
    return {"pipeline": pipeline, "settings": settings.model_dump(mode="json")}


def inside(module: str, function: str, spec: dict[str, Any], where: str) -> None:
    """Connect as the spec says and run a job; where it fails, leave the reason in its folder and exit with 1."""
    folder = Path(where)
    try:
        work: Work = getattr(importlib.import_module(module), function)
        settings = Settings(**spec["settings"])
        log = KafkaLog(settings, f"headrace-{module.rsplit('.', 2)[-2]}")
        topics = PipelineTopics(find_pipeline(spec["pipeline"], settings), log, ConfluentRegistry(settings))
        work(topics, spec, folder)
    except Exception as e:  # noqa: BLE001 - whatever it is, the parent reports it
        full = isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        kind = "Unavailable" if full else type(e).__name__
        failure = {"message": str(e) or repr(e), "kind": kind, "trace": traceback.format_exc()}
        (folder / ERROR_FILE).write_text(json.dumps(failure))
        sys.exit(1)

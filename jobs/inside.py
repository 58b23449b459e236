"""The inside of a child job: read the spec, connect, do the work, say what went wrong in a file."""

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
from headrace.jobs.child import ERROR_FILE
from headrace.kafka.cluster import KafkaLog
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics


def spec_of(pipeline: str, settings: Settings) -> dict[str, Any]:
    """What a child needs to connect as its parent is connected."""
    return {"pipeline": pipeline, "settings": settings.model_dump(mode="json")}


def run(name: str, work: Callable[[PipelineTopics, dict[str, Any], Path], None], needs: str) -> None:
    """Import the module ``needs``, wait for the spec on standard input, and run ``work`` on it and the folder
    that the command line names. An input that ends without a spec ends the process."""
    folder = Path(sys.argv[1])
    try:
        importlib.import_module(needs)
        text = sys.stdin.read()
        if not text:
            return
        spec = json.loads(text)
        settings = Settings(**spec["settings"])
        log = KafkaLog(settings, f"headrace-{name}")
        work(PipelineTopics(find_pipeline(spec["pipeline"], settings), log, ConfluentRegistry(settings)), spec, folder)
    except Exception as e:  # noqa: BLE001 - whatever it is, the parent reports it
        full = isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        kind = "Unavailable" if full else type(e).__name__
        failure = {"message": str(e) or repr(e), "kind": kind, "trace": traceback.format_exc()}
        (folder / ERROR_FILE).write_text(json.dumps(failure))
        sys.exit(1)

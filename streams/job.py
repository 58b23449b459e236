"""The inside of a child job: read the spec, connect, do the work, say what went wrong in a file."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.config import Settings
from headrace.finding import find_pipeline
from headrace.log.kafka import KafkaLog
from headrace.log.pipeline_log import PipelineLog
from headrace.registry import ConfluentRegistry
from streams.child import ERROR_FILE


def spec_of(pipeline: str, settings: Settings, **more: Any) -> dict[str, Any]:
    """What a child needs to connect as its parent is connected, and its task."""
    return {"pipeline": pipeline, "settings": settings.model_dump(mode="json"), **more}


def run(name: str, work: Callable[[PipelineLog, dict[str, Any], Path], None]) -> None:
    """Run ``work`` on the spec from standard input and the folder from the command line."""
    folder = Path(sys.argv[1])
    try:
        spec = json.load(sys.stdin)
        settings = Settings(**spec["settings"])
        log = KafkaLog(settings, f"headrace-{name}")
        work(PipelineLog(find_pipeline(spec["pipeline"], settings), log, ConfluentRegistry(settings)), spec, folder)
    except Exception as e:  # noqa: BLE001 - whatever it is, the parent reports it
        failure = {"message": str(e) or repr(e), "kind": type(e).__name__, "trace": traceback.format_exc()}
        (folder / ERROR_FILE).write_text(json.dumps(failure))
        sys.exit(1)

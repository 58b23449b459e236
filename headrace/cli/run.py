"""``headrace run``: one processor, as one or several workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType
from typing import Annotated

import typer

from headrace.cli.connect import PipelineName, connection
from headrace.cli.progress import LINE


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(run)


def run(
    ctx: typer.Context,
    processor: Annotated[
        str,
        typer.Argument(
            metavar="PROCESSOR",
            show_default=False,
            help="preprocess, infer, join, retrain, govern, monitor or forward.",
        ),
    ],
    pipeline: PipelineName,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes; they share the partitions.")] = 1,
    worker_id: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of this worker, unique among live ones. A restart under the same name recovers at once.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of /health and /metrics; 0 picks a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address of /health and /metrics.")] = "127.0.0.1",
    commit_ms: Annotated[int, typer.Option(min=1, help="Commit at least this often, in milliseconds.")] = 100,
) -> None:
    """Run a processor until SIGTERM or Ctrl-C. Its open transaction is then committed or aborted."""
    LINE.end()  # a worker's standard error is its log
    from headrace.client.connect import open_topics
    from headrace.runner.processors import WorkerContext, build, processor_spec
    from headrace.worker.service import log_lines, run_service, worker_name

    processor_spec(processor)
    if workers > 1:
        raise typer.Exit(_several(workers, worker_id or processor))
    worker = worker_id or worker_name(processor)
    log_lines(worker)
    settings = connection(ctx).settings(processor)
    topics = open_topics(pipeline, settings, worker)
    context = WorkerContext(topics, topics.log, settings, pipeline, worker)
    loop = build(processor, context, commit_ms / 1000)
    run_service(loop, {"pipeline": topics.pipeline.name, "processor": processor, "worker": worker}, host, port)


def _several(workers: int, stem: str) -> int:
    """Run this same command as several child processes; gives the first exit code that is not 0."""
    from headrace.launch import command

    same = [a for i, a in enumerate(sys.argv[1:]) if not _is_workers(i)]
    children = [
        subprocess.Popen(command([sys.executable, "-m", "headrace", *same, "--worker-id", f"{stem}-{i}"]))
        for i in range(workers)
    ]

    def stop(signum: int, frame: FrameType | None) -> None:
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    codes = [child.wait() for child in children]
    return next((code for code in codes if code), 0)


def _is_workers(index: int) -> bool:
    """Whether an argument is --workers or its value, or --worker-id or its value."""
    given = sys.argv[1:]
    names = ("--workers", "--worker-id")
    return given[index].startswith(names) or (index > 0 and given[index - 1] in names)

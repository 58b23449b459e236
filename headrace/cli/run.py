"""``headrace run``: one processor, or every processor of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import PipelineName, connection
from headrace.cli.progress import LINE
from headrace.errors import ConfigError

ALL = "all"


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
            help="preprocess, infer, join, retrain, govern, monitor or forward. Or all: what every pipeline needs.",
        ),
    ],
    pipeline: PipelineName,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COUNT",
            help="Worker processes; they share the partitions. With all: PROCESSOR=COUNT, repeatable.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option("--with", metavar="PROCESSOR", help="With all: run this one too, e.g. forward.")
    ] = None,
    worker_id: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of this worker, unique among live ones. A restart under the same name recovers at once.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65_535,
            help="Port of /health and /metrics; several workers take the next ones. 0 picks a free one for each.",
        ),
    ] = 0,
    host: Annotated[str, typer.Option(help="Address of /health and /metrics.")] = "127.0.0.1",
    commit_ms: Annotated[int, typer.Option(min=1, help="Commit at least this often, in milliseconds.")] = 100,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Go on without records that Kafka no longer has. What they are is told and written to decisions.",
        ),
    ] = False,
) -> None:
    """Run a processor until SIGTERM or Ctrl-C. Its open transaction is then committed or aborted.

    `headrace run all PIPELINE` runs every processor under one supervisor, with one log: one that ends is started again
    after a growing pause while the others go on, and `headrace status` says so.
    """
    LINE.end()  # a worker's standard error is its log
    from headrace.runner.processors import processor_spec
    from headrace.runner.supervisor import workers_of

    if processor == ALL:
        counts = workers_of(workers or (), also or ())
    else:
        processor_spec(processor)
        if also:
            raise ConfigError("--with goes with all: headrace run all PIPELINE --with PROCESSOR")
        given = f"{processor}={workers[-1]}" if workers else f"{processor}=1"
        counts = {processor: workers_of([given])[processor]}
    from headrace.runner.ports import ports_of

    ports = ports_of(host, port, sum(counts.values()))
    if accept_loss:
        _accept(ctx, pipeline, counts)
    if processor != ALL and counts[processor] == 1:
        _one(ctx, processor, pipeline, worker_id, host, port, commit_ms / 1000)
        return
    if worker_id is not None:
        raise ConfigError("--worker-id names one worker; several get names of their own")
    _several(ctx, pipeline, counts, ports, ["--host", host, "--commit-ms", str(commit_ms)])


def _one(
    ctx: typer.Context, processor: str, pipeline: str, name: str | None, host: str, port: int, commit_interval: float
) -> None:
    from headrace.client.connect import open_topics
    from headrace.runner.alone import kept_alone, wait_until_alone
    from headrace.runner.processors import WorkerContext, build, processor_spec
    from headrace.topics.partitions import check_partitions
    from headrace.topics.retention import check_retention
    from headrace.worker.renewal import credential_files
    from headrace.worker.service import log_lines, run_service, worker_name

    worker = name or worker_name(processor)
    log_lines(worker)
    settings = connection(ctx).settings(processor)
    topics = open_topics(pipeline, settings, worker)
    spec = processor_spec(processor)
    check_partitions(topics.log, topics.pipeline, (*spec.reads, *spec.writes))
    check_retention(topics.log, topics.pipeline, spec.reads)
    context = WorkerContext(topics, topics.log, settings, pipeline, worker)
    labels = {"pipeline": topics.pipeline.name, "processor": processor, "worker": worker}
    files = credential_files(settings.kafka)
    again = True
    while again:
        group = context.group(processor)
        if not spec.scales:
            wait_until_alone(topics.log, group, worker)
        loop = build(processor, context, commit_interval, _notes(settings.state))
        with nullcontext() if spec.scales else kept_alone(topics.log, group, worker, loop):
            again = run_service(loop, labels, host, port, files)
        if again:
            topics = open_topics(pipeline, settings, worker)
            context = WorkerContext(topics, topics.log, settings, pipeline, worker)


def _notes(state: Path) -> Path | None:
    """The folder in which this host's workers note what they have in hand; None, and said, where there can be none."""
    import logging

    from headrace.config import RUN
    from headrace.folders import private_folder

    try:
        private_folder(state / RUN)
    except OSError as e:
        why = (
            f"{state / RUN} cannot be written ({e.strerror}): a record on which a worker hangs for good is not left out"
        )
        logging.getLogger("headrace.worker.hangs").warning(why)
        return None
    return state / RUN


def _accept(ctx: typer.Context, pipeline: str, processors: Iterable[str]) -> None:
    """Write down what these processors go on without; a worker that misses it later finds it there."""
    import getpass

    from headrace.cli.connect import opened
    from headrace.governance.losses import accept_losses
    from headrace.runner.processors import processor_spec

    topics, _ = opened(ctx, pipeline, "people")
    for name in processors:
        group = f"{topics.pipeline.name}.{name}"
        lost = accept_losses(topics, group, processor_spec(name).reads, getpass.getuser())
        for missing in lost:
            typer.echo(f"{name} goes on without {missing}", err=True)
        if not lost:
            typer.echo(f"{name}: Kafka has all that it needs, nothing to accept", err=True)


def _several(ctx: typer.Context, pipeline: str, counts: dict[str, int], ports: list[int], options: list[str]) -> None:
    from headrace.declare.find import find_pipeline
    from headrace.runner.supervisor import supervisor

    settings = connection(ctx).local().located()
    find_pipeline(pipeline, settings)  # a wrong name is told once and at once, not by each worker again and again
    supervisor(pipeline, settings, counts, options, ports).run()

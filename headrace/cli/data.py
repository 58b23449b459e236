"""``headrace data``: frozen versions of topics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.connect import JsonOption, PipelineName, connection, opened
from headrace.cli.group import LightGroup
from headrace.cli.progress import Bar, waiting
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.jobs.versions.folder import DataFolder, Version
    from headrace.schema.records import ModelManifest

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="Folder of the versions (default: the setting data_folder)."),
]
Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", show_default=False, help="raw, features, labels, examples, predictions or outcomes."
    ),
]
VERSION = "Name of the version; a unique beginning of it is enough."
VersionName = Annotated[str, typer.Argument(metavar="VERSION", show_default=False, help=VERSION)]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="Freeze topics as Parquet versions, compare and restore them.",
        no_args_is_help=True,
        cls=LightGroup,
        rich_markup_mode=None,
    )
    group.command("list")(list_versions)
    for command in (diff, snapshot, restore, guard):
        group.command()(command)
    app.add_typer(group, name="data")


def list_versions(
    ctx: typer.Context, pipeline: PipelineName, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List versions, and the models trained on each."""
    from headrace.governance.catalog import published

    topics, settings = opened(ctx, pipeline)
    folder = _folder(data, settings)
    with waiting("reading versions and models"):
        models = [p.manifest for p in published(topics).values()]
        rows = [_row(version, models) for version in folder.versions(topics.pipeline.name)]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from rich.console import Console

    from headrace.cli.data_tables import listed

    Console().print(listed(topics.pipeline.name, folder.path, rows))


def diff(
    ctx: typer.Context,
    pipeline: PipelineName,
    one: Annotated[str, typer.Argument(metavar="VERSION", show_default=False, help=VERSION)],
    two: Annotated[str, typer.Argument(metavar="VERSION", show_default=False, help="The version to compare it with.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions of one dataset.

    Shows schema, number of records, and the spread of each column, with PSI. Both versions are verified first: files
    that were changed are refused.
    """
    from headrace.declare.find import find_pipeline
    from headrace.jobs.versions.diff import diff as compare
    from headrace.jobs.versions.verify import verified

    settings = connection(ctx).local()
    name, folder = find_pipeline(pipeline, settings).name, _folder(data, settings)
    found = [folder.find(name, version) for version in (one, two)]
    if found[0].dataset != found[1].dataset:
        datasets = f"{found[0].dataset} and {found[1].dataset}"
        raise ConfigError(f"{one} and {two} are versions of {datasets}; compare versions of one dataset")
    with Bar("fetching the versions") as bar:
        first, second = ((path, verified(path, bar)) for path in [folder.fetched(version) for version in found])
    with waiting("comparing column by column"):
        plain = compare(first, second).plain()
    if as_json:
        typer.echo(json.dumps(plain))
        return
    from rich.console import Console

    from headrace.cli.data_tables import differences

    for shown in differences(found[0].name, found[1].name, plain):
        Console().print(shown)


def snapshot(
    ctx: typer.Context,
    pipeline: PipelineName,
    dataset: Dataset,
    ranges: Annotated[
        str | None,
        typer.Option(
            metavar="P:FIRST-STOP,...", help="Offsets of each partition, without STOP itself, e.g. 0:0-1500,1:20-900."
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Records appended before then (ISO 8601, UTC).")
    ] = None,
    data: DataOption = None,
    push: Annotated[bool, typer.Option("--push", help="Push it to DVC's default remote.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Freeze a topic as a version: Parquet and a manifest.

    Default: every record so far. The files are under DVC. The version's name is a hash of its ranges and records: the
    same snapshot again is the same version, and is not written twice.
    """
    from headrace.jobs.versions.ranges import before, everything, parse_ranges
    from headrace.jobs.versions.snapshot import check_dataset
    from headrace.jobs.versions.snapshot import snapshot as freeze

    check_dataset(dataset)
    if ranges is not None and at is not None:
        raise ConfigError("--ranges and --at: give one of them")
    from headrace.cli.times import time_given

    asked = parse_ranges(ranges) if ranges is not None else None
    when = time_given("--at", at)
    topics, settings = opened(ctx, pipeline)
    if asked is None:
        topic = topics.topic(dataset)
        asked = everything(topics.log, topic) if when is None else before(topics.log, topic, when)
    with Bar(f"reading {topics.topic(dataset)}") as bar:
        done = freeze(topics, dataset, asked, _folder(data, settings), push=push, told=bar)
    if as_json:
        row = {**done.summary.model_dump(mode="json"), "folder": str(done.folder), "written": done.written}
        typer.echo(json.dumps({**row, "pushed": push}))
        return
    s = done.summary
    what = f"{s.records:,} records of {topics.topic(dataset)}, root {s.forest_root[:12]}"
    word = "frozen" if done.written else "exists already"
    typer.echo(f"version {s.version} {word}: {what}, in {done.folder}" + (", pushed" if push else ""))
    typer.echo(f"next: `headrace data list {pipeline}` lists versions; `headrace data restore` writes one to a topic")


def restore(
    ctx: typer.Context,
    pipeline: PipelineName,
    dataset: Dataset,
    version: VersionName,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TOPIC",
            help="Topic to write to, empty or not yet created (default: PIPELINE.DATASET.restored-VERSION).",
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version to a topic: the same keys and values.

    Partition by partition, in order. The version is verified before anything is written, and the topic is read back
    afterwards. An interrupted restore to the default topic continues when it is run again; a topic named with --to must
    be empty.
    """
    from headrace.jobs.versions.restore import restore as write_back
    from headrace.jobs.versions.snapshot import check_dataset

    check_dataset(dataset)
    topics, settings = opened(ctx, pipeline)
    folder = _folder(data, settings)
    found = folder.find(topics.pipeline.name, version, dataset)
    with Bar(f"fetching {found.name}") as bar:
        done = write_back(topics.log, folder, found, to, bar)
    if as_json:
        fields = ("topic", "version", "records", "continued", "forest_root")
        typer.echo(json.dumps({name: getattr(done, name) for name in fields}))
        return
    before = f" ({done.continued:,} of them by an earlier restore)" if done.continued else ""
    typer.echo(f"version {done.version} restored to {done.topic}: {done.records:,} records{before}, the same root")


def guard(
    ctx: typer.Context,
    pipeline: PipelineName,
    within: Annotated[
        str, typer.Option(metavar="SPAN", help="Archive what Kafka may drop this soon, e.g. 12h or 2d.")
    ] = "1d",
    archive: Annotated[
        bool, typer.Option("--archive/--dry-run", help="Archive it, or only list it.", show_default=False)
    ] = True,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Archive live models' examples before Kafka drops them.

    Exits with 1 if some were dropped unarchived. Every model is live that was not rejected: in force, in force earlier
    (a rollback may recall it), or not decided yet. Run this more often than SPAN; it can be repeated and interrupted.
    If DVC has a default remote, archives are pushed to it.
    """
    from headrace.cli.times import span_given
    from headrace.jobs.versions.retention import guard as archive_due
    from headrace.jobs.versions.retention import lost

    span = span_given("--within", within)
    topics, settings = opened(ctx, pipeline)
    with Bar("reading models and versions") as bar:
        now = datetime.now(UTC)
        found = archive_due(topics, _folder(data, settings), span, archive=archive, now=now, told=bar)
    rows: list[dict[str, Any]] = [
        {
            "model": k.model_id,
            "ranges": [r.model_dump() for r in k.ranges],
            "state": k.state,
            "version": k.version,
            "goes": k.goes.isoformat() if k.goes else None,
        }
        for k in found
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        from rich.console import Console

        from headrace.cli.data_tables import kept

        Console().print(kept(topics.topic("examples"), rows))
    if any(lost(found)):
        raise typer.Exit(1)


def _folder(given: Path | None, settings: Settings) -> DataFolder:
    from headrace.jobs.versions.folder import DataFolder

    return DataFolder(given or settings.data_folder)


def _row(version: Version, models: list[ModelManifest]) -> dict[str, Any]:
    """What is known of a version, as plain data."""
    summary = version.summary
    used = []
    if summary is not None and version.dataset == "examples":
        used = [
            m.model_id
            for m in models
            if any(r.start < r.stop for r in m.lineage.ranges) and summary.covers(m.lineage.ranges)
        ]
    known = summary.model_dump(mode="json") if summary is not None else {}
    return {
        **known,
        "version": version.name,
        "dataset": version.dataset,
        "state": version.state,
        "fault": version.fault,
        "models": used,
    }

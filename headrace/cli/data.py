"""``headrace snapshot``, ``restore``, ``retention`` and ``data``: frozen versions of topics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from headrace.cli.connect import (
    JsonOption,
    KafkaOption,
    PipelineName,
    PropertyOption,
    RegistryOption,
    StateOption,
    open_pipeline,
    settings_from,
)
from headrace.cli.data_tables import differences, kept, listed
from headrace.cli.extras import platform_module
from headrace.cli.progress import Bar
from headrace.cli.times import span_given, time_given
from headrace.errors import ConfigError
from headrace.governance.catalog import published

DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="FOLDER", help="Folder of the versions (default: setting data_folder).")
]
Dataset = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="raw, features, labels, examples, predictions or outcomes."),
]
VersionName = Annotated[
    str, typer.Argument(metavar="VERSION", help="Its name, or as much of its beginning as is unique.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (snapshot, restore, retention, data):
        app.command()(command)


def snapshot(
    pipeline: PipelineName,
    dataset: Dataset,
    ranges: Annotated[
        str | None,
        typer.Option(
            metavar="P:FIRST-STOP,...", help="Offsets of each partition, STOP left out, e.g. 0:0-1500,1:20-900."
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Everything that came before then (ISO 8601, UTC).")
    ] = None,
    data: DataOption = None,
    push: Annotated[bool, typer.Option("--push", help="Push it to DVC's default remote.")] = False,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze a topic as a version: Parquet files and a manifest, under DVC. Default: everything there is now.

    The version's name follows from its ranges and its records: made again, it is the same, and is not written twice.
    """
    made = platform_module("headrace.jobs.versions.snapshot", "data")
    choose = platform_module("headrace.jobs.versions.ranges", "data")
    made.check_dataset(dataset)
    if ranges is not None and at is not None:
        raise ConfigError("--ranges and --at: give one of them")
    asked = choose.parse_ranges(ranges) if ranges is not None else None
    when = time_given("--at", at)
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    if asked is None:
        topic = there.topic(dataset)
        asked = choose.everything(there.log, topic) if when is None else choose.before(there.log, topic, when)
    with Bar() as bar:
        done = made.snapshot(there, dataset, asked, _folder(data, settings.data_folder), push=push, told=bar)
    if as_json:
        row = {**done.summary.model_dump(mode="json"), "folder": str(done.folder), "written": done.written}
        typer.echo(json.dumps({**row, "pushed": push}))
        return
    s = done.summary
    what = f"{s.records:,} records of {there.topic(dataset)}, root {s.forest_root[:12]}"
    word = "frozen" if done.written else "already there"
    typer.echo(f"version {s.version} {word}: {what}, in {done.folder}" + (", pushed" if push else ""))


def restore(
    pipeline: PipelineName,
    dataset: Dataset,
    version: VersionName,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TOPIC",
            help="Topic to write to, empty or not there yet (default: PIPELINE.DATASET.restored-VERSION).",
        ),
    ] = None,
    data: DataOption = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version back to a topic: the same keys and values, partition by partition, in order.

    The whole version is verified before anything is written, and the topic is read back at the end. Interrupted, a
    restore to the default topic goes on when it is run again; a topic named with --to must be empty.
    """
    back = platform_module("headrace.jobs.versions.restore", "data")
    platform_module("headrace.jobs.versions.snapshot", "data").check_dataset(dataset)
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    folder = _folder(data, settings.data_folder)
    found = folder.find(there.pipeline.name, version, dataset)
    with Bar() as bar:
        done = back.restore(there.log, folder, found, to, bar)
    if as_json:
        fields = ("topic", "version", "records", "continued", "forest_root")
        typer.echo(json.dumps({name: getattr(done, name) for name in fields}))
        return
    before = f" ({done.continued:,} of them were there already)" if done.continued else ""
    typer.echo(f"version {done.version} restored to {done.topic}: {done.records:,} records{before}, the same root")


def retention(
    pipeline: PipelineName,
    within: Annotated[
        str, typer.Option(metavar="SPAN", help="How soon is about to be dropped, e.g. 12h or 2d.")
    ] = "1d",
    archive: Annotated[
        bool, typer.Option("--archive/--dry-run", help="Archive what is about to be dropped, or only tell.")
    ] = True,
    data: DataOption = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Archive the examples of live models before Kafka drops them. Exits with 1 where some are gone for good.

    Live is a model that a policy names, has named (a rollback may call it back) or may come to name: all but those
    rejected. Run it more often than SPAN; it can be repeated and killed. Where DVC has a default remote, archives are
    pushed.
    """
    guard = platform_module("headrace.jobs.versions.retention", "data")
    span = span_given("--within", within)
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    folder = _folder(data, settings.data_folder)
    with Bar() as bar:
        found = guard.guard(there, folder, span, archive=archive, now=datetime.now(UTC), told=bar)
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
        Console().print(kept(there.topic("examples"), rows))
    if any(guard.lost(found)):
        raise typer.Exit(1)


def data(
    pipeline: PipelineName,
    diff: Annotated[
        tuple[str, str] | None, typer.Option("--diff", metavar="A B", help="Two versions to compare.")
    ] = None,
    data: DataOption = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a pipeline's topics and the models trained on each, or how two of them differ."""
    platform_module("pyarrow", "data")
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    folder = _folder(data, settings.data_folder)
    if diff is not None:
        _show_diff(folder, there.pipeline.name, diff, as_json)
        return
    models = [p.manifest for p in published(there).values()]
    rows = [_row(version, models) for version in folder.versions(there.pipeline.name)]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        Console().print(listed(there.pipeline.name, folder.path, rows))


def _folder(given: Path | None, setting: Path) -> Any:
    return platform_module("headrace.jobs.versions.folder", "data").DataFolder(given or setting)


def _row(version: Any, models: list[Any]) -> dict[str, Any]:
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


def _show_diff(folder: Any, pipeline: str, names: tuple[str, str], as_json: bool) -> None:
    """Both versions are verified first: a comparison with what was tampered with says nothing."""
    verify = platform_module("headrace.jobs.versions.verify", "data")
    found = [folder.find(pipeline, name) for name in names]
    if found[0].dataset != found[1].dataset:
        datasets = f"{found[0].dataset} and {found[1].dataset}"
        raise ConfigError(f"--diff {names[0]} {names[1]}: they are of {datasets}; compare versions of one dataset")
    with Bar() as bar:
        places = [folder.fetched(version) for version in found]
        sides = [(place, verify.verified(place, bar)) for place in places]
    told = platform_module("headrace.jobs.versions.diff", "data").diff(*sides)
    plain = told.plain()
    if as_json:
        typer.echo(json.dumps(plain))
        return
    for shown in differences(found[0].name, found[1].name, plain):
        Console().print(shown)

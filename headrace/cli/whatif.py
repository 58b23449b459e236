"""``headrace replay --model``: production's past under a candidate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from headrace.cli.connect import open_pipeline
from headrace.cli.extras import platform_module
from headrace.cli.progress import Bar
from headrace.config import Settings
from headrace.errors import ConfigError
from headrace.models.package.signing import Trust
from headrace.query.audit.scope import Window


@dataclass(frozen=True)
class Ways:
    """How the report is given: a page in a file, JSON in place of tables."""

    html: Path | None = None
    as_json: bool = False


def what_if(pipeline: str, settings: Settings, model: str, window: Window, threshold: float, ways: Ways) -> None:
    """Score the past under ``model`` and show the report.

    Raises:
        ConfigError: no such model, nothing to compare with, or the page cannot be written where it should.
        ModelRejected: the candidate fails a check.
    """
    if ways.html is not None:
        _writable(ways.html)
    page = platform_module("headrace.jobs.whatif.page") if ways.html else None
    ask, screen = platform_module("headrace.jobs.whatif.run"), platform_module("headrace.cli.whatif_screen")
    there = open_pipeline(pipeline, settings)
    with Bar() as bar:
        report = ask.what_if(there, model, Trust.of(settings), window, threshold, bar)
    if page is not None and ways.html is not None:
        ways.html.write_text(page.page(report), encoding="utf-8")
    if ways.as_json:
        typer.echo(json.dumps(report.plain(), allow_nan=False))
    else:
        screen.show(report, Console())
    if ways.html is not None:
        typer.echo(f"the page is {ways.html}", err=ways.as_json)


def _writable(file: Path) -> None:
    """Said before the log is read, not after."""
    if file.is_dir():
        raise ConfigError(f"--html {file}: that is a folder; name a file in it")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"--html {file}: there is no folder {file.parent}; make it first")

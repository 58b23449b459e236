"""``headrace keys``: the keys that sign models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.group import LightGroup


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="Make the keys that sign models.", no_args_is_help=True, cls=LightGroup, rich_markup_mode=None
    )
    group.callback()(lambda: None)
    group.command()(new)
    app.add_typer(group, name="keys")


def new(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Name of the key, e.g. its holder's.")] = "headrace",
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write it to.")] = Path("keys"),
) -> None:
    """Make a key pair.

    NAME.pem signs models: keep it secret. NAME.pub checks signatures: hand it out.
    """
    from headrace.keys import fingerprint, new_key

    private, public = new_key(folder, name)
    typer.echo(f"private key {private}, public key {public} (fingerprint {fingerprint(public.read_text())})")
    typer.echo(f"where models are trained:  HEADRACE_SIGNING_KEY={private}")
    typer.echo(f'where models are used, in headrace.toml:  trusted_keys = ["{public}"]')

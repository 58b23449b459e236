"""``headrace keys``: the keys that models are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.keys import fingerprint, new_key


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Keys that models are signed with.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(new)
    app.add_typer(group, name="keys")


def new(
    name: Annotated[str, typer.Argument(help="Name of the key, e.g. of who holds it.")] = "headrace",
    folder: Annotated[Path, typer.Option(help="Folder to write it to.")] = Path("keys"),
) -> None:
    """Make a key pair: NAME.pem, which signs and is for nobody else, and NAME.pub, which others check with."""
    private, public = new_key(folder, name)
    typer.echo(f"private key {private}, public key {public} (fingerprint {fingerprint(public.read_text())})")
    typer.echo(f"where models are trained:  HEADRACE_SIGNING_KEY={private}")
    typer.echo(f'where models are used, in headrace.toml:  trusted_keys = ["{public}"]')

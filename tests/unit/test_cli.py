"""The command line as a whole: where its commands are."""

from __future__ import annotations

import importlib
import pkgutil

import typer

from headrace import cli


def test_a_command_is_found_in_the_module_that_registers_it() -> None:
    found = {}
    for module in pkgutil.iter_modules(cli.__path__):
        there = importlib.import_module(f"headrace.cli.{module.name}")
        if hasattr(there, "register"):
            alone = typer.Typer()
            there.register(alone)
            found[module.name] = tuple(typer.main.get_group(alone).commands)
    assert found == cli.MODULES

"""The command line as a whole: where its commands are, what they cost, and how its errors look."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from headrace import cli
from headrace.cli.connect import Connection, take_connection
from headrace.errors import ConfigError

HEAVY = {"polars", "numpy", "numba", "onnxruntime", "confluent_kafka", "pydantic", "sklearn", "pyarrow"}
HELP = """
import json, sys
from typer.testing import CliRunner
from headrace.cli import app

def helps(*words):
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0, (words, shown.output, shown.exception)
    _, _, commands = shown.stdout.partition("Commands:\\n")
    for line in commands.split("\\n\\n")[0].splitlines():
        helps(*words, line.split()[0])
    seen.append(" ".join(words))

seen = []
helps()
print(json.dumps([seen, sorted(sys.modules)]))
"""


def test_a_command_is_found_in_the_module_that_registers_it() -> None:
    found = {}
    for module in pkgutil.iter_modules(cli.__path__):
        there = importlib.import_module(f"headrace.cli.{module.name}")
        if hasattr(there, "register"):
            alone = typer.Typer()
            there.register(alone)
            found[module.name] = tuple(typer.main.get_group(alone).commands)
    assert found == cli.MODULES


def test_no_help_imports_what_only_work_needs() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    seen, modules = json.loads(done.stdout)
    assert {"", "run", "models list", "data restore", "search dashboards"} <= set(seen)
    assert HEAVY.intersection(modules) == set()


@pytest.mark.parametrize(
    ("line", "connection", "rest"),
    [
        ("audit flights --kafka h:1 --json", Connection(kafka="h:1"), "audit flights --json"),
        ("--state a audit flights --state=b", Connection(state=Path("b")), "audit flights"),
        ("up -X a=1 -Xb=2 --registry=u", Connection(registry="u", properties=("a=1", "b=2")), "up"),
        ("push shop -- --kafka", Connection(), "push shop -- --kafka"),
        ("init shop", Connection(), "init shop"),
    ],
)
def test_the_connections_options_stand_anywhere_on_the_line(line: str, connection: Connection, rest: str) -> None:
    assert take_connection(line.split()) == (connection, rest.split())


def test_a_connection_option_without_its_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--kafka needs a value$"):
        take_connection(["audit", "flights", "--kafka"])


def test_only_the_help_of_the_root_lists_the_connections_options() -> None:
    root, command = (CliRunner().invoke(cli.app, [*words, "--help"]).stdout for words in ([], ["audit"]))
    assert "--kafka HOST:PORT" in root
    assert "--kafka HOST:PORT" not in command
    assert "--kafka, --registry, --state and -X" in command


def commands_in(*words: str) -> list[str]:
    """The lines of a help that name commands."""
    shown = CliRunner().invoke(cli.app, [*words, "--help"]).stdout
    return shown.partition("Commands:\n")[2].split("\n\n")[0].splitlines()


def test_the_help_of_the_root_names_every_command() -> None:
    assert [line.strip().split("  ")[0] for line in commands_in()] == [
        name for names in cli.MODULES.values() for name in names
    ]


@pytest.mark.parametrize("words", [[], ["models"], ["dead"], ["data"], ["search"], ["keys"]], ids=" ".join)
def test_a_help_says_of_each_command_in_one_line_what_it_does(words: list[str]) -> None:
    assert [line for line in commands_in(*words) if line.endswith("...") or len(line.split()) < 3] == []


def test_the_help_of_run_names_every_processor() -> None:
    from headrace.runner.processors import PROCESSORS

    said = " ".join(CliRunner().invoke(cli.app, ["run", "--help"]).stdout.split())
    *others, last = PROCESSORS
    assert f"{', '.join(others)} or {last}." in said


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("elasticsearch.helpers", "the package elasticsearch is not installed: pip install 'headrace[platform]'"),
        ("headrace.nothing", None),
    ],
)
def test_a_package_that_is_missing_is_named_and_one_of_ours_is_a_bug(module: str, said: str | None) -> None:
    missing = cli.missing_package(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert (str(missing) if missing else None) == said


def test_a_missing_package_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code = "import sys; sys.modules['psutil'] = None; from headrace.cli import main; main()"
    command = [sys.executable, "-c", code, "status", "--state", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "headrace: the package psutil is not installed: pip install 'headrace[platform]'\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(said)

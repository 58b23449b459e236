"""Make the folder of a new project from the template."""

from __future__ import annotations

import importlib.util
import keyword
import re
import runpy
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import headrace
from headrace.errors import ConfigError

FILES = {
    "README.md": "README.md.tmpl",
    "{name}.py": "pipeline.py.tmpl",
    "event.avsc": "event.avsc.tmpl",
    "generate.py": "generate.py.tmpl",
    "headrace.toml": "headrace.toml.tmpl",
    "requirements.txt": "requirements.txt.tmpl",
    ".gitignore": "gitignore.tmpl",
    "tests/test_{name}.py": "test_pipeline.py.tmpl",
    ".github/workflows/test.yml": "ci.yml.tmpl",
}
"""File of a project -> file of the template."""
EVENTS = "events.csv"
TAKEN = {"generate", "tests", "event", "events"}
"""Names that the template uses itself."""


def new_project(name: str, folder: Path) -> list[Path]:
    """Make a project.

    Args:
        name: of the pipeline, of its file and of its topics: lower-case letters, digits and _.
        folder: to make it in; made where it is not there.

    Returns:
        The files, relative to ``folder``.

    Raises:
        ConfigError: the name cannot be used, or the folder is not empty. Nothing was written.
    """
    _check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        kind = "is not empty" if folder.is_dir() else "is a file"
        raise ConfigError(f"{folder} {kind}: name another folder with --folder, or empty it")
    template = files("headrace.project") / "template"
    written = []
    try:
        for target, source in FILES.items():
            path = folder / target.format(name=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (template / source).read_text(encoding="utf-8")
            path.write_text(text.replace("__NAME__", name).replace("__VERSION__", headrace.__version__), "utf-8")
            written.append(path)
        runpy.run_path(str(folder / "generate.py"))["write"](folder / EVENTS)
        written.append(folder / EVENTS)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # it was empty, or not there
        raise
    return sorted(path.relative_to(folder) for path in written)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name, re.ASCII):
        raise ConfigError(f"project name {name!r}: use lower-case letters, digits and _, a letter first, 50 at most")
    taken = keyword.iskeyword(name) or name in TAKEN or name in sys.stdlib_module_names
    if taken or importlib.util.find_spec(name) is not None:
        raise ConfigError(f"project name {name!r}: Python has a module or word of that name, take another")

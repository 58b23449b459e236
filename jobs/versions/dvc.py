"""DVC, through its own command line: versions are added to its cache, pushed to its remote, pulled from there.

Of each version DVC keeps ``<version>.dvc`` beside its folder: a small file to commit, from which the version can be
fetched on another machine. What is known of the version without its files stands there too, under ``meta``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headrace.errors import ConfigError, DataError
from headrace.folders import private_folder
from headrace.jobs.versions.ignored import require_not_ignored
from headrace.jobs.versions.manifest import Summary

META = "headrace"
_NEW = ".dvc-new-"
_QUIET = {"DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}


def require_dvc() -> None:
    """See that DVC is installed.

    Raises:
        ConfigError: it is not; the message says how to.
    """
    if importlib.util.find_spec("dvc") is None:
        raise ConfigError("package dvc is missing: pip install 'headrace[data]'")


def repository(folder: Path) -> Path | None:
    """The DVC repository that a folder is in, where it is in one."""
    here = folder.absolute()
    return next((place for place in (here, *here.parents) if (place / ".dvc").is_dir()), None)


def require_remote(folder: Path) -> None:
    """See that there is a default remote to push to.

    Raises:
        ConfigError: there is none; the message says how to name one.
    """
    there = repository(folder)
    if not _run(there or Path.cwd(), "config", "core.remote").strip():
        first = f"cd {there}" if there else f"mkdir -p {folder} && cd {folder} && dvc init --no-scm"
        raise ConfigError(f"DVC has no default remote to push to: {first} && dvc remote add -d NAME URL")


def has_remote(folder: Path) -> bool:
    """Whether there is a default remote to push to."""
    try:
        require_remote(folder)
    except ConfigError:
        return False
    return True


def require_kept(place: Path) -> None:
    """See that DVC would keep versions in a folder, which need not exist.

    Raises:
        ConfigError: git or DVC is told to ignore them; the message says where.
    """
    if (there := repository(place)) is not None:
        require_not_ignored(there, place)


def make_repository(folder: Path) -> None:
    """Make a folder a DVC repository, where it is in none: elsewhere first, so that there is never half of one."""
    if repository(folder) is not None:
        return
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder))
    _run(new, "init", "--no-scm")
    with contextlib.suppress(FileNotFoundError):
        (new / ".dvcignore").replace(folder / ".dvcignore")
    try:
        private_folder(new / ".dvc")  # its cache holds what versions hold
        (new / ".dvc").rename(folder / ".dvc")
    except OSError:
        if repository(folder) is None:  # else another process was first
            raise
    for left in folder.glob(f"{_NEW}*"):
        shutil.rmtree(left, ignore_errors=True)


def tracked(folder: Path) -> Path:
    """The file that stands for a version's folder in DVC."""
    return folder.with_name(f"{folder.name}.dvc")


def add(folder: Path, summary: Summary) -> None:
    """Put a version's folder under DVC; again: nothing changes."""
    _run(folder.parent, "add", folder.name)
    note(tracked(folder), summary)


def push(folder: Path) -> None:
    """Push a version to the default remote."""
    _run(folder.parent, "push", tracked(folder).name)


def pull(folder: Path) -> None:
    """Fetch a version into its folder, from the cache or the default remote."""
    _run(folder.parent, "pull", "--force", tracked(folder).name)


def note(file: Path, summary: Summary) -> None:
    """Write what is known of a version into its ``.dvc`` file, where DVC leaves it be."""
    yaml = YAML()
    said = yaml.load(file.read_text())
    said["meta"] = {**(said.get("meta") or {}), META: summary.model_dump(mode="json")}
    new = file.with_name(f".{file.name}.new")
    with new.open("w") as out:
        yaml.dump(said, out)
    new.replace(file)


def noted(file: Path) -> Summary | None:
    """What a ``.dvc`` file says of its version; None where it says nothing that can be read."""
    try:
        said = YAML(typ="safe").load(file.read_text())
        return Summary.model_validate(said["meta"][META])
    except (OSError, YAMLError, KeyError, TypeError, ValidationError):
        return None


def _run(where: Path, *args: str) -> str:
    """Run ``dvc`` in a folder; gives what it printed.

    Raises:
        DataError: it failed; the message is its own last word.
    """
    require_dvc()
    cmd = [sys.executable, "-m", "dvc", "--wait-for-lock", *args]
    done = subprocess.run(cmd, cwd=where, env=os.environ | _QUIET, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    why = (errors or lines or [f"it ended with {done.returncode}"])[-1].rstrip(":")
    raise DataError(f"dvc {args[0]} failed in {where}: {why} (`dvc {' '.join(args)} -v` there tells more)")

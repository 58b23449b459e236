"""Whether git or DVC is told to ignore the ``.dvc`` files of versions: DVC then refuses to keep them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from headrace.errors import ConfigError

NAME = "0" * 12
"""As a version may be called."""


class _Rule(NamedTuple):
    file: Path
    line: int
    pattern: str


def require_not_ignored(repository: Path, place: Path) -> None:
    """See that versions in a folder can be kept in a DVC repository.

    Args:
        repository: the DVC repository, above ``place``.
        place: the folder of the versions; it need not exist.

    Raises:
        ConfigError: git or DVC ignores them; the message names the file, its line, and what to write there.
    """
    version = place.absolute() / NAME
    if _knows_git(repository) and (rule := _by_git(repository, version.with_name(f"{NAME}.dvc"))):
        raise _refused(rule, f"git ignore {place}/*.dvc, which stand for versions", _instead(rule.pattern))
    if (repository / ".dvcignore").exists() and (rule := _by_dvc(repository, version)):
        raise _refused(rule, f"DVC ignore {place}", "take the line away")


def _refused(rule: _Rule, makes: str, mend: str) -> ConfigError:
    return ConfigError(
        f"line {rule.line} of {rule.file} ({rule.pattern}) makes {makes}: {mend}, or name another folder with --data. "
        "Nothing was written"
    )


def _instead(pattern: str) -> str:
    """What to write in place of a pattern of git's; a folder that is ignored as a whole lets nothing in it through."""
    if pattern.rstrip("/*").endswith(".dvc"):
        return "take the line away"
    folder = re.sub(r"(/\*\*|/\*|/)$", "", pattern)
    return f"write `{folder}/**`, `!{folder}/**/` and `!{folder}/**/*.dvc` there, a line each"


def _knows_git(repository: Path) -> bool:
    config = repository / ".dvc" / "config"
    told = config.read_text() if config.exists() else ""
    return shutil.which("git") is not None and not re.search(
        r"^\s*no_scm\s*=\s*true", told, re.IGNORECASE | re.MULTILINE
    )


def _by_git(repository: Path, file: Path) -> _Rule | None:
    top = _said(repository, "git", "rev-parse", "--show-toplevel").strip()
    return _rule(Path(top), _said(Path(top), "git", "check-ignore", "-v", "--", str(file))) if top else None


def _by_dvc(repository: Path, folder: Path) -> _Rule | None:
    return _rule(repository, _said(repository, sys.executable, "-m", "dvc", "check-ignore", "-d", str(folder)))


def _rule(top: Path, said: str) -> _Rule | None:
    """The rule of the last line, ``FILE:LINE:PATTERN<tab>PATH``; None if there is none, or it lets through."""
    found = re.findall(r"^(.+?):(\d+):(.*)\t", said, re.MULTILINE)
    if not found or found[-1][2].startswith("!"):
        return None
    file, line, pattern = found[-1]
    return _Rule(top / file, int(line), pattern)


def _said(where: Path, *command: str) -> str:
    """What a command prints; its exit code says only whether it found something."""
    return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False).stdout

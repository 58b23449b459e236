"""Fetch one file with jgo, which knows where the Maven repositories are."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver

from headrace.embedded.parts import Part
from headrace.errors import DownloadError

TIMEOUT_S = 30

logging.getLogger("jgo").setLevel(logging.CRITICAL)  # its warnings are not for our users


def fetch(part: Part, folder: Path, advance: Callable[[int], None]) -> Path:
    """Download ``part`` below ``folder`` and call ``advance`` with each number of bytes that arrived.

    Raises:
        DownloadError: no network, no such file, or no room on the disk.
    """

    @contextmanager
    def progress(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield advance

    context = MavenContext(repo_cache=folder, resolver=PythonResolver(progress_callback=progress), timeout=TIMEOUT_S)
    component = context.project(part.group, part.artifact).at_version(part.version)
    try:
        return component.artifact(classifier=part.classifier, packaging=part.packaging).resolve()
    except requests.RequestException as e:
        raise DownloadError(
            f"{part.coordinate} cannot be downloaded ({type(e).__name__}): is there a network? "
            "What has arrived is kept; the next try goes on from there"
        ) from e
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise DownloadError(f"no space left on the disk of {folder} for {part.coordinate}") from e
        raise DownloadError(f"{part.coordinate} cannot be written below {folder}: {e}") from e
    except RuntimeError as e:
        raise DownloadError(f"the Maven repository did not give {part.coordinate}; try again later") from e

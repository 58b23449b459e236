"""The data folder: ``<pipeline>/<dataset>/<version>/``, each version's ``.dvc`` file beside it, and who may write."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.errors import ConfigError, DataError, VersionDamaged
from headrace.folders import private_folder
from headrace.jobs.versions import dvc
from headrace.jobs.versions.manifest import ID_LENGTH, MANIFEST, Summary, load_manifest
from headrace.schema.records import OffsetRange

WRITING = ".writing"
State = Literal["local", "in DVC", "damaged"]


@dataclass(frozen=True)
class Version:
    """One version in the data folder.

    Attributes:
        folder: where its files are, or would be.
        state: ``local``: its files are here; ``in DVC``: only its ``.dvc`` file is; ``damaged``: its manifest is not
            what was written.
        summary: what is known of it; None where it is damaged and DVC has no word of it.
        fault: what is wrong with a damaged one.
    """

    folder: Path
    state: State
    summary: Summary | None
    fault: str = ""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def dataset(self) -> str:
        return self.folder.parent.name

    @property
    def pipeline(self) -> str:
        return self.folder.parent.parent.name


class DataFolder:
    """The folder that versions are kept in.

    Args:
        path: the folder; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, pipeline: str, dataset: str) -> Path:
        """Where the versions of a dataset are."""
        return self.path / pipeline / dataset

    def versions(self, pipeline: str, dataset: str | None = None) -> list[Version]:
        """The versions there are, oldest first."""
        found = [_version(place) for place in self._places(pipeline, dataset or "*")]
        return sorted(found, key=lambda v: (v.dataset, v.summary.created_at.timestamp() if v.summary else 0.0, v.name))

    def covering(self, pipeline: str, dataset: str, ranges: Sequence[OffsetRange]) -> list[Version]:
        """The versions that hold every record of ``ranges``: those of exactly these first, then those that are here.

        Raises:
            VersionDamaged: none does, and of a damaged one it cannot be told.
        """
        there = self.versions(pipeline, dataset)
        known = [(v, v.summary) for v in there if v.summary is not None]
        fit = [(v, s) for v, s in known if s.covers(ranges)]
        unknown = next((v for v in there if v.summary is None), None)
        if not fit and unknown is not None:
            raise VersionDamaged(unknown.fault)
        return [v for v, s in sorted(fit, key=lambda f: (not f[1].is_exactly(ranges), f[0].state != "local"))]

    def find(self, pipeline: str, prefix: str, dataset: str | None = None) -> Version:
        """The one version of a pipeline whose name begins with ``prefix``.

        Raises:
            ConfigError: there is none, there are several, or it is of another pipeline or dataset.
        """
        found = [p for p in self._places(pipeline, dataset or "*") if p.name.startswith(prefix)]
        if len(found) == 1 and prefix:
            return _version(found[0])
        if found:
            names = ", ".join(f"{p.parent.name}/{p.name}" for p in found)
            raise ConfigError(f"version {prefix!r} fits {len(found)}: {names}; give more of its name, or its dataset")
        of = f"{pipeline}.{dataset}" if dataset else pipeline
        elsewhere = [p for p in self._places("*", "*") if p.name.startswith(prefix)]
        if elsewhere and prefix:
            other = elsewhere[0]
            raise ConfigError(
                f"version {other.name} is of {other.parent.parent.name}.{other.parent.name}, not of {of}: name those"
            )
        known = ", ".join(p.name for p in self._places(pipeline, dataset or "*")) or "none"
        raise ConfigError(f"no version of {of} in {self.path} begins with {prefix!r}; there are: {known}")

    def fetched(self, version: Version) -> Path:
        """The version's folder, its files in it: pulled through DVC where only its ``.dvc`` file is here.

        Raises:
            DataError: DVC has it neither in its cache nor in its remote, or the folder cannot be written.
        """
        if version.state == "in DVC":
            with self.writable():
                self._make_private(version.pipeline)
                dvc.pull(version.folder)
        return version.folder

    @contextlib.contextmanager
    def claimed(self, pipeline: str, dataset: str) -> Iterator[Path]:
        """A new folder to write a version into, for this process alone; it is gone at the end, where it was not moved.

        Raises:
            DataError: the data folder cannot be written, is full, or another process writes such a version.
        """
        place = self.place(pipeline, dataset)
        with self.writable():
            self._make_private(pipeline)
            private_folder(place)
            with (place / ".lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise DataError(
                        f"another process writes a version of {pipeline}.{dataset} into {self.path}: wait for it"
                    ) from None
                writing = place / WRITING
                shutil.rmtree(writing, ignore_errors=True)  # what one that was killed has left
                private_folder(writing)
                try:
                    yield writing
                finally:
                    shutil.rmtree(writing, ignore_errors=True)

    @contextlib.contextmanager
    def writable(self) -> Iterator[None]:
        """Turn what the system says of a folder that cannot be written into one clear line."""
        try:
            yield
        except OSError as e:
            if e.errno is None:
                raise
            what = os.strerror(e.errno)
            mend = (
                "make room" if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "name one that can be written"
            )
            raise DataError(
                f"the data folder {self.path} cannot be written: {what}; {mend} (--data FOLDER or HEADRACE_DATA_FOLDER)"
            ) from e

    def _make_private(self, pipeline: str) -> None:
        """See that only its owner enters the folder of a pipeline's versions, of earlier ones too."""
        private_folder(self.path / pipeline)

    def _places(self, pipeline: str, dataset: str) -> list[Path]:
        found = {p.parent for p in self.path.glob(f"{pipeline}/{dataset}/*/{MANIFEST}")}
        found |= {p for p in self.path.glob(f"{pipeline}/{dataset}/*") if p.is_dir() and len(p.name) == ID_LENGTH}
        found |= {p.with_suffix("") for p in self.path.glob(f"{pipeline}/{dataset}/*.dvc")}
        return sorted(p for p in found if len(p.name) == ID_LENGTH and not p.name.startswith("."))


def _version(folder: Path) -> Version:
    noted = dvc.noted(dvc.tracked(folder))
    if not folder.exists():
        if noted is None:
            fault = f"{dvc.tracked(folder)} does not say what it is of: `dvc pull {folder.name}.dvc` there"
            return Version(folder, "damaged", None, fault)
        return Version(folder, "in DVC", noted)
    try:
        return Version(folder, "local", load_manifest(folder).summary)
    except VersionDamaged as e:
        return Version(folder, "damaged", noted, str(e))

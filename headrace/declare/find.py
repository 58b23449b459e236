"""From a pipeline's name to the Pipeline object."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from headrace.config import CONFIG_FILE, Settings
from headrace.declare.pipeline import Pipeline
from headrace.errors import HeadraceError, UnknownPipeline


def find_pipeline(name: str, settings: Settings) -> Pipeline:
    """The pipeline that ``name`` stands for.

    Args:
        name: a name listed under ``[pipelines]`` in ``headrace.toml``, or ``package.module:attribute``, or
            ``file.py:attribute``.
        settings: where the names are listed.

    Raises:
        UnknownPipeline: nothing answers to the name; the message lists what there is.
    """
    reference = settings.pipelines.get(name, name)
    module_name, colon, attribute = reference.rpartition(":")
    if not colon:
        known = ", ".join(sorted(settings.pipelines)) or "none"
        raise UnknownPipeline(
            f"no pipeline named {name!r}; {CONFIG_FILE} here lists: {known}. "
            "Or give package.module:attribute or file.py:attribute"
        )
    try:
        module = _from_file(module_name) if module_name.endswith(".py") else _from_module(module_name)
        found = getattr(module, attribute)
    except HeadraceError:
        raise
    except Exception as e:
        raise UnknownPipeline(f"pipeline {name}: {reference} cannot be imported: {type(e).__name__}: {e}") from e
    if not isinstance(found, Pipeline):
        raise UnknownPipeline(f"pipeline {name}: {reference} is a {type(found).__name__}, not a Pipeline")
    return found


def _from_module(name: str) -> ModuleType:
    _importable(Path.cwd())
    return importlib.import_module(name)


def _from_file(file: str) -> ModuleType:
    path = Path(file).resolve()
    if not path.exists():
        raise UnknownPipeline(f"no pipeline file {path}")
    known = sys.modules.get(path.stem)
    if known is not None:
        if Path(getattr(known, "__file__", None) or ".").resolve() == path:
            return known
        raise UnknownPipeline(f"pipeline file {path}: another module is named {path.stem} too; rename the file")
    _importable(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UnknownPipeline(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _importable(folder: Path) -> None:
    """Let modules of a folder be imported, as Python does with the folder of a script."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

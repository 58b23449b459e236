"""From a pipeline's name to the Pipeline object."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

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
    place = settings.pipelines.get(name, name)
    module_name, colon, attribute = place.rpartition(":")
    if not colon:
        known = ", ".join(sorted(settings.pipelines)) or "none"
        raise UnknownPipeline(
            f"no pipeline named {name!r}; {CONFIG_FILE} here lists: {known}. "
            "Or give package.module:attribute or file.py:attribute"
        )
    try:
        module = _from_file(module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
        found = getattr(module, attribute)
    except HeadraceError:
        raise
    except Exception as e:
        raise UnknownPipeline(f"pipeline {name}: {place} cannot be imported: {type(e).__name__}: {e}") from e
    if not isinstance(found, Pipeline):
        raise UnknownPipeline(f"pipeline {name}: {place} is a {type(found).__name__}, not a Pipeline")
    return found


def _from_file(file: str) -> object:
    path = Path(file).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise UnknownPipeline(f"no pipeline file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module

"""Parts outside the SDK that commands call: the processors and producers of a checkout or the image."""

from __future__ import annotations

import importlib
from types import ModuleType

from headrace.errors import ConfigError


def platform_module(name: str, extra: str = "train") -> ModuleType:
    """Import a module of ``streams``, ``producers``, ``consumers`` or ``examples``.

    Raises:
        ConfigError: this installation is the SDK alone, or an extra it needs is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name and name.startswith(e.name):
            raise ConfigError(
                f"{e.name} is not here: `pip install headrace` gives the SDK alone; "
                "run this from a checkout (`make setup`) or the image"
            ) from None
        raise ConfigError(f"package {e.name} is missing: pip install 'headrace[{extra}]'") from None

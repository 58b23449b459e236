"""The toy pipeline after its events gained a field, for workers that tests start."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from headrace.declare.pipeline import Pipeline
from headrace.testing.pipelines import RAW, toy

FIELDS: list[dict[str, Any]] = RAW["fields"]  # type: ignore[assignment]
WIDER: dict[str, Any] = {**RAW, "fields": [*FIELDS, {"name": "via", "type": "string", "default": "old"}]}


def evolved(name: str) -> Pipeline:
    """The toy of a name, with the wider events."""
    return replace(toy(name), raw=WIDER)


pipeline = evolved(os.environ.get("TOY_PIPELINE", "toy"))
REFERENCE = f"{__name__}:pipeline"

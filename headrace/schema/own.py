"""The Avro schemas of headrace's own record types: ``schemas/*.avsc`` of the repository, ``avsc`` of the package."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

_FOLDER = Path(__file__).parent / "avsc"


@cache
def own_schema(name: str) -> dict[str, Any]:
    """Schema of one of headrace's record types by its name, e.g. ``PolicyMarker``."""
    file = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".avsc"
    parsed: dict[str, Any] = json.loads((_FOLDER / file).read_text())
    return parsed


def full_name(schema: dict[str, Any], space: str = "") -> str:
    """Namespace and name of a named type, e.g. ``headrace.PolicyMarker``.

    ``space``: the namespace that holds where the type has none of its own.
    """
    name: str = schema["name"]
    if "." in name:
        return name
    inside = schema.get("namespace", space)
    return f"{inside}.{name}" if inside else name


def is_own(name: str) -> bool:
    """Whether a full name is of headrace's own namespace."""
    return name.startswith("headrace.")


def schema_fingerprint(schema: dict[str, Any]) -> str:
    """sha-256 of a schema's parsing canonical form, hex."""
    return hashlib.sha256(fastavro.schema.to_parsing_canonical_form(schema).encode()).hexdigest()

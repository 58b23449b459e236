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


def full_name(schema: dict[str, Any]) -> str:
    """Namespace and name of a record schema, e.g. ``headrace.PolicyMarker``."""
    namespace = schema.get("namespace", "")
    return f"{namespace}.{schema['name']}" if namespace else str(schema["name"])


def schema_fingerprint(schema: dict[str, Any]) -> str:
    """sha-256 of a schema's parsing canonical form, hex."""
    return hashlib.sha256(fastavro.schema.to_parsing_canonical_form(schema).encode()).hexdigest()

"""The Avro schema of raw events, read from a file."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from headrace.codec.types import avro_fields
from headrace.errors import SchemaError

Schema = dict[str, Any]


def schema(file: str | PathLike[str], *, beside: str | PathLike[str]) -> Schema:
    """Read an Avro record schema from ``file`` in the folder of ``beside`` (give ``__file__``).

    Raises:
        SchemaError: the file is missing, is no JSON, or is no flat Avro record.
    """
    path = Path(beside).parent / file
    try:
        parsed: Schema = json.loads(path.read_text())
    except OSError as e:
        raise SchemaError(f"schema {path}: {e.strerror}") from None
    except json.JSONDecodeError as e:
        raise SchemaError(f"schema {path}: not JSON: {e}") from None
    avro_fields(parsed)
    return parsed

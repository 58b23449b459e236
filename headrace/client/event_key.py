"""The key of an event's record: its key field as text, the same for one event as for rows of a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace.codec.topic import TopicCodec
from headrace.codec.tree import Schema, parse
from headrace.errors import SchemaError

KeyOf = Callable[[Mapping[str, Any], bytes], bytes]


def key_reader(schema: Schema, name: str, codec: TopicCodec) -> KeyOf:
    """From an event and its encoded record to the record's key.

    Args:
        schema: of the events.
        name: the key field.
        codec: reads a key that its field's type gives another form than the event has (a time, a decimal).

    Raises (what it gives):
        SchemaError: the key field is missing or null.
    """
    node = next(f.node for f in parse(schema).fields if f.name == name)

    def key_of(event: Mapping[str, Any], value: bytes) -> bytes:
        if event.get(name) is None:
            told = "null" if name in event else "missing"
            raise SchemaError(f"event refused: field {name}, the pipeline's key, is {told}")
        return text(event[name], value).encode()

    def written(_: Any, value: bytes) -> str:
        return str(codec.decode([value]).frame()[name][0])

    text: Callable[[Any, bytes], str] = written
    if not node.logical and node.kind in ("string", "enum"):
        text = lambda given, _: str.__str__(given)  # noqa: E731
    elif not node.logical and node.kind in ("int", "long"):
        text = lambda given, _: str(int(given))  # noqa: E731
    return key_of

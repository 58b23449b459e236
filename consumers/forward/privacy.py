"""What of a document stays behind: fields dropped, hashed, cut short, in its mapping and in its rows alike."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from headrace.declare.forward import FORWARDED, Forward
from headrace.errors import ConfigError

Mapping = dict[str, Any]
HASHED: Mapping = {"type": "keyword"}
SHORT = 40
"""Letters of a hash: 160 bits."""


@dataclass(frozen=True)
class Privacy:
    """The rules for the documents of one topic.

    Attributes:
        drop: dotted paths of fields that are left out.
        hash: those that a hash stands in for.
        truncate: path -> characters that leave.
        secret: key of the hashes.
    """

    drop: frozenset[str]
    hash: frozenset[str]
    truncate: dict[str, int]
    secret: bytes

    def mapped(self, properties: dict[str, Mapping], path: str = "") -> dict[str, Mapping]:
        """The properties of an index that holds what is left."""
        left: dict[str, Mapping] = {}
        for name, mapping in properties.items():
            at = path + name
            if at in self.drop:
                continue
            if at in self.hash:
                left[name] = HASHED
            elif "properties" in mapping:
                left[name] = {**mapping, "properties": self.mapped(mapping["properties"], f"{at}.")}
            else:
                left[name] = mapping
        return left

    def kept(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows with what is left of them."""
        if not (self.drop or self.hash or self.truncate):
            return frame
        return pl.DataFrame([self._column(s, s.name) for s in frame if s.name not in self.drop])

    def _column(self, column: pl.Series, at: str) -> pl.Series:
        if at in self.hash:
            return self._hashed(column)
        if at in self.truncate:
            return column.cast(pl.String).str.head(self.truncate[at])
        if isinstance(column.dtype, pl.Struct) and any(p.startswith(f"{at}.") for p in self._paths()):
            fields = [f for f in column.struct.fields if f"{at}.{f}" not in self.drop]
            parts = [self._column(column.struct.field(f), f"{at}.{f}") for f in fields]
            there = column.is_not_null()
            struct = (
                pl.DataFrame(parts).to_struct(column.name) if parts else pl.Series(column.name, [None] * len(column))
            )
            return pl.select(pl.when(there).then(struct).otherwise(None).alias(column.name)).to_series()
        return column

    def _paths(self) -> Iterable[str]:
        return (*self.drop, *self.hash, *self.truncate)

    def _hashed(self, column: pl.Series) -> pl.Series:
        """Few values are in many rows: each is hashed once."""
        values = [v if v is None or isinstance(v, bytes) else str(v).encode() for v in column.to_list()]
        known = {v: hmac.new(self.secret, v, hashlib.sha256).hexdigest()[:SHORT] for v in set(values) - {None}}
        return pl.Series(column.name, [known.get(v) for v in values], dtype=pl.String)


def privacy(rules: Forward, topic: str, properties: dict[str, Mapping], secret: str) -> Privacy:
    """The rules for the documents of a topic, whose fields are ``properties``.

    Raises:
        ConfigError: a rule names a field there is not, or a hash has no key.
    """
    if rules.hash and not secret:
        raise ConfigError(
            "forward.hash is set and there is no key to hash with: anyone could then try all values; "
            "set HEADRACE_FORWARD_SECRET"
        )

    def of(path: str) -> list[str]:
        name, _, rest = path.partition(".")
        if name not in ("*", *FORWARDED):
            raise ConfigError(f"forward: {path!r} names no topic that is forwarded; write e.g. 'predictions.key'")
        found = name in ("*", topic) and _type(properties, rest) != ""
        if name == topic and not found:
            raise ConfigError(f"forward: {topic} has no field {rest!r}; it has {', '.join(properties)}")
        return [rest] if found else []

    def all_of(paths: Iterable[str]) -> frozenset[str]:
        return frozenset(p for path in paths for p in of(path))

    for path, length in rules.truncate.items():
        if length < 0:
            raise ConfigError(f"forward.truncate: {path!r} is cut to {length} characters; give 0 or more")
    truncate = {p: length for path, length in rules.truncate.items() for p in of(path)}
    for p in truncate:
        if _type(properties, p) not in ("keyword", "text"):
            raise ConfigError(f"forward.truncate: {topic}.{p} is no string; drop or hash it")
    return Privacy(all_of(rules.drop), all_of(rules.hash), truncate, secret.encode())


def _type(properties: dict[str, Mapping], path: str) -> str:
    name, _, rest = path.partition(".")
    if name not in properties:
        return ""
    mapping = properties[name]
    if rest:
        return _type(mapping.get("properties", {}), rest)
    return str(mapping.get("type", "object"))

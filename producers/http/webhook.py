"""A stranger's webhook to events: a file that says where each field is in the JSON that comes."""

from __future__ import annotations

import hmac
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headrace.codec.moments import UNITS, Clock
from headrace.codec.tree import parse as parse_schema
from headrace.errors import ConfigError
from headrace.producers.files.batch import Options
from headrace.producers.http.door import Event
from headrace.producers.http.encoding import JsonEncoder, exactly
from headrace.producers.http.ids import SEPARATOR
from headrace.producers.http.problem import Problem
from headrace.topics.pipeline_topics import PipelineTopics

HEADER = "header:"
_STEP = re.compile(r"""\.([A-Za-z_][\w-]*)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")
_MISSING = object()
Step = str | int


class Signature(BaseModel):
    """How a sender signs: the HMAC of the body, in hexadecimal, in a header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: str
    secret_env: str
    """The environment variable that holds the secret: it stays out of files."""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    prefix: str = ""
    """What comes before the hash in the header, e.g. ``sha256=``."""

    @cached_property
    def secret(self) -> bytes:
        found = os.environ.get(self.secret_env, "")
        if not found:
            raise ConfigError(f"the environment variable {self.secret_env} holds no secret")
        return found.encode()

    def check(self, body: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Raises Problem 401 where the body is not signed, or with another secret."""
        given = headers.get(self.header.lower().encode(), b"").decode("latin-1")
        right = self.prefix + hmac.new(self.secret, body, self.algorithm).hexdigest()
        if not hmac.compare_digest(given.lower().encode(), right.lower().encode()):
            raise Problem(401, "bad_signature", f"the header {self.header} is not the signature of the body")


class Expression(BaseModel):
    """A Polars SQL expression over the top fields of the JSON, or a value that is always the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: str | None = None
    value: str | int | float | bool | None = None
    path: str | None = None
    default: str | int | float | bool | None = None


class FieldMapping(BaseModel):
    """The file. See docs/http.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: dict[str, str | Expression] = Field(min_length=1)
    each: str = ""
    """Path of an array: an event for each of its items, whose own fields paths find behind ``@``."""
    id: str = ""
    """Path, or ``header:NAME``, of what makes a repeat recognisable."""
    zone: str = ""
    time_formats: dict[str, str] = {}
    time_units: dict[str, str] = {}
    signature: Signature | None = None

    @field_validator("time_units")
    @classmethod
    def _known_units(cls, given: dict[str, str]) -> dict[str, str]:
        for unit in given.values():
            if unit not in UNITS:
                raise ValueError(f"{unit} is no unit of time: use {', '.join(UNITS)}")
        return given


class Webhook:
    """One webhook of one pipeline.

    Args:
        topics: the pipeline's topics.
        mapping: where the fields are.
    """

    def __init__(self, topics: PipelineTopics, mapping: FieldMapping) -> None:
        self.mapping = mapping
        self.signed = mapping.signature is not None
        if mapping.signature is not None:
            _ = mapping.signature.secret
        names = [f.name for f in parse_schema(topics.pipeline.raw).fields]
        for name in (*mapping.fields, *mapping.time_formats, *mapping.time_units):
            if name.partition(".")[0] not in names:
                raise ConfigError(f"{name} is no field of the events, which have {', '.join(names)}")
        self._encoder = JsonEncoder(topics, Options(clock=_clock(mapping)))
        self._take = {name: _taker(given) for name, given in mapping.fields.items()}
        self._each = _steps(mapping.each) if mapping.each else None
        self._id = _taker(mapping.id) if mapping.id else None

    def events(self, body: bytes, headers: Mapping[bytes, bytes], caller: str, most: int) -> list[Event | Problem]:
        """The events of a body.

        Raises:
            Problem: 400, 401, 413 or 422.
        """
        if self.mapping.signature is not None:
            self.mapping.signature.check(body, headers)
        whole = exactly(body)
        items: list[Any] = [whole]
        if self._each is not None:
            found = _walk(whole, self._each)
            if not isinstance(found, list):
                raise Problem(422, "no_array", f"{self.mapping.each} is no array")
            items = found
        if len(items) > most:
            raise Problem(413, "too_many_events", f"the body holds more than {most:,} events")
        ids = [self._id_of(_Place(whole, item, headers), caller) for item in items]
        distinct = len(set(ids)) == len(ids)
        events: list[Event | Problem] = []
        for index, (item, id) in enumerate(zip(items, ids, strict=True)):
            try:
                record = self._encoder.one(self._event(_Place(whole, item, headers)))
            except Problem as e:
                events.append(e)
            else:
                events.append(Event(*record, id if distinct or not id else f"{id}{SEPARATOR}{index}"))
        return events

    def _id_of(self, place: _Place, caller: str) -> str:
        if self._id is None:
            return ""
        found = self._id(place)
        if not isinstance(found, str | int) or isinstance(found, bool) or not str(found) or len(str(found)) > 500:
            raise Problem(422, "no_id", f"{self.mapping.id} holds no id: text or a whole number is expected there")
        if not str(found).isprintable():
            raise Problem(422, "no_id", f"{self.mapping.id} holds an id with a character that is not printable")
        return f"{caller}{SEPARATOR}hook {found}"

    def _event(self, place: _Place) -> dict[str, Any]:
        event = {}
        for name, take in self._take.items():
            found = take(place)
            if found is not _MISSING:
                event[name] = found
        return event


class _Place:
    """What a field may be taken from."""

    def __init__(self, whole: Any, item: Any, headers: Mapping[bytes, bytes]) -> None:
        self.whole = whole
        self.item = item
        self.headers = headers

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The item, one row: a column for each of its fields."""
        if not isinstance(self.item, dict) or not self.item:
            raise Problem(422, "misfit", "the JSON is no object with fields")
        return pl.DataFrame([_plain(self.item)], strict=False)


def _plain(value: Any) -> Any:
    """JSON as Polars takes it: its own numbers for decimals."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | bool | int) else float(value)


def _taker(given: str | Expression) -> Any:
    """What takes a field's value from a place.

    Raises:
        ConfigError: it cannot be read.
    """
    if isinstance(given, Expression):
        told = given.model_fields_set - {"default"}
        if len(told) != 1:
            raise ConfigError("give one of path, sql and value")
        if given.sql is not None:
            return _computed(given.sql)
        if given.path is None:
            return lambda _: given.value
        take, default = _taker(given.path), given.default
        if "default" not in given.model_fields_set:
            return take

        def taken(place: _Place) -> Any:
            found = take(place)
            return default if found is _MISSING or found is None else found

        return taken
    if given.startswith(HEADER):
        name = given.removeprefix(HEADER).strip().lower().encode()
        return lambda place: place.headers[name].decode("latin-1") if name in place.headers else _MISSING
    steps = _steps(given)
    if given.startswith("@"):
        return lambda place: _walk(place.item, steps)
    return lambda place: _walk(place.whole, steps)


def _computed(sql: str) -> Any:
    try:
        expression = pl.sql_expr(sql)
    except pl.exceptions.PolarsError as e:
        raise ConfigError(f"{sql}: {e}") from None

    def take(place: _Place) -> Any:
        try:
            return place.frame.select(expression.alias("it"))["it"][0]
        except (pl.exceptions.PolarsError, OverflowError, TypeError, ValueError) as e:
            raise Problem(422, "misfit", f"{sql} cannot be computed: {str(e).splitlines()[0]}") from None

    return take


def _steps(path: str) -> list[Step]:
    """The steps of a path: ``$.a.b[0]['c d']``.

    Raises:
        ConfigError: it is none.
    """
    at, steps = 1, []
    while path[:1] in ("$", "@") and at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            break
        name, index, single, double = step.groups()
        steps.append(int(index) if index is not None else next(s for s in (name, single, double) if s is not None))
        at = step.end()
    if path[:1] not in ("$", "@") or at < len(path):
        raise ConfigError(
            f"{path!r} is no path: write $.a.b[0] or $['a b'] for the JSON, @.a for an item of `each`, header:NAME"
        )
    return steps


def _walk(value: Any, steps: Sequence[Step]) -> Any:
    """What stands at the end of a path; missing where one of its steps is."""
    for step in steps:
        there = isinstance(value, dict) and step in value
        if isinstance(step, int):
            there = isinstance(value, list) and step < len(value)
        if not there:
            return _MISSING
        value = value[step]
    return value


def _clock(mapping: FieldMapping) -> Clock:
    try:
        zone = ZoneInfo(mapping.zone) if mapping.zone else None
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"zone: there is no {mapping.zone}; write Europe/Berlin, for instance") from None
    formats = {name: (one,) for name, one in mapping.time_formats.items()}
    return Clock(zone=zone, formats=formats, units=mapping.time_units)


def read_webhook(topics: PipelineTopics, file: Path) -> Webhook:
    """The webhook of a file.

    Raises:
        ConfigError: it cannot be read; the message names the file and the place.
    """
    try:
        return Webhook(topics, FieldMapping.model_validate(tomllib.loads(file.read_text())))
    except OSError as e:
        raise ConfigError(f"webhook {file}: {e.strerror}") from None
    except ValidationError as e:
        first = e.errors()[0]
        raise ConfigError(f"webhook {file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ConfigError, ValueError) as e:
        raise ConfigError(f"webhook {file}: {e}") from None

"""The quick way for JSON events does what the encoder of the form would do, or doubts: for every type and text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec.forms import json_form
from headrace.codec.json_text import parse
from headrace.codec.misfit import Misfit
from headrace.codec.values import form_encoder
from headrace.producers.http.quick import Doubt, Quick

MILLIS, MICROS = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
TYPES: list[Any] = [
    "string",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    {"type": "enum", "name": "Via", "symbols": ["web", "app"]},
    MILLIS,
    MICROS,
]
NUMBERS = [
    "0", "-0", "0.0", "-0.0", "1e-400", "1E-400", "0." + "0" * 400 + "1", "1", "1.0", "1e3", "1.5", "0.1", "16777217",
    "16777216.5", "2147483648", "9007199254740993", "9007199254740993.0", "9223372036854775808", "18446744073709551615",
    "18446744073709551617", "1e308", "1e309", "5e-324", "1e-46", "3.5e38", "1704067200000", "1704067200000000", "5",
]  # fmt: skip
TEXTS = [
    "", "web", "app", "ü", "true", "2024-03-01T10:00:00Z", "2024-03-01T10:00:00.123Z", "2024-03-01T10:00:00.123456Z",
    "2024-03-01 10:00:00Z", "2024-03-01T10:00:00.1234567Z", "2024-W09-5T10:00:00Z", "2024-03-01T24:00:00Z",
    "2024-03-01T10:00:00,123Z", "2024-03-01T10:00:60Z", "2024-02-30T10:00:00Z", "2024-03-01T10:00:00+00:00Z",
    "2024-03-01T10:00:00+00:00", "20240301T100000.0000Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2024-060T10:00:00.0Z",
]  # fmt: skip
VALUES = [*NUMBERS, *map(json.dumps, TEXTS), '"\\ud800"', "null", "true", "false", "[]", "{}", '["a"]', '{"v":1}']


def exact(schema: dict[str, Any], text: str) -> bytes | None:
    try:
        return form_encoder(schema, json_form())(parse(text))
    except (Misfit, ValueError):
        return None


def quick(schema: dict[str, Any], text: str) -> bytes | None:
    """What the quick way writes; None: it doubts."""
    way, octets = Quick(schema), text.encode(errors="surrogatepass")
    try:
        found = way.parse(octets)
        return way.encode(found, way.sure_of_zeros(octets)) if isinstance(found, dict) else None
    except Doubt:
        return None


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_value_is_written_as_the_form_writes_it_or_is_in_doubt(kind: Any, optional: bool) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "v", "type": ["null", kind] if optional else kind}]}
    wrong = {}
    for value in VALUES:
        text = f'{{"v":{value}}}'
        found = quick(schema, text)
        if found is not None and found != exact(schema, text):
            wrong[value] = (found, exact(schema, text))
    assert wrong == {}


@pytest.mark.parametrize(
    ("kind", "value"), [*zip(TYPES, ['"a"', "true", "7", "7", "1.5", "1.5", '"web"'], strict=False)]
)
def test_what_plainly_fits_is_written_at_once(kind: Any, value: str) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "v", "type": kind}]}
    text = f'{{"v":{value}}}'
    assert quick(schema, text) == exact(schema, text) is not None


PAIR = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}]}


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", '"x"', '"y\\":"', '"\\":\\":"'])), max_size=4
    ),
    st.sampled_from(["", " ", "\t", "\n", "\r"]),
    st.sampled_from(["", " "]),
)
def test_a_name_that_comes_twice_is_never_written_at_once(
    pairs: list[tuple[str, str]], before: str, after: str
) -> None:
    text = "{" + ",".join(f'"{name}"{before}:{after}{value}' for name, value in pairs) + "}"
    found = quick(PAIR, text)
    assert found is None or found == exact(PAIR, text)


NUMBER = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "double"}, {"name": "b", "type": "float"}]}


@settings(max_examples=300)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_numbers_are_written_as_the_form_writes_them(a: float, b: int) -> None:
    for text in (f'{{"a":{a!r},"b":{b}}}', f'{{"a":{b},"b":{a!r}}}', f'{{"a":{a!r},"b":{a!r}}}'):
        found = quick(NUMBER, text)
        assert found is None or found == exact(NUMBER, text)

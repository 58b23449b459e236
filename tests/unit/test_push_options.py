"""What the options of ``headrace push`` say of a file, and what they refuse."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from headrace.cli.push import _options
from headrace.codec.moments import Clock
from headrace.errors import ConfigError
from headrace.producers.files import Options

NOTHING: dict[str, Any] = {
    "encoding": None,
    "delimiter": None,
    "date_formats": [],
    "epochs": [],
    "zone": None,
    "repeated": None,
}


def options(**given: Any) -> Options:
    return _options(**{**NOTHING, **given})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, Options()),
        ({"encoding": "latin-1", "delimiter": ";"}, Options("latin-1", ";")),
        ({"date_formats": ["%d.%m.%Y"]}, Options(clock=Clock(formats={"": ("%d.%m.%Y",)}))),
        ({"date_formats": ["at=%d.%m.%Y", "at=%Y"]}, Options(clock=Clock(formats={"at": ("%d.%m.%Y", "%Y")}))),
        ({"date_formats": ["%Y=%m"]}, Options(clock=Clock(formats={"": ("%Y=%m",)}))),
        ({"epochs": ["s", "seen=ns"]}, Options(clock=Clock(units={"": "s", "seen": "ns"}))),
        (
            {"zone": "Europe/Oslo", "repeated": "first"},
            Options(clock=Clock(zone=ZoneInfo("Europe/Oslo"), repeated="first")),
        ),
    ],
)
def test_an_option_means_what_it_says(given: dict[str, Any], meant: Options) -> None:
    assert options(**given) == meant


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"epochs": ["at=m"]}, "--epoch m: give one of s, ms, us, ns"),
        ({"zone": "Europe/Atlantis"}, "--zone Europe/Atlantis: there is no such zone"),
        ({"zone": "../etc/passwd"}, "--zone ../etc/passwd: there is no such zone"),
        ({"repeated": "both"}, "--repeated both: give first or second"),
        ({"delimiter": ";;"}, "--delimiter ';;': give one character"),
    ],
)
def test_an_option_that_means_nothing_is_refused_in_one_line(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        options(**given)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)

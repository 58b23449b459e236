"""The reference page says what the doc strings say, and everything public has one."""

from __future__ import annotations

import headrace as hr
from headrace import testing
from headrace.config import Fluentd, Search, Settings
from tests.reference import PAGE, field_docs, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.reference`"


def test_everything_public_is_on_it() -> None:
    text = page()
    assert [n for n in hr.__all__ if n != "errors" and f"### hr.{n}\n" not in text] == []
    assert [n for n in testing.__all__ if f"### testing.{n}\n" not in text] == []


def test_every_setting_says_what_it_is_for() -> None:
    for model in (Settings, Search, Fluentd):
        assert set(model.model_fields) - set(field_docs(model)) == set()

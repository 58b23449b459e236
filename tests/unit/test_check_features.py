"""A pipeline's functions are held to their contract: good ones pass, and each kind of breach is named with its row."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from headrace.declare.pipeline import Pipeline
from headrace.declare.windows import Window, rolling_sums
from headrace.errors import SchemaError
from headrace.examples.flights.data import flight_events
from headrace.examples.flights.pipeline import flights
from headrace.testing.features import ContractBroken, check_features, examine_features
from headrace.testing.pipelines import clicks, toy

pytestmark = pytest.mark.slow

CHECKS = [
    "every row can be used",
    "the same events give the same rows",
    "later events change nothing",
    "any cut into batches gives the same rows",
]


def seen(events: pl.DataFrame, *columns: pl.Expr) -> pl.DataFrame:
    """The rows the toy scores, with its features in this way."""
    return events.with_columns(columns).filter(pl.col("kind") == "seen").select("offset", "price", "seen_10m")


def toy_with(features: Callable[[pl.DataFrame], pl.DataFrame]) -> Pipeline:
    return replace(toy("toy"), features=features)


def test_the_toy_and_the_flights_keep_their_contract() -> None:
    check_features(toy("toy"), clicks(0, 600))
    days = flight_events(1).filter(pl.col("departs").dt.day() < 4)
    findings = examine_features(flights, days, cuts=2)
    assert [(f.check, f.problem) for f in findings] == [(check, "") for check in CHECKS]
    assert all(f.rows >= days.filter(pl.col("kind") == "scheduled").height for f in findings)


@pytest.mark.parametrize(
    ("column", "broken", "problem"),
    [
        (
            pl.len().over("user").cast(pl.Int64).alias("seen_10m"),
            {"later events change nothing", "any cut into batches gives the same rows"},
            r"features\(\) gives seen_10m of event \d+ as \d+ in one case and \d+ in another",
        ),
        (
            pl.int_range(pl.len()).over("user").cast(pl.Int64).alias("seen_10m"),
            {"any cut into batches gives the same rows"},
            r"Look back no further than the horizon, 0:10:00, or make it longer",
        ),
        (
            pl.col("price").map_elements(lambda _: random.getrandbits(60), pl.Int64).alias("seen_10m"),
            {
                "the same events give the same rows",
                "later events change nothing",
                "any cut into batches gives the same rows",
            },
            r"no clock, no random numbers, no state between calls",
        ),
    ],
    ids=["looks ahead", "looks back further than the horizon", "is not a function of the events"],
)
def test_a_breach_is_named_with_the_row_that_shows_it(column: pl.Expr, broken: set[str], problem: str) -> None:
    pipeline = replace(
        toy_with(lambda events: seen(events, column)), horizon=timedelta(minutes=10), lateness=timedelta()
    )
    findings = examine_features(pipeline, clicks(0, 600))
    assert {f.check for f in findings if not f.passed} == broken
    with pytest.raises(ContractBroken, match=problem):
        check_features(pipeline, clicks(0, 600))


def test_rows_that_no_model_can_take_are_named() -> None:
    pipeline = toy_with(
        lambda events: seen(
            events, pl.lit(1, pl.Int64).alias("seen_10m"), (1 / (pl.col("price") > 0.5).cast(pl.Float64)).alias("price")
        )
    )
    failed = [f for f in examine_features(pipeline, clicks(0, 100)) if not f.passed]
    assert [f.check for f in failed] == ["every row can be used"]
    assert re.search(
        r"events become dead letters, the first is row \d+: features\(\) gave price = inf", failed[0].problem
    )


def test_a_function_that_fails_is_named_with_what_it_said() -> None:
    def fails(events: pl.DataFrame) -> pl.DataFrame:
        if events.height:
            raise ValueError("no such user")
        return seen(events, pl.lit(1, pl.Int64).alias("seen_10m"))

    with pytest.raises(ContractBroken, match="a function failed on 200 events: ValueError: no such user"):
        check_features(toy_with(fails), clicks(0, 100))


def test_labels_are_held_to_it_too() -> None:
    def labels(events: pl.DataFrame) -> pl.DataFrame:
        last = events.filter(pl.col("kind") == "result").group_by("user", maintain_order=True).last()
        return last.select("offset", pl.col("bought").cast(pl.Float64).alias("label"))

    with pytest.raises(ContractBroken, match=r"labels\(\) gives a row for event \d+ in one case and none in another"):
        check_features(replace(toy("toy"), labels=labels), clicks(0, 300))


def test_events_that_do_not_fit_the_schema_are_refused() -> None:
    with pytest.raises(SchemaError, match="300 events do not fit the schema, the first is row 0"):
        check_features(toy("toy"), clicks(0, 150).with_columns(pl.lit(None, pl.String).alias("user")))


def test_a_window_by_the_horizon_passes_at_any_cut() -> None:
    windows = {"seen_10m": Window(pl.col("kind") == "seen", timedelta(minutes=10), by=("user",))}
    pipeline = toy_with(lambda events: seen(events.with_columns(rolling_sums(events, at="at", windows=windows))))
    check_features(pipeline, clicks(0, 400), cuts=20, seed=3)

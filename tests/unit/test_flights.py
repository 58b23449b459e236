"""The flights example on the real data: its events, what its features may see, and that batches do not matter."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec.types import polars_schema
from headrace.declare.pipeline import OFFSET
from headrace.declare.windows import Window, rolling_sums
from headrace.examples.flights.data import NOTICE, OLDEST_WEATHER, data_file, flight_events
from headrace.examples.flights.features import WINDOWS, labels
from headrace.examples.flights.features import features as of_rows
from headrace.examples.flights.pipeline import flights
from headrace.features.state import WindowState, with_windows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def january() -> pl.DataFrame:
    return flight_events(1)


@pytest.fixture(scope="module")
def sample(january: pl.DataFrame) -> pl.DataFrame:
    """Both events of about 400 flights of all three airports, over four days: longer than horizon and lateness."""
    days = january.filter(pl.col("departs").dt.day().is_between(7, 10))
    chosen = days["flight_id"].unique().sort().gather_every(9)
    return days.filter(pl.col("flight_id").is_in(chosen.implode()))


def logged(events: pl.DataFrame) -> pl.DataFrame:
    """The events as rows of one partition, in the order they stand."""
    return events.with_row_index(OFFSET).with_columns(pl.col(OFFSET).cast(pl.Int64))


def features(events: pl.DataFrame) -> pl.DataFrame:
    """Features of all events of one partition."""
    return of_rows(with_windows(flights, events))


def bits(rows: pl.DataFrame) -> list[tuple[str, bytes]]:
    """Every column's values to the bit."""
    return [(c.name, repr(c.to_list()).encode() if c.dtype == pl.String else c.to_numpy().tobytes()) for c in rows]


def test_january_has_each_flight_scheduled_and_landed(january: pl.DataFrame) -> None:
    assert dict(january.schema) == polars_schema(flights.raw)
    kinds = january.group_by("kind").agg(pl.len(), pl.col("flight_id").n_unique().alias("flights"))
    assert sorted(kinds.rows()) == [("landed", 27_004, 27_004), ("scheduled", 27_004, 27_004)]
    assert january.filter(pl.col("kind") == "landed")["arr_delay"].count() == 26_398


def test_events_are_in_order_of_event_time_with_ties_settled(january: pl.DataFrame) -> None:
    assert january.equals(january.sample(fraction=1.0, shuffle=True, seed=1).sort("at", "kind", "flight_id"))
    assert not january.select("at", "kind", "flight_id").is_duplicated().any()


def test_a_flight_is_scheduled_two_hours_before_it_departs_and_lands_after(january: pl.DataFrame) -> None:
    scheduled, landed = (january.filter(pl.col("kind") == kind) for kind in ("scheduled", "landed"))
    assert scheduled.filter(pl.col("at") != pl.col("departs") - NOTICE).is_empty()
    assert landed.filter(pl.col("at") <= pl.col("departs")).is_empty()


def test_a_scheduled_event_says_nothing_of_how_the_flight_went(january: pl.DataFrame) -> None:
    scheduled = january.filter(pl.col("kind") == "scheduled")
    assert scheduled["arr_delay"].null_count() == scheduled.height
    assert not scheduled["cancelled"].any()


def test_a_landing_has_a_delay_unless_it_never_came(january: pl.DataFrame) -> None:
    landed = january.filter(pl.col("kind") == "landed")
    assert landed.filter(pl.col("arr_delay").is_null() != pl.col("cancelled")).is_empty()


def test_weather_is_the_last_reported_by_then(sample: pl.DataFrame) -> None:
    path = data_file("weather.csv")
    reported = pl.read_csv(path, null_values=["NA"], infer_schema_length=None).select(
        "origin", "temp", pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC").alias("hour")
    )
    known = sample.join(reported, on="origin", suffix="_reported").filter(
        pl.col("hour") <= pl.col("at"), pl.col("hour") >= pl.col("at").dt.offset_by(f"-{OLDEST_WEATHER}")
    )
    last = known.sort("hour").group_by("flight_id", "kind").agg(pl.col("temp_reported").last())
    joined = sample.join(last, on=["flight_id", "kind"], how="left")
    assert joined.filter(pl.col("temp").ne_missing(pl.col("temp_reported"))).is_empty()
    assert joined["temp"].count() > 700


def test_a_label_is_whether_the_flight_arrived_fifteen_minutes_late(sample: pl.DataFrame) -> None:
    rows = logged(sample)
    wanted = {
        row[OFFSET]: float(row["arr_delay"] >= 15)
        for row in rows.iter_rows(named=True)
        if row["kind"] == "landed" and row["arr_delay"] is not None
    }
    assert dict(labels(rows).rows()) == wanted
    assert set(wanted.values()) == {0.0, 1.0}


def test_features_are_finite_and_survive_32_bits(january: pl.DataFrame) -> None:
    made = features(logged(january))
    assert made.height == 27_004
    numbers = made.select(pl.col(c).cast(pl.Float64) for c in flights.inputs)
    assert numbers.select(pl.all_horizontal(pl.all().is_finite().all())).item()
    lost = numbers.select((pl.all() - pl.all().cast(pl.Float32).cast(pl.Float64)).abs().max())
    assert max(lost.row(0)) < 1e-4


@given(st.data())
@settings(max_examples=20)
def test_how_flights_go_after_a_moment_changes_no_feature_before_it(sample: pl.DataFrame, data: st.DataObject) -> None:
    moment = sample["at"][data.draw(st.integers(1, sample.height - 1))]
    cancel = data.draw(st.booleans())
    later = (pl.col("kind") == "landed") & (pl.col("at") > moment)
    went_otherwise = sample.with_columns(
        pl.when(later).then(pl.col("at") + timedelta(hours=2)).otherwise(pl.col("at")).alias("at"),
        pl.when(later).then(pl.lit(cancel)).otherwise("cancelled").alias("cancelled"),
        pl.when(later)
        .then(None if cancel else pl.col("arr_delay").fill_null(0) + 120)
        .otherwise("arr_delay")
        .alias("arr_delay"),
    ).sort("at", "kind", "flight_id")
    before, after = (_features_until(moment, events) for events in (sample, went_otherwise))
    assert bits(before) == bits(after)


def test_how_flights_went_before_does_change_features(sample: pl.DataFrame) -> None:
    all_late = sample.with_columns(pl.when(pl.col("arr_delay").is_not_null()).then(120.0).alias("arr_delay"))
    differ = [
        a for a, b in zip(bits(features(logged(sample))), bits(features(logged(all_late))), strict=True) if a != b
    ]
    assert {name for name, _ in differ} == {
        "late_share_1h",
        "late_share_3h",
        "airline_late_share_6h",
        "route_late_share_24h",
    }


@given(st.data())
@settings(max_examples=30)
def test_features_are_the_same_to_the_bit_however_the_log_is_cut(sample: pl.DataFrame, data: st.DataObject) -> None:
    limit = int(flights.lateness.total_seconds()) - 1
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    arrives = [at + timedelta(seconds=chance.choice((0, 0, 0, chance.randint(0, limit)))) for at in sample["at"]]
    log = logged(
        sample.with_columns(pl.Series("arrives", arrives)).sort("arrives", maintain_order=True).drop("arrives")
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, log.height - 1), max_size=12)))
    state = WindowState(flights)
    pieces = []
    for start, stop in zip([0, *cuts], [*cuts, log.height], strict=True):
        rows, refused = state.with_windows(log[start:stop])
        assert refused == {}
        state.went_through(stop - 1)
        pieces.append(of_rows(rows))
    assert bits(pl.concat(pieces)) == bits(features(log))


def test_windows_have_the_values_that_rolling_sums_over_the_whole_log_have(january: pl.DataFrame) -> None:
    log = logged(january)
    counted = {
        name: Window(w.where, w.within, w.by)
        for name, w in WINDOWS.items()
        if w.where is not None and w.within is not None
    }
    assert counted.keys() == WINDOWS.keys()
    assert with_windows(flights, log).select(*WINDOWS).equals(rolling_sums(log, at="at", windows=counted))


def _features_until(moment: datetime, events: pl.DataFrame) -> pl.DataFrame:
    """Feature rows of the flights scheduled by the moment; offsets aside, as other rows may come between."""
    rows = logged(events)
    made = features(rows).join(rows.select(OFFSET, "flight_id", "at"), on=OFFSET, maintain_order="left")
    return made.filter(pl.col("at") <= moment).drop(OFFSET, "at").sort("flight_id")

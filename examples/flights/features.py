"""Features and labels of flights: pure functions over one partition's events in log order.

Everything here is known two hours before departure. Nothing from after the moment of scoring is used: no
actual departure, no air time, no arrival of the flight itself.
"""

from __future__ import annotations

import polars as pl

from headrace.declare.aggregations import Count

LATE_MINUTES = 15
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
DESTINATIONS = [
    "ABQ",
    "ACK",
    "ALB",
    "ANC",
    "ATL",
    "AUS",
    "AVL",
    "BDL",
    "BGR",
    "BHM",
    "BNA",
    "BOS",
    "BQN",
    "BTV",
    "BUF",
    "BUR",
    "BWI",
    "BZN",
    "CAE",
    "CAK",
    "CHO",
    "CHS",
    "CLE",
    "CLT",
    "CMH",
    "CRW",
    "CVG",
    "DAY",
    "DCA",
    "DEN",
    "DFW",
    "DSM",
    "DTW",
    "EGE",
    "EYW",
    "FLL",
    "GRR",
    "GSO",
    "GSP",
    "HDN",
    "HNL",
    "HOU",
    "IAD",
    "IAH",
    "ILM",
    "IND",
    "JAC",
    "JAX",
    "LAS",
    "LAX",
    "LEX",
    "LGA",
    "LGB",
    "MCI",
    "MCO",
    "MDW",
    "MEM",
    "MHT",
    "MIA",
    "MKE",
    "MSN",
    "MSP",
    "MSY",
    "MTJ",
    "MVY",
    "MYR",
    "OAK",
    "OKC",
    "OMA",
    "ORD",
    "ORF",
    "PBI",
    "PDX",
    "PHL",
    "PHX",
    "PIT",
    "PSE",
    "PSP",
    "PVD",
    "PWM",
    "RDU",
    "RIC",
    "ROC",
    "RSW",
    "SAN",
    "SAT",
    "SAV",
    "SBN",
    "SDF",
    "SEA",
    "SFO",
    "SJC",
    "SJU",
    "SLC",
    "SMF",
    "SNA",
    "SRQ",
    "STL",
    "STT",
    "SYR",
    "TPA",
    "TUL",
    "TVC",
    "TYS",
    "XNA",
]
# What stands in for weather that was not reported: the year's usual values.
USUAL_WEATHER = {
    "temp": 55.0,
    "dewp": 42.0,
    "humid": 62.0,
    "wind_speed": 10.0,
    "wind_gust": 0.0,
    "precip": 0.0,
    "pressure": 1018.0,
    "visib": 10.0,
}
PRIOR_LATE, PRIOR_FLIGHTS = 0.22, 8
"""A share of late arrivals over few flights leans on the year's usual share, as if from so many flights more."""


_LANDED = pl.col("kind") == "landed"
_ARRIVED = _LANDED & ~pl.col("cancelled")
_LATE = _ARRIVED & (pl.col("arr_delay") >= LATE_MINUTES)
_AIRLINE, _ROUTE = ("origin", "carrier"), ("origin", "dest")
WINDOWS = {
    "departures_1h": Count(pl.col("kind") == "scheduled", within="1h", by="origin"),
    "cancelled_3h": Count(_LANDED & pl.col("cancelled"), within="3h", by="origin"),
    "arrived_1h": Count(_ARRIVED, within="1h", by="origin"),
    "late_1h": Count(_LATE, within="1h", by="origin"),
    "arrived_3h": Count(_ARRIVED, within="3h", by="origin"),
    "late_3h": Count(_LATE, within="3h", by="origin"),
    "airline_arrived_6h": Count(_ARRIVED, within="6h", by=_AIRLINE),
    "airline_late_6h": Count(_LATE, within="6h", by=_AIRLINE),
    "route_arrived_24h": Count(_ARRIVED, within="24h", by=_ROUTE),
    "route_late_24h": Count(_LATE, within="24h", by=_ROUTE),
}
"""How busy an airport is and how late its flights run, over the events before each."""


def features(events: pl.DataFrame) -> pl.DataFrame:
    """One row per ``scheduled`` event: calendar, route, weather, congestion, and how late flights are running."""
    return events.filter(pl.col("kind") == "scheduled").select(
        "offset",
        "local_minute",
        "local_weekday",
        _code("origin", ORIGINS),
        _code("carrier", CARRIERS),
        _code("dest", DESTINATIONS),
        "distance",
        "duration",
        *(pl.col(name).fill_null(usual) for name, usual in USUAL_WEATHER.items()),
        "departures_1h",
        "cancelled_3h",
        _share("late_1h", "arrived_1h").alias("late_share_1h"),
        _share("late_3h", "arrived_3h").alias("late_share_3h"),
        "arrived_3h",
        _share("airline_late_6h", "airline_arrived_6h").alias("airline_late_share_6h"),
        _share("route_late_24h", "route_arrived_24h").alias("route_late_share_24h"),
        "carrier",
        "origin",
    )


def labels(events: pl.DataFrame) -> pl.DataFrame:
    """1 for a flight that arrived 15 minutes late or more, else 0; none for one that never arrived."""
    return events.filter((pl.col("kind") == "landed") & pl.col("arr_delay").is_not_null()).select(
        "offset", (pl.col("arr_delay") >= LATE_MINUTES).cast(pl.Float64).alias("label")
    )


def _code(name: str, known: tuple[str, ...] | list[str]) -> pl.Expr:
    """A fixed number for each known name, 0 for any other."""
    codes = {k: i for i, k in enumerate(known, start=1)}
    return pl.col(name).replace_strict(codes, default=0, return_dtype=pl.Int64).alias(f"{name}_code")


def _share(late: str, of: str) -> pl.Expr:
    return (pl.col(late) + PRIOR_LATE * PRIOR_FLIGHTS) / (pl.col(of) + PRIOR_FLIGHTS)

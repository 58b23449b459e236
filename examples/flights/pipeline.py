"""The flights pipeline, as a user declares one."""

from __future__ import annotations

from datetime import timedelta

from headrace.declare.drift import Drift
from headrace.declare.pipeline import Pipeline
from headrace.declare.raw_schema import schema
from headrace.declare.target import Binary
from headrace.declare.training import Training
from headrace.examples.flights.features import USUAL_WEATHER, WINDOWS, features, labels

flights = Pipeline(
    name="flights",
    raw=schema("flight_event.avsc", beside=__file__),
    key="origin",
    id="flight_id",
    event_time="at",
    features=features,
    labels=labels,
    target=Binary("delayed"),
    windows=WINDOWS,
    label_horizon=timedelta(days=2),
    categorical=("origin_code", "carrier_code", "dest_code", "local_weekday"),
    groups=("carrier", "origin"),
    training=Training(validation=timedelta(days=7), every=timedelta(days=40)),
    # Weather moves from week to week, and one late hour is no drift; how the day runs is what counts.
    drift=Drift(psi=0.5, ignore=(*USUAL_WEATHER, "late_share_1h"), cooldown=timedelta(days=28)),
)

"""Which event times run ahead of the log's own clock, so that one fast clock makes nothing else late.

Windows, horizons and lateness follow the newest event time of a partition. Unchecked, one event stamped years ahead
would move it there, and every honest event after it would be late. So an event time may be ahead of its record's
timestamp, which Kafka keeps with the record, by a stated span and no more. The rule looks at one record alone: it
depends on no batch, no restart and no neighbour, needs no state, lets honest gaps of any length and replays of old
events pass, and judges a record as soon as it is read. A rule over neighbours would have to hold a record back until
the next one comes, to tell a gap from an odd clock.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from headrace.kafka.log import Chunk

WORKER_CLOCKS = timedelta(days=1)
"""Allowed besides to records that workers wrote: their timestamps are those of the worker's clock, which may be slow,
and their event times were held against those of the raw events."""
_LONG_AGO = -(2**62)

Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


def ahead(batch: Chunk, places: Places, times: pl.Series, allowed: timedelta) -> Mask:
    """Which event times are further ahead of their record's timestamp than is allowed, (n,).

    Args:
        batch: the records, with their timestamps; without them, and where a record has none, none is ahead.
        places: the record of each time, (n,).
        times: Datetime; a null is not ahead.
        allowed: the span.
    """
    if batch.timestamps is None or not any_ahead(batch, times, allowed):
        return np.zeros(len(places), dtype=np.bool_)
    stamps = batch.timestamps[places]
    # In milliseconds, which leave room to add to where microseconds do not.
    millis = _micros(times).fill_null(_LONG_AGO).to_numpy() // 1000
    found: Mask = (stamps >= 0) & (millis > stamps + _millis_of(allowed))
    return found


def any_ahead(batch: Chunk, times: pl.Series, allowed: timedelta) -> bool:
    """Whether any of the times may be ahead, from the newest of them and the batch's oldest timestamp alone."""
    newest = _micros(times).max()
    if batch.timestamps is None or not len(batch) or not isinstance(newest, int):
        return False
    oldest = int(batch.timestamps.min())
    return oldest < 0 or newest // 1000 > oldest + _millis_of(allowed)


def _micros(times: pl.Series) -> pl.Series:
    return times.cast(pl.Datetime("us", "UTC")).to_physical()


def _millis_of(span: timedelta) -> int:
    """A span in whole milliseconds, rounded up, as timestamps are."""
    return -(-span // timedelta(milliseconds=1))


def early(places: Places, what: str, allowed: timedelta) -> list[tuple[int, str, str]]:
    """Places, code and reason of dead letters: the time that is ahead is ``what``."""
    why = (
        f"its {what} is more than {allowed} ahead of the time at which its record was written to Kafka: the clock it "
        "comes from runs ahead (the pipeline's clock_ahead allows more)"
    )
    return [(place, "implausible_time", why) for place in places.tolist()]

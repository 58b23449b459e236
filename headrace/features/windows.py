"""The windows of one partition: rows come in by batches, and each row's values do not show where a batch began."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from headrace.declare.aggregations import Aggregate
from headrace.errors import HeadraceError
from headrace.features.chains import Ints, Table
from headrace.features.in_python import PythonWindow
from headrace.features.lane import Lane, LanePlan
from headrace.features.moving import OVERFLOW, VALUE
from headrace.features.plan import Out, WindowPlan, counts

Refused = list[tuple[int, str]]
"""Rows, by their place, and why they are refused."""
_BEGINNING = -(2**62)


class WindowFailed(HeadraceError):
    """The code of a window failed in the middle: what is held is of no use any more, and is made again from the log."""


class PartitionWindows:
    """The state of a pipeline's windows over one partition."""

    def __init__(self, plan: WindowPlan, event_time: str, lateness: int) -> None:
        """
        Args:
            plan: the windows.
            event_time: column of the rows' time.
            lateness: microseconds that a row may be behind the newest before it.
        """
        self._plan, self._event_time, self._lateness = plan, event_time, lateness
        self._lanes = [Lane(lane) for lane in plan.lanes]
        self._python = [PythonWindow(window) for window in plan.kept]
        self._newest = _BEGINNING
        self._failed = False

    @property
    def groups(self) -> int:
        """How many groups there are, over all windows."""
        return sum(lane.groups for lane in self._lanes) + sum(window.groups for window in self._python)

    @property
    def bytes(self) -> int:
        """What the compiled windows take."""
        return sum(lane.bytes for lane in self._lanes)

    def take(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Refused]:
        """Take in rows in the log's order, none later than the lateness allows.

        Expressions of the user's fail before anything has changed.

        Returns:
            A column for each window, n rows: its value before the row came; and the rows refused, of which those
            with a value that no window can take do not count.

        Raises:
            WindowFailed: an algebra failed in the middle, now or before.
        """
        given = rows.select(self._given())
        unfit = self._unfit(given)
        fit = np.ones(rows.height, dtype=np.bool_)
        fit[[place for place, _ in unfit]] = False
        if not unfit:
            return self._all_taken(rows, given)
        columns, refused = self._all_taken(rows.filter(pl.Series(fit)), given.filter(pl.Series(fit)))
        places = np.flatnonzero(fit)
        index = pl.DataFrame({"place": places}).hstack(columns)
        columns = pl.DataFrame({"place": np.arange(rows.height)}).join(index, on="place", how="left").drop("place")
        return columns, sorted(unfit + [(int(places[place]), why) for place, why in refused])

    def _given(self) -> list[pl.Expr]:
        """All that the windows need of the rows."""
        masks = [e.alias(f"mask {i} {k}") for i, lane in enumerate(self._plan.lanes) for k, e in enumerate(lane.masks)]
        values = [
            e.alias(f"value {i} {k}")
            for i, lane in enumerate(self._plan.lanes)
            for k, (e, _) in enumerate(lane.columns)
        ]
        kept = self._plan.kept
        of_python = [counts(w).alias(f"counts {i}") for i, w in enumerate(kept)]
        of_python += [w.value.alias(f"kept {i}") for i, w in enumerate(kept) if w.value is not None]
        # Of a literal alone, a frame has one row.
        return [pl.col(self._event_time).alias("time"), *masks, *values, *of_python]

    def _unfit(self, given: pl.DataFrame) -> Refused:
        """The rows with a value that counts and that a window cannot take."""
        found: dict[int, str] = {}
        for i, lane in enumerate(self._plan.lanes):
            floats = [k for k, (_, floats) in enumerate(lane.columns) if floats]
            for k in floats:
                value = given[f"value {i} {k}"]
                odd = (~value.is_finite()).fill_null(False)
                if odd.any():
                    counted = pl.any_horizontal(f"mask {i} {bit}" for bit in lane.bits_of(k))
                    of_use = given.select(counted=counted)["counted"].to_numpy()
                    for place in np.flatnonzero(odd.to_numpy() & of_use).tolist():
                        found.setdefault(place, f"a window's value is {value[place]}, no finite number")
        for i, window in enumerate(self._plan.kept):
            values, comes = given[f"kept {i}"], given[f"counts {i}"]
            if values.dtype.is_float():
                odd = (~values.is_finite() & comes).fill_null(False)
                for place in odd.arg_true().to_list():
                    found.setdefault(place, f"a window's value is {values[place]}, no finite number")
            if isinstance(window, Aggregate):
                for place in comes.arg_true().to_list():
                    try:
                        window.algebra.add(window.algebra.zero(), values[place])
                    except Exception as e:  # noqa: BLE001 - the user's own code
                        found.setdefault(place, f"the algebra of a window cannot take {values[place]!r}: {e}")
        return list(found.items())

    def _all_taken(self, rows: pl.DataFrame, given: pl.DataFrame) -> tuple[pl.DataFrame, Refused]:
        if self._failed:
            raise WindowFailed("a window failed before, and what it holds is of no use: start again from the log")
        self._failed = True
        time = given["time"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy(writable=True)
        newest = np.maximum(np.maximum.accumulate(time), self._newest)
        settled = newest - self._lateness
        lanes = [
            lane.take(rows, time, settled, *_coming(given, i, plan))
            for i, (lane, plan) in enumerate(zip(self._lanes, self._plan.lanes, strict=True))
        ]
        kept = [
            state.take(rows, time, settled, given[f"counts {i}"].to_list(), given[f"kept {i}"].to_list())
            for i, state in enumerate(self._python)
        ]
        self._newest = int(newest[-1]) if len(newest) else self._newest
        self._failed = False
        return self._columns(lanes, kept)

    def _columns(self, lanes: list[tuple[Table, np.ndarray]], kept: list[list[Any]]) -> tuple[pl.DataFrame, Refused]:
        made: dict[str, pl.Series] = {}
        refused: Refused = []
        for name, out in self._plan.outs.items():
            if out.lane < 0:
                made[name], wrong = _of_python(out, kept[out.out])
            else:
                ints, found = lanes[out.lane]
                made[name], wrong = _of_lane(out, ints[out.out], found[out.out])
            refused += [(place, f"window {name.split(' / ')[0]!r}: {why}") for place, why in wrong]
        for name, (of, to) in self._plan.ratios.items():
            below = made[to].cast(pl.Float64)
            made[name] = made[of].cast(pl.Float64) / below.set(below == 0, None)
        columns = pl.DataFrame([made[name].alias(name) for name in self._plan.dtypes])
        return columns, list(dict(reversed(refused)).items())


def _coming(given: pl.DataFrame, number: int, lane: LanePlan) -> tuple[Ints, Table]:
    """Masks (n,) and values (columns, n) of the rows for a lane."""
    mask = np.zeros(given.height, dtype=np.int64)
    for k in range(len(lane.masks)):
        mask |= given[f"mask {number} {k}"].to_numpy().astype(np.int64) << k
    values = np.zeros((len(lane.columns), given.height), dtype=np.int64)
    for k, (_, floats) in enumerate(lane.columns):
        column = given[f"value {number} {k}"]
        if floats:
            doubles = column.cast(pl.Float64).fill_null(0.0).to_numpy()
            # Those that are no finite numbers do not count.
            values[k] = np.where(np.isfinite(doubles), doubles, 0.0).view(np.int64)
        else:
            values[k] = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    return mask, values


def _of_lane(out: Out, bits: Ints, found: np.ndarray) -> tuple[pl.Series, Refused]:
    as_floats = out.dtype.is_float()
    column = pl.Series(bits.view(np.float64) if as_floats else bits).cast(out.dtype)
    if (found == VALUE).all():
        return column, []
    column = column.set(pl.Series(found != VALUE), None)
    return column, [(int(place), "its sum is out of range") for place in np.flatnonzero(found == OVERFLOW)]


def _of_python(out: Out, values: list[Any]) -> tuple[pl.Series, Refused]:
    wrong = [(place, f"{type(v).__name__}: {v}") for place, v in enumerate(values) if isinstance(v, Exception)]
    for place, _ in wrong:
        values[place] = None
    return pl.Series(values, dtype=out.dtype), wrong

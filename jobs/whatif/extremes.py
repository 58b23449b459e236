"""The single rows on which the candidate is furthest from production, for better and for worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from headrace.jobs.whatif.figures import JUDGED, MODELS, log_losses
from headrace.jobs.whatif.rows import by

SHOWN = 20
_PLACE = ("p", "o")


@dataclass(frozen=True)
class Extreme:
    """One row.

    Attributes:
        id: the event's.
        at: partition:offset on the features topic.
        seen: a model's training or validation had read it.
        excess: the candidate's log loss less production's.
    """

    id: str
    at: str
    event_time: datetime
    groups: dict[str, str | None]
    production: float
    candidate: float
    label: int
    seen: bool
    excess: float


@dataclass(frozen=True)
class Extremes:
    """Rows worst first, and best first."""

    worst: tuple[Extreme, ...]
    best: tuple[Extreme, ...]


def furthest(rows: pl.DataFrame, count: int = SHOWN) -> pl.DataFrame:
    """The rows that can be among the ``count`` worst or best, whichever rows are judged in the end.

    Of two parts together they are those of what was found of each: so they can be kept while the log is read.
    """
    judged = rows.filter(JUDGED) if "excess" in rows.columns else _with_excess(rows.filter(JUDGED))
    fresh = ~(pl.col("seen") | pl.col("known"))
    parts = [
        side.sort(["excess", *_PLACE], descending=[down, False, False]).head(count)
        for part in (judged.filter(fresh), judged.filter(~fresh))
        for down, side in ((True, part.filter(pl.col("excess") > 0)), (False, part.filter(pl.col("excess") < 0)))
    ]
    return pl.concat(parts)


def extremes(found: pl.DataFrame, groups: Sequence[str], count: int = SHOWN) -> Extremes:
    """The ``count`` worst and best of what :func:`furthest` found; rows on which both are equal are neither."""
    worst, best = (
        found.filter(side).sort(["excess", *_PLACE], descending=[down, False, False]).head(count)
        for down, side in ((True, pl.col("excess") > 0), (False, pl.col("excess") < 0))
    )
    return Extremes(*(tuple(_extreme(row, groups) for row in part.iter_rows(named=True)) for part in (worst, best)))


def _with_excess(judged: pl.DataFrame) -> pl.DataFrame:
    y = judged["label"].to_numpy().astype(np.float64)
    p, c = (log_losses(y, judged[name].to_numpy().astype(np.float64)) for name in MODELS)
    return judged.with_columns(pl.Series("excess", c - p, dtype=pl.Float64))


def _extreme(row: dict[str, object], groups: Sequence[str]) -> Extreme:
    return Extreme(
        id=row["id"],  # type: ignore[arg-type]
        at=f"{row['p']}:{row['o']}",
        event_time=row["time"],  # type: ignore[arg-type]
        groups={g: row[by(g)] for g in groups},  # type: ignore[misc]
        production=row["production"],  # type: ignore[arg-type]
        candidate=row["candidate"],  # type: ignore[arg-type]
        label=int(row["label"]),  # type: ignore[call-overload]
        seen=bool(row["seen"] or row["known"]),
        excess=row["excess"],  # type: ignore[arg-type]
    )

"""The what-if report as data, and how it is drawn up from rows: nothing here reads the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import polars as pl

from headrace.jobs.whatif.curves import Curves, curves
from headrace.jobs.whatif.decisions import Flips, Shift, flips, shift
from headrace.jobs.whatif.extremes import Extremes, extremes, furthest
from headrace.jobs.whatif.figures import COMPARED, JUDGED, LABELLED, Comparison, compare
from headrace.jobs.whatif.rows import PLACES, schema
from headrace.jobs.whatif.slices import Group, OverTime, by_group, over_time
from headrace.schema.records import ModelManifest

FRESH = ~(pl.col("seen") | pl.col("known"))
Basis = Literal["fresh", "all"]


@dataclass(frozen=True)
class Asked:
    """The question.

    Attributes:
        pipeline: its name.
        candidate: the candidate's manifest.
        since, until: when the records came to the log; None: no limit.
        ranges: partition -> offsets of the features topic that this comes to, from the first to before the second.
        threshold: score from which a decision is yes.
        same_schema: the candidate was trained on the features schema that the pipeline has now.
    """

    pipeline: str
    candidate: ModelManifest
    since: datetime | None
    until: datetime | None
    ranges: Mapping[int, tuple[int, int]]
    threshold: float
    same_schema: bool


@dataclass(frozen=True)
class Counts:
    """Features records.

    Attributes:
        records: all of them.
        damaged: records that cannot be decoded; they are not among ``records``.
        answered: with an answer of production.
        unfit: for which the candidate has no score: a feature, or the score itself, is NaN or infinite.
        compared: with a score of both.
        labelled: with a label of 0 or 1.
        odd_labels: with another label.
        judged: with a label of 0 or 1 and a score of both.
        early: of the judged rows that neither model had read, those from before the end of the candidate's validation.
    """

    records: int
    damaged: int
    answered: int
    unfit: int
    compared: int
    labelled: int
    odd_labels: int
    judged: int
    early: int


@dataclass(frozen=True)
class Answered:
    """A model that answered in production, how many records, and the share of all answers."""

    model_id: str
    records: int
    share: float


@dataclass(frozen=True)
class Overall:
    """Both models on the judged rows, apart by who had read a row in training or validation; None: no such rows.

    Attributes:
        fresh: neither the candidate nor the model that answered.
        seen: the candidate.
        known: the model that answered, and not the candidate.
        all: all of them.
    """

    fresh: Comparison | None
    seen: Comparison | None
    known: Comparison | None
    all: Comparison | None


@dataclass(frozen=True)
class Report:
    """What would have been, under the candidate.

    ``basis``: the rows that the headline, groups, calibration, flips' worth and extremes are about: the fresh ones, or
    all judged rows where there are no fresh ones. ``over_time`` is about all judged rows.
    """

    asked: Asked
    counts: Counts
    event_times: tuple[datetime, datetime] | None
    models: tuple[Answered, ...]
    overall: Overall
    basis: Basis
    over_time: OverTime | None
    groups: tuple[Group, ...]
    flips: Flips
    shift: Shift | None
    extremes: Extremes
    curves: Curves

    @property
    def headline(self) -> Comparison | None:
        """The comparison to go by."""
        return self.overall.fresh if self.basis == "fresh" else self.overall.all

    def plain(self) -> dict[str, Any]:
        """The report as JSON takes it; what there is no figure for is null."""
        found: dict[str, Any] = _plain(asdict(self))
        manifest = self.asked.candidate
        found["asked"]["candidate"] = {
            "model_id": manifest.model_id,
            "algorithm": manifest.algorithm,
            "examples": manifest.lineage.records,
            "train_until": manifest.lineage.train_until.isoformat(),
            "validation_until": manifest.lineage.validation_until.isoformat(),
            "ranges": [r.model_dump() for r in manifest.lineage.ranges],
        }
        found["verdict"] = self.headline.verdict if self.headline else None
        return found


@dataclass
class Gathering:
    """Rows as they are read, each cut down to what the report needs once it is no longer one of the furthest.

    A million rows of a pipeline with two groups are 32 MB here (measured; 75 MB of the process, with what the chunks
    leave free), and drawing them up takes 130 MB beside.
    """

    groups: Sequence[str]
    damaged: int = 0
    _kept: list[pl.DataFrame] = field(default_factory=list)
    _furthest: list[pl.DataFrame] = field(default_factory=list)

    def add(self, rows: pl.DataFrame, damaged: int = 0) -> None:
        """Take rows; see :func:`headrace.jobs.whatif.rows.schema`."""
        self.damaged += damaged
        self._kept.append(rows.drop(PLACES))
        self._furthest = [furthest(pl.concat([*self._furthest, furthest(rows)]))]

    def gathered(self) -> Gathered:
        """Everything taken."""
        none = schema(self.groups).to_frame()
        kept = pl.concat([none.drop(PLACES), *self._kept])
        return Gathered(kept, self._furthest[0] if self._furthest else furthest(none), self.damaged)


class Gathered(NamedTuple):
    """Rows without their places, the furthest of them with their places, and how many could not be decoded."""

    rows: pl.DataFrame
    furthest: pl.DataFrame
    damaged: int


def draw_up(asked: Asked, gathered: Gathered, groups: Sequence[str]) -> Report:
    """Draw up the report."""
    rows = gathered.rows
    compared = rows.filter(COMPARED)
    judged = compared.filter(JUDGED)
    fresh = judged.filter(FRESH)
    seen, known = judged.filter("seen"), judged.filter("known", ~pl.col("seen"))
    overall = Overall(*map(compare, (fresh, seen, known, judged)))
    basis: Basis = "fresh" if fresh.height else "all"
    chosen, furthest_rows = fresh, gathered.furthest.filter(FRESH)
    if basis == "all":
        chosen, furthest_rows = judged, gathered.furthest
    return Report(
        asked,
        _counts(asked, gathered, compared, judged, fresh),
        _event_times(rows),
        _models(rows),
        overall,
        basis,
        over_time(judged),
        tuple(by_group(chosen, g) for g in groups),
        flips(compared, chosen, asked.threshold),
        shift(compared),
        extremes(furthest_rows, groups),
        curves(compared, chosen),
    )


def _counts(
    asked: Asked, gathered: Gathered, compared: pl.DataFrame, judged: pl.DataFrame, fresh: pl.DataFrame
) -> Counts:
    rows = gathered.rows
    labelled = rows.filter(LABELLED).height
    return Counts(
        records=rows.height,
        damaged=gathered.damaged,
        answered=rows.height - rows["model"].null_count(),
        unfit=rows["candidate"].null_count(),
        compared=compared.height,
        labelled=labelled,
        odd_labels=rows.height - rows["label"].null_count() - labelled,
        judged=judged.height,
        early=fresh.filter(pl.col("time") < asked.candidate.lineage.validation_until).height,
    )


def _event_times(rows: pl.DataFrame) -> tuple[datetime, datetime] | None:
    first, last = rows["time"].min(), rows["time"].max()
    return (first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def _models(rows: pl.DataFrame) -> tuple[Answered, ...]:
    models = rows.select(pl.col("model").cast(pl.String)).drop_nulls()
    counts = models.group_by("model").len().sort(["len", "model"], descending=[True, False])
    return tuple(Answered(model, n, n / models.height) for model, n in counts.iter_rows())


def _plain(value: object) -> Any:
    match value:
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case datetime():
            return value.isoformat()
        case ModelManifest():
            return None
        case _:
            return value

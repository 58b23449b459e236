"""What differs between two versions: their schemas, their counts, and how each column's values are spread."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headrace.jobs.versions.manifest import VersionManifest
from headrace.jobs.versions.parquet import decoded_columns
from headrace.models.psi import baseline_of, binned, psi
from headrace.schema.records import FeatureBaseline

SHOWN = 3
CATEGORIES = 50
"""Categories of a column that the index is over; the rest count as one."""


@dataclass(frozen=True)
class Spread:
    """How the values of one column of one version are spread.

    Attributes:
        nulls: share of records without a value, those aside that are of another type or damaged.
        mean, std: of numbers that are finite.
        first, last: of times.
        top: the most frequent texts or truth values with their shares.
    """

    nulls: float
    mean: float | None = None
    std: float | None = None
    first: str | None = None
    last: str | None = None
    top: list[tuple[str, float]] | None = None


@dataclass(frozen=True)
class ColumnDiff:
    """One column of both versions; ``psi``: population stability index of the second against the first."""

    name: str
    dtype: str
    one: Spread
    two: Spread
    psi: float | None


@dataclass(frozen=True)
class Diff:
    """What differs between two versions."""

    records: tuple[int, int]
    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, tuple[str, str]]
    columns: list[ColumnDiff]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def diff(one: tuple[Path, VersionManifest], two: tuple[Path, VersionManifest]) -> Diff:
    """Compare two versions, given as their folders and manifests. One column at a time is in memory."""
    first, second = (decoded_columns(manifest.avro_schema) for _, manifest in (one, two))
    both = {name: dtype for name, dtype in first.items() if second.get(name) == dtype}
    return Diff(
        records=(one[1].records, two[1].records),
        added={name: str(t) for name, t in second.items() if name not in first},
        removed={name: str(t) for name, t in first.items() if name not in second},
        changed={n: (str(t), str(second[n])) for n, t in first.items() if n in second and second[n] != t},
        columns=[_compared(name, dtype, _values(one, name), _values(two, name)) for name, dtype in both.items()],
    )


def _values(version: tuple[Path, VersionManifest], name: str) -> tuple[pl.Series, float]:
    """A column's values without nulls, and the share of nulls among the records that were decoded."""
    folder, manifest = version
    files = [folder / f.name for p in manifest.partitions for f in p.files]
    if not files:
        return pl.Series(name, [], dtype=decoded_columns(manifest.avro_schema)[name]), 0.0
    found = pl.scan_parquet(files).select(name).collect().get_column(name)
    decoded = manifest.records - manifest.undecoded
    present = found.drop_nulls()
    return present, 1 - len(present) / decoded if decoded else 0.0


def _compared(name: str, dtype: pl.DataType, one: tuple[pl.Series, float], two: tuple[pl.Series, float]) -> ColumnDiff:
    if dtype.is_numeric():
        numbers = [_finite(values) for values, _ in (one, two)]
        spreads = [_numeric(x, nulls) for x, (_, nulls) in zip(numbers, (one, two), strict=True)]
        return ColumnDiff(name, str(dtype), spreads[0], spreads[1], _shift(numbers[0], numbers[1]))
    if dtype in (pl.String, pl.Boolean):
        counts = [Counter(_counts(values)) for values, _ in (one, two)]
        spreads = [_top(c, nulls) for c, (_, nulls) in zip(counts, (one, two), strict=True)]
        return ColumnDiff(name, str(dtype), spreads[0], spreads[1], _category_shift(counts[0], counts[1]))
    if dtype.is_temporal():
        spreads = [_times(values, nulls) for values, nulls in (one, two)]
        return ColumnDiff(name, str(dtype), spreads[0], spreads[1], None)
    return ColumnDiff(name, str(dtype), Spread(one[1]), Spread(two[1]), None)


def _finite(values: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    numbers = values.cast(pl.Float64).to_numpy()
    return np.sort(numbers[np.isfinite(numbers)])


def _numeric(numbers: np.ndarray[tuple[int], np.dtype[np.float64]], nulls: float) -> Spread:
    if not len(numbers):
        return Spread(nulls)
    return Spread(nulls, mean=float(numbers.mean()), std=float(numbers.std()))


def _shift(
    one: np.ndarray[tuple[int], np.dtype[np.float64]], two: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float | None:
    """The index over tenths of the first version's values."""
    if not len(one) or not len(two):
        return None
    baseline = baseline_of("", one)
    return _index(psi(baseline, binned(baseline.edges, two)))


def _counts(values: pl.Series) -> dict[str, int]:
    found = values.cast(pl.String).value_counts(sort=True, name="n")
    return dict(zip(found[values.name].to_list(), found["n"].to_list(), strict=True))


def _top(counts: Counter[str], nulls: float) -> Spread:
    total = counts.total()
    return Spread(nulls, top=[(value, n / total) for value, n in counts.most_common(SHOWN)])


def _category_shift(one: Counter[str], two: Counter[str]) -> float | None:
    """The index over the first version's most frequent categories; none over what names its record, as an id does."""
    if not one or not two or 2 * len(one) > one.total():
        return None
    names = [name for name, _ in one.most_common(CATEGORIES)]
    shares, counts = (np.array([*(c[n] for n in names), c.total() - sum(c[n] for n in names)]) for c in (one, two))
    baseline = FeatureBaseline(feature="", edges=[], shares=(shares / one.total()).tolist())
    return _index(psi(baseline, counts.astype(np.int64)))


def _times(values: pl.Series, nulls: float) -> Spread:
    if not len(values):
        return Spread(nulls)
    return Spread(nulls, first=str(values.min()), last=str(values.max()))


def _index(found: float) -> float:
    return 0.0 if math.isclose(found, 0.0, abs_tol=1e-12) else found

"""A features record with production's score, the candidate's and the label that came later: one row of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from headrace.schema.records import OffsetRange

TIME = pl.Datetime("us", "UTC")
Ranges = Mapping[str, Sequence[OffsetRange]]
"""Model id -> the offsets of examples that its training and validation read."""

ANSWERS = pl.Schema({"o": pl.Int64(), "model": pl.Categorical(), "production": pl.Float32()})
"""Answers of one partition: offset of the features record, the model that answered, its score."""
LABELS = pl.Schema({"o": pl.Int64(), "label": pl.Float32(), "example": pl.Int64()})
"""Labels of one partition: offset of the features record, the label, offset of the example that pairs them."""
PLACES = ("p", "o", "id")
"""Columns that only single rows are known by: partition, offset, id."""


def by(group: str) -> str:
    """Name of the column that holds a group; it cannot clash with the report's own."""
    return f"by {group}"


def schema(groups: Sequence[str]) -> pl.Schema:
    """The columns of a row.

    ``model`` and ``production`` are null where production gave no answer, ``candidate`` where the candidate gives no
    finite score, ``label`` where none has come. ``seen``: the candidate's training or validation read the row;
    ``known``: that of the model that answered did.
    """
    own: dict[str, pl.DataType] = {
        "p": pl.Int32(),
        "o": pl.Int64(),
        "id": pl.String(),
        "time": TIME,
        "model": pl.Categorical(),
        "production": pl.Float32(),
        "candidate": pl.Float32(),
        "label": pl.Float32(),
        "seen": pl.Boolean(),
        "known": pl.Boolean(),
    }
    return pl.Schema(own | {by(g): pl.Categorical() for g in groups})


def rows(
    partition: int,
    features: pl.DataFrame,
    answers: pl.DataFrame,
    labels: pl.DataFrame,
    candidate: str,
    ranges: Ranges,
    groups: Sequence[str],
) -> pl.DataFrame:
    """Put features records and what is known of them side by side.

    Args:
        partition: where they are.
        features: columns ``o``, ``id``, ``event_time``, ``candidate`` (float32, NaN where there is no score), and the
            groups.
        answers: see ANSWERS.
        labels: see LABELS.
        candidate: id of the candidate.
        ranges: the examples of each model, the candidate among them.
        groups: the pipeline's groups.

    Returns:
        One row a features record, in their order; see :func:`schema`.
    """
    found = features.join(answers, on="o", how="left", maintain_order="left")
    found = found.join(labels, on="o", how="left", maintain_order="left")
    score = pl.col("candidate")
    models = found["model"].cast(pl.String).unique().drop_nulls().to_list()
    return found.select(
        pl.lit(partition, dtype=pl.Int32).alias("p"),
        "o",
        "id",
        pl.col("event_time").alias("time"),
        "model",
        "production",
        pl.when(score.is_finite()).then(score).alias("candidate"),
        "label",
        _inside(ranges.get(candidate, ()), partition).alias("seen"),
        _any((pl.col("model") == m) & _inside(ranges.get(m, ()), partition) for m in models).alias("known"),
        *(pl.col(g).cast(pl.Categorical).alias(by(g)) for g in groups),
    ).cast(schema(groups))


def _inside(ranges: Sequence[OffsetRange], partition: int) -> pl.Expr:
    """Whether a row's example lies in one of the ranges; false where it has none."""
    example = pl.col("example")
    return _any((example >= r.start) & (example < r.stop) for r in ranges if r.partition == partition)


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(False), *conditions).fill_null(False)

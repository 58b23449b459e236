"""Champion against the frozen first model, month by month, from outcomes alone."""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.examples.flights.data import NEW_YORK
from headrace.models.metrics import binary_metrics


def by_month(outcomes: pl.DataFrame, first_model: str) -> list[dict[str, Any]]:
    """Figures of the answers and of the first model on the same flights, for each month of scoring.

    Args:
        outcomes: columns id, event_time, model_id, route, outputs, label; every outcome there is.
        first_model: the model that ruled first; later it goes on as a shadow.
    """
    scored = outcomes.with_columns(
        pl.col("event_time").dt.convert_time_zone(NEW_YORK).dt.month().alias("month"),
        pl.col("outputs").list.first().cast(pl.Float64).alias("score"),
    )
    answers = scored.filter(pl.col("route") != "shadow")
    frozen = scored.filter(pl.col("model_id") == first_model).unique(["p", "prediction_offset"])
    rows = []
    for (month,), part in sorted(answers.group_by("month"), key=lambda g: str(g[0][0]).zfill(2)):
        mine = binary_metrics(part["label"].to_numpy(), part["score"].to_numpy())
        theirs_part = frozen.filter(pl.col("month") == month)
        theirs = binary_metrics(theirs_part["label"].to_numpy(), theirs_part["score"].to_numpy())
        rows.append(
            {
                "month": int(str(month)),
                "flights": part.height,
                "late_share": mine["base_rate"],
                "models": part["model_id"].n_unique(),
                "champion_auc": mine["auc"],
                "champion_log_loss": mine["log_loss"],
                "frozen_auc": theirs["auc"],
                "frozen_log_loss": theirs["log_loss"],
            }
        )
    return rows

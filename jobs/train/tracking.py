"""MLflow as a view: each trial of a training as a run. Everything in it can be rebuilt from the topics."""

from __future__ import annotations

import os

from headrace.errors import TrackingFailed
from headrace.jobs.train.fit import Trained
from headrace.worker.time_limit import time_limit

TRACKING_S = 60.0
"""How long the tracking of a training may take."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow's own settings, where the environment has none: by itself it tries for minutes."""


def track(uri: str, trained: Trained, limit: float = TRACKING_S) -> None:
    """Log every trial of a training under the pipeline's experiment, within ``limit`` seconds.

    Raises:
        TrackingFailed: the server is away, refuses or takes too long, or MLflow is not installed.
    """
    manifest = trained.package.manifest
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        with time_limit(limit, "logging"):
            import mlflow

            mlflow.set_tracking_uri(uri)
            mlflow.set_experiment(manifest.pipeline)
            log_all(trained)
    except Exception as e:
        mend = ": pip install 'headrace[tracking]'" if isinstance(e, ModuleNotFoundError) else ""
        said = " ".join(str(e).split())[:300]
        raise TrackingFailed(
            f"model {manifest.model_id[:12]} of trigger {manifest.lineage.trigger_id} was not logged to MLflow at "
            f"{uri}: {type(e).__name__}: {said}{mend}"
        ) from e


def log_all(trained: Trained, *, nested: bool = False) -> None:
    """Log every trial as a run, ``nested`` in the one that is open; the chosen one carries the model's id."""
    import mlflow

    manifest = trained.package.manifest
    for trial in trained.trials:
        chosen = trial.algorithm == manifest.algorithm
        with mlflow.start_run(run_name=f"{trial.algorithm}-{manifest.lineage.trigger_id}", nested=nested):
            mlflow.log_params({"algorithm": trial.algorithm, "seed": manifest.lineage.seed, **trial.fitted.parameters})
            mlflow.log_metrics(trial.metrics)
            mlflow.set_tags(
                {
                    "headrace.trigger": manifest.lineage.trigger_id,
                    "headrace.reason": manifest.lineage.trigger_reason,
                    "headrace.root_hash": manifest.lineage.root_hash,
                    "headrace.model_id": manifest.model_id if chosen else "",
                }
            )

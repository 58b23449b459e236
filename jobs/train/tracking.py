"""MLflow as a view: each trial of a training as a run. Everything in it can be rebuilt from the topics."""

from __future__ import annotations

from headrace.jobs.train.fit import Trained


def track(uri: str, trained: Trained) -> None:
    """Log every trial of a training under the pipeline's experiment."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(trained.package.manifest.pipeline)
    log_all(trained)


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

"""MLflow is a view: where it is away the model is there all the same, and the failure is told and counted."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from headrace.errors import TrackingFailed
from headrace.jobs.child import CUT_SHORT, ChildError, ChildRun, ChildRunner
from headrace.jobs.train.fit import Trained
from headrace.jobs.train.tracking import track
from headrace.streams.retrain import Retrain
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from headrace.worker.processor import Figure


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Trained(model_package(toy("tracked"), 1), [])


def test_a_tracking_server_that_refuses_is_named_with_the_model_and_the_trigger(trained: Trained) -> None:
    uri = "http://127.0.0.1:9"
    with pytest.raises(TrackingFailed) as told:
        track(uri, trained)
    manifest = trained.package.manifest
    of = f"model {manifest.model_id[:12]} of trigger {manifest.lineage.trigger_id}"
    assert str(told.value).startswith(f"{of} was not logged to MLflow at {uri}: MlflowException: ")


def test_a_tracking_server_that_never_answers_is_given_up(trained: Trained) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TrackingFailed):
        track(f"http://127.0.0.1:{silent.getsockname()[1]}", trained, limit=2.0)


class Job:
    """A child process, as far as a run looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = True
        self.failed = ""

    def running(self) -> bool:
        return self.runs

    def done(self) -> bool:
        if not self.runs and self.failed:
            raise ChildError(self.failed, "TrackingFailed", "")
        return not self.runs

    def close(self) -> None:
        self.runs = False


def _read(folder: Path) -> str | None:
    file = folder / "result"
    return file.read_text() if file.exists() else None


def _run(folder: Path) -> tuple[Job, ChildRun[str]]:
    job = Job(folder)
    return job, ChildRun(job, _read)  # type: ignore[arg-type]


def test_a_job_that_fails_after_its_result_keeps_the_result_and_tells_of_the_failure(tmp_path: Path) -> None:
    job, run = _run(tmp_path)
    assert (run.result(), run.afterwards()) == (None, None)
    (tmp_path / "result").write_text("a model")
    assert (run.result(), run.afterwards()) == ("a model", None)
    job.runs, job.failed = False, "MLflow is away"
    assert (run.result(), run.afterwards()) == ("a model", "MLflow is away")
    run.close()
    assert run.afterwards() == "MLflow is away"


def test_a_job_that_ends_well_or_gives_no_result_has_no_failure_after_it(tmp_path: Path) -> None:
    job, run = _run(tmp_path)
    job.runs, job.failed = False, "no examples"
    with pytest.raises(ChildError):
        run.result()
    run.close()
    assert run.afterwards() == ""
    (tmp_path / "result").write_text("a model")
    job, run = _run(tmp_path)
    assert run.result() == "a model"
    job.runs = False
    assert run.afterwards() == ""


def test_a_job_that_is_ended_before_it_is_done_says_so(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("a model")
    _, run = _run(tmp_path)
    assert run.result() == "a model"
    run.close()
    assert run.afterwards() == f"{CUT_SHORT} after its result"


def test_failures_after_results_are_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs: list[Job] = []

    def begun(*_: object) -> Job:
        folder = tmp_path / str(len(jobs))
        folder.mkdir()
        jobs.append(Job(folder))
        return jobs[-1]

    monkeypatch.setattr("headrace.jobs.child.ChildJob", begun)
    monkeypatch.setattr(ChildRunner, "warm", lambda _: None)
    runner: ChildRunner[str] = ChildRunner(lambda *_: None, _read, {}, ())
    for number in range(3):
        run = runner.start({})
        (jobs[number].folder / "result").write_text("a model")
        assert run.result() == "a model"
    assert runner.failures() == []
    jobs[1].runs, jobs[1].failed = False, "MLflow is away"
    jobs[2].runs = False
    assert runner.failures() == ["MLflow is away"]
    assert runner.failures() == []


def test_retrain_logs_and_counts_what_was_not_tracked(caplog: pytest.LogCaptureFixture) -> None:
    told = [["MLflow is away", "and away"], []]
    retrain = Retrain(in_memory(toy("r")), ChildRunner(lambda *_: None, lambda _: None, {}, ()), lambda: told.pop(0))
    with caplog.at_level(logging.WARNING, "headrace.retrain"):
        retrain.tick()
        retrain.tick()
    assert [r.message.rpartition(": ")[2] for r in caplog.records] == ["MLflow is away", "and away"]
    doc = "Trainings that made a model and could not be logged to MLflow."
    assert retrain.figures() == [Figure("tracking_failures", doc, {}, 2, counts=True)]

"""The toy pipeline on the real stack: real processors as child processes, driven and read back by tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from headrace.config import Settings
from headrace.declare.pipeline import Pipeline
from headrace.governance.catalog import governance
from headrace.governance.decisions import order_approval, shown_evidence
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import read_all
from headrace.models.package.package import Package, digest
from headrace.models.package.topic import publication
from headrace.runner.processors import PROCESSORS
from headrace.schema.records import (
    Activated,
    GateResult,
    ModelManifest,
    Policy,
    Route,
    WorkerStatus,
)
from headrace.schema.registry import ConfluentRegistry
from headrace.testing.models import model_package
from headrace.testing.pipelines import REFERENCE, toy
from headrace.topics.acls import rules
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics
from tests.process import Process
from tests.waiting import wait_for
from tests.zygote import started

NOTHING: Mapping[str, str] = {}


class Platform:
    """One toy pipeline with its topics on the stack.

    Args:
        name: the pipeline's.
        settings: how to reach the stack.
        logs: folder for what its processors log.
        scratch: folder in which they keep their temporary files; None: where the system has them.
        declared: makes the pipeline of a name.
        reference: finds it, where its name is in the environment.
        forked: whether its processors are copies of a process that has imported all they need, where the system
            can do that; else each is started by its command line.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        logs: Path,
        scratch: Path | None = None,
        declared: Callable[[str], Pipeline] = toy,
        reference: str = REFERENCE,
        forked: bool = True,
    ) -> None:
        self.settings = settings
        self.log = KafkaLog(settings, name)
        self.topics = PipelineTopics(declared(name), self.log, ConfluentRegistry(settings))
        self.topics.init()
        if "security.protocol" in settings.kafka:
            self.log.grant(rules(self.topics.pipeline, PROCESSORS.values()))
        self._reference = reference
        self._logs = logs
        self._scratch = scratch
        self._forked = forked

    def push(self, rows: pl.DataFrame) -> None:
        """Send raw events and wait until Kafka has them."""
        sender = self.log.sender("test")
        sender.send(self.topics.topic("raw"), [u.encode() for u in rows["user"]], self.topics.codec("raw").encode(rows))
        sender.flush()

    def push_bytes(self, values: Sequence[bytes | None], key: bytes = b"user0") -> None:
        """Send raw bytes, whatever they are."""
        sender = self.log.sender("test")
        sender.send(self.topics.topic("raw"), [key] * len(values), values)
        sender.flush()

    @contextmanager
    def running(self, *workers: str, fault: str = "") -> Iterator[dict[str, Process]]:
        """Run processors, named as workers (``infer-0``), as ``headrace run`` does; end them after."""
        children = {w: self.start(w, fault) for w in workers}
        try:
            yield children
        finally:
            for child in children.values():
                stop(child)

    def start(
        self,
        worker: str,
        fault: str = "",
        bootstrap: str = "",
        properties: Sequence[str] = (),
        settings: Mapping[str, str] = NOTHING,
    ) -> Process:
        """Start one processor under a worker name, to end at a fault point, to reach Kafka by another way or with
        other client properties (NAME=VALUE), with more settings as environment variables."""
        environment = os.environ | {
            "TOY_PIPELINE": self.topics.pipeline.name,
            "HEADRACE_BOOTSTRAP": bootstrap or self.settings.bootstrap,
            "HEADRACE_REGISTRY_URL": self.settings.registry_url,
            "HEADRACE_STATE": str(self.settings.state),
            "HEADRACE_UNSIGNED_MODELS": self.settings.unsigned_models,
            "HEADRACE_TRUSTED_KEYS": json.dumps([str(k) for k in self.settings.trusted_keys]),
            "HEADRACE_REVOKED_KEYS": json.dumps([str(k) for k in self.settings.revoked_keys]),
            "HEADRACE_TRANSPORT": self.settings.transport,
            "HEADRACE_FAULT": fault,
            **({"TMPDIR": str(self._scratch)} if self._scratch else {}),
            **settings,
        }
        processor = worker.split("-")[0]
        run = ["run", processor, self._reference, "--worker-id", worker, "--commit-ms", "50"]
        for given in ("session.timeout.ms=6000", *properties):
            run += ["-X", given]
        return started("headrace", run, environment, self._logs / f"{worker}.log", forked=self._forked)

    def said(self, worker: str) -> str:
        """What a worker has logged."""
        return (self._logs / f"{worker}.log").read_text()

    def rows(self, name: str) -> pl.DataFrame:
        """Every record of a topic as rows, with partition ``p`` and offset ``o``, in log order."""
        return rows_of(self.topics, name)

    def wait_rows(self, name: str, count: int, seconds: float = 60) -> pl.DataFrame:
        """Wait until a topic holds at least ``count`` rows; gives them all."""
        found = pl.DataFrame()

        def enough() -> bool:
            nonlocal found
            found = self.rows(name)
            return found.height >= count

        wait_for(enough, seconds, f"{count} rows on {name}")
        return found

    def publish(self, seed: int = 0, onnx: bytes | None = None) -> ModelManifest:
        """Publish a small model as retrain would, without its training; ``onnx`` in place of the real bytes."""
        package = model_package(self.topics.pipeline, seed)
        if onnx is not None:
            manifest = package.manifest.model_copy(
                update={"model_id": digest(onnx), "size": len(onnx), "chunks": [digest(onnx)]}
            )
            package = Package(manifest, onnx)
        writer = self.log.writer(f"{self.topics.pipeline.name}.test")
        writer.begin()
        for output in publication(self.topics, package):
            writer.write(output)
        writer.commit()
        writer.close()
        return package.manifest

    def activate(self, seed: int, *, shadows: Sequence[str] = (), share: int = 100) -> str:
        """Publish a model with passed gates and approve it; gives its id. `govern` does the rest."""
        model_id = model_package(self.topics.pipeline, seed).manifest.model_id
        self.pass_gates(model_id)
        self.publish(seed)
        self.approve(model_id, shadows=shadows, share=share)
        return model_id

    def pass_gates(self, model_id: str, gate: str = "quality") -> None:
        """Say of a model that it passed a gate."""
        passed = GateResult(model_id=model_id, gate=gate, passed=True, mode="block", summary="", evidence="{}")
        write_control(self.topics, "decisions", [passed], [model_id])

    def approve(self, model_id: str, *, shadows: Sequence[str] = (), share: int = 100) -> None:
        """Approve a model on the evidence there is now."""
        evidence = shown_evidence(self.topics, model_id).hash
        order_approval(self.topics, model_id, "test", evidence=evidence, shadows=shadows, share=share)

    def wait_ruling(self, model_id: str) -> Activated:
        """Wait until a model's activation is on the log."""

        def ruling() -> Activated | None:
            found = governance(self.topics).in_force
            return found if found is not None and found.policy.champion == model_id else None

        found = wait_for(ruling, 40, f"{model_id[:12]} to rule")
        assert found is not None
        return found

    def wait_loaded(self, model_id: str) -> None:
        """Wait until a worker has loaded a model."""
        wait_for(lambda: ("LOADED", model_id) in self.statuses(), 40, f"{model_id[:12]} to be loaded")

    def statuses(self) -> set[tuple[str, str]]:
        """What workers have said of models: state and model id."""
        found = (record for _, record in self.topics.read_control("workers"))
        return {(record.state, record.model_id) for record in found if isinstance(record, WorkerStatus)}


def only(model_id: str) -> Policy:
    """The policy under which one model answers everything."""
    return Policy(routes=[Route(model_id=model_id, weight=1)])


def rows_of(topics: PipelineTopics, name: str) -> pl.DataFrame:
    """Every record of a topic's first type as rows, with partition ``p`` and offset ``o``, in log order."""
    frames = []
    for chunk in read_all(topics.log, topics.topic(name)):
        decoded = topics.codec(name).decode(chunk.values)
        where = [pl.lit(chunk.tp.partition).alias("p"), pl.Series("o", chunk.offsets[decoded.places()])]
        frames.append(decoded.frame().with_columns(where))
    none = pl.DataFrame(schema={**topics.columns(name), "p": pl.Int32, "o": pl.Int64})
    return pl.concat(frames) if frames else none


def stop(child: Process) -> int:
    """End a processor as a service manager would, and give its exit code."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        return child.wait(15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        raise

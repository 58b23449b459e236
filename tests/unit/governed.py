"""A pipeline in memory that is governed: its models, the people who decide, the govern that carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.governance.catalog import Governance, governance
from headrace.governance.decisions import order_approval, shown_evidence
from headrace.models.package.topic import publication
from headrace.schema.records import GateResult, Policy, Record, WorkerStatus
from headrace.streams.govern import Govern, GovernConfig
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.loop import ExactlyOnceLoop
from headrace.worker.processor import Processor
from tests.unit.loops import Eager, ScriptedLog, until


class Gated:
    """Gates at work on one model: passed as soon as they are let."""

    def __init__(self, model_id: str, may: Callable[[], bool]) -> None:
        self._model_id = model_id
        self._may = may
        self.closed = False

    def result(self) -> list[GateResult] | None:
        assert not self.closed, "a result was asked for that was thrown away"
        passed = GateResult(model_id=self._model_id, gate="quality", passed=True, mode="block", summary="", evidence="")
        return [passed] if self._may() else None

    def over(self) -> bool:
        return self._may()

    def close(self) -> None:
        self.closed = True


class Gates:
    """Starts gates that pass, and remembers of which models."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.runs: list[Gated] = []
        self.ready = True

    def warm(self) -> None:
        pass

    def start(self, asked: dict[str, Any]) -> Gated:
        self.started.append(asked["candidate"])
        self.runs.append(Gated(asked["candidate"], lambda: self.ready))
        return self.runs[-1]


def loop_of(log: ScriptedLog, topics: PipelineTopics, processor: Processor, name: str = "w") -> ExactlyOnceLoop:
    """One worker of a processor, as `headrace run` has it."""
    config = Eager(f"{topics.pipeline.name}.{processor.name}", name, commit_interval=0.0, idle_poll=0.0, ahead=0)
    return ExactlyOnceLoop(log, processor, config, lambda chunk, trace: topics.failure(processor.name, chunk, trace))


class Court:
    """Three published models, gates that pass them, and a govern that has no infer worker to wait for."""

    def __init__(self) -> None:
        self.log = ScriptedLog()
        self.topics = in_memory(toy("govern", partitions=2), self.log)
        self.packages = [model_package(self.topics.pipeline, seed) for seed in range(3)]
        self.ids = [p.manifest.model_id for p in self.packages]
        self.gates = Gates()
        self.workers: set[str] = set()
        self.loop = self.govern()

    def govern(self, name: str = "w") -> ExactlyOnceLoop:
        """A govern worker."""
        config = GovernConfig(load_timeout=3600, partition_check=0.0)
        return loop_of(self.log, self.topics, Govern(self.topics, self.gates, lambda: self.workers, config), name)

    def publish(self, *which: int) -> None:
        """Put models on their topic."""
        writer = self.log.writer("publisher")
        writer.begin()
        for i in which:
            for output in publication(self.topics, self.packages[i]):
                writer.write(output)
        writer.commit()

    def judged(self) -> None:
        """All three models are published and have passed their gates."""
        self.publish(0, 1, 2)
        until(lambda: set(self.state.gates) == set(self.ids), self.loop)

    def approve(self, model: int, **more: Any) -> int:
        """Approve a model; gives the order's offset."""
        evidence = shown_evidence(self.topics, self.ids[model]).hash
        order_approval(self.topics, self.ids[model], "ann", evidence=evidence, **more)
        return max(self.state.orders)

    def rules(self, model: int, **more: Any) -> str:
        """Approve a model and see it in force; gives the activation's id."""
        order = self.approve(model, **more)
        self.carried_out(order)
        assert self.state.in_force is not None
        return self.state.in_force.activation_id

    def carried_out(self, order: int) -> None:
        """Wait until an order is carried out."""
        until(lambda: order in {a.order_offset for a in self.state.activations.values()}, self.loop)

    def refused(self, order: int) -> str:
        """Wait until an order is refused; gives why."""
        until(lambda: order in self.state.refused, self.loop)
        return self.state.refused[order].reason

    def decide(self, *records: Record) -> list[int]:
        """Write decisions past every check; gives their offsets."""
        return write_control(self.topics, "decisions", records, ["k"] * len(records))

    def loaded(self, worker: str, *models: int) -> None:
        """A worker says that it has loaded models."""
        said = [WorkerStatus(worker_id=worker, model_id=self.ids[m], state="LOADED") for m in models]
        write_control(self.topics, "workers", said, [f"{worker}/{s.model_id}" for s in said])

    @property
    def state(self) -> Governance:
        """The decisions on the log."""
        return governance(self.topics)

    @property
    def order(self) -> int:
        """Offset of the latest order."""
        return max(self.state.orders)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        assert self.state.in_force is not None
        return self.state.in_force.policy

    @property
    def in_force(self) -> list[tuple[str, int]]:
        """Model and weight of each of its routes."""
        return [(r.model_id, r.weight) for r in self.policy.routes]

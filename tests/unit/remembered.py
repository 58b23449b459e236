"""A toy pipeline's past on the in-memory log, made by the real processors, for commands to look at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.client.events import EventProducer
from headrace.config import Settings
from headrace.governance.evidence import Evidence
from headrace.kafka.log import Output, read_all
from headrace.kafka.memory import MemoryLog
from headrace.models.package.topic import publication
from headrace.producers.files import push_file
from headrace.runner.processors import PROCESSORS, WorkerContext, build
from headrace.schema.records import (
    Activated,
    Approval,
    GateResult,
    Metric,
    PartitionOffset,
    Policy,
    PolicyMarker,
    Record,
    Rejection,
    Route,
)
from headrace.schema.registry import MemoryRegistry
from headrace.testing.models import model_package
from headrace.testing.pipelines import clicks, toy
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics

AT = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
CLICKS = 120
PATIENCE_S = 60.0


class Remembered:
    """Events went through preprocess, infer and join. One model is in force, one waits, one is rejected.

    Args:
        folder: for a file with a bad row, which is pushed too.
    """

    def __init__(self, folder: Path) -> None:
        self.topics = PipelineTopics(toy("shop"), MemoryLog(), MemoryRegistry())
        self.topics.init()
        packages = [model_package(self.topics.pipeline, seed) for seed in range(3)]
        self.models = [package.manifest.model_id for package in packages]
        for package in packages:
            self._write(*publication(self.topics, package))
        self._decide()
        self._push(folder)
        for processor in ("preprocess", "infer", "join"):
            self._run(processor)
        self._measure()

    def _decide(self) -> None:
        first, _, third = self.models
        policy = Policy(routes=[Route(model_id=first, weight=100)])
        gates = [
            GateResult(
                model_id=m,
                gate=gate,
                passed=(m, gate) != (third, "quality"),
                mode="block",
                summary=said,
                evidence="{}",
                at=AT,
            )
            for m in self.models
            for gate, said in (
                ("parity", "bits agree over 30 batch sizes"),
                ("quality", "log loss 0.5 against 0.6 of the base rate on 90 examples"),
            )
        ]
        evidence = Evidence.of(first, gates[:2]).hash
        approval = Approval(model_id=first, by="ann", evidence_hash=evidence, policy=policy, note="looks good", at=AT)
        offsets = self._control([*gates, approval])
        marker = PolicyMarker(activation_id="5b81fdc68d079f42", policy=policy)
        partitions = range(self.topics.pipeline.partitions)
        for p in partitions:
            self._write(self.topics.control("features", [marker], ["m"], p))
        activated = Activated(
            activation_id=marker.activation_id,
            model_id=first,
            policy=policy,
            markers=[PartitionOffset(partition=p, offset=0) for p in partitions],
            reason="approval",
            order_offset=offsets[-1],
            evidence_hash=evidence,
            at=AT,
        )
        self._control([activated, Rejection(model_id=third, by="bob", reason="worse than the one before", at=AT)])

    def _push(self, folder: Path) -> None:
        EventProducer(self.topics).send_rows(clicks(0, CLICKS))
        raw = self.topics.topic("raw")
        whole = self.topics.codec("raw").encode(clicks(0, 1)[:1])[0]
        assert whole is not None
        self.topics.log.sender("test").send(raw, [b"user0"] * 3, [None, b"\x01nonsense", whole[:-4]])
        file = folder / "clicks.csv"
        file.write_text("kind,click_id,user,at,price,bought\nseen,c900,user1,2024-01-01T00:00:00Z,dear,\n")
        push_file(self.topics, file)

    def _run(self, processor: str) -> None:
        """Run a processor until it has committed everything it reads."""
        log = self.topics.log
        context = WorkerContext(self.topics, log, Settings(unsigned_models="accept"), "", f"{processor}-0")
        names = [
            self.topics.topic(name)
            for name in PROCESSORS[processor].reads
            if name in ("raw", "features", "labels", "predictions")
        ]
        ends = {chunk.tp: chunk.next_offset for name in names for chunk in read_all(log, name)}
        deadline = time.monotonic() + PATIENCE_S

        def through() -> bool:
            assert time.monotonic() < deadline, f"{processor} has not come to the end of its input"
            committed = log.committed(context.group(processor))
            return all(committed.get(tp, 0) >= end for tp, end in ends.items())

        build(processor, context, commit_interval=0.01).run(through)

    def _measure(self) -> None:
        figures = {"psi.price": 0.3, "ks.price": 0.2, "psi.seen_10m": 0.01, "ks.seen_10m": 0.02}
        accuracy = {
            "log_loss": 0.51,
            "auc": 0.71,
            "brier": 0.17,
            "calibration_error": 0.02,
            "labels_missing": 0.05,
            "predictions": 110.0,
        }
        end = AT + timedelta(hours=1)
        records = [
            Metric(
                model_id=self.models[0],
                route=route,
                name=name,
                group="",
                window_start=AT,
                window_end=end,
                value=value,
                count=9,
                version=12,
            )
            for route, values in (("", figures), ("champion", accuracy))
            for name, value in values.items()
        ]
        write_control(self.topics, "metrics", records, ["m"] * len(records))

    def _control(self, records: Sequence[Record]) -> list[int]:
        return write_control(self.topics, "decisions", records, ["m"] * len(records))

    def _write(self, *outputs: Output) -> None:
        writer = self.topics.log.writer("test")
        writer.begin()
        for output in outputs:
            writer.write(output)
        writer.commit()
        writer.close()

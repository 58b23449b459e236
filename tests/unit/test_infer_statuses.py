"""What a worker says of a model is on `workers`, whatever becomes of the transaction that said it first."""

from __future__ import annotations

import time

import pytest

from headrace.errors import TransactionAborted
from headrace.models.package.package import Package, digest
from headrace.models.package.signing import Trust
from headrace.models.package.topic import publication
from headrace.schema.records import Approval, WorkerStatus
from headrace.streams.infer import Infer
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from headrace.topics.control import write_control
from tests.integration.platform import only
from tests.unit.governed import loop_of
from tests.unit.loops import ScriptedLog, turn, until
from tests.waiting import wait_for


@pytest.mark.parametrize("at", range(1, 9))
def test_loaded_and_rejected_are_said_again_when_their_transaction_is_given_up(at: int) -> None:
    log = ScriptedLog()
    topics = in_memory(toy("statuses", partitions=1), log)
    good = model_package(topics.pipeline, 0)
    garbage = b"this is no ONNX at all" * 10
    broken = Package(
        good.manifest.model_copy(
            update={"model_id": digest(garbage), "size": len(garbage), "chunks": [digest(garbage)]}
        ),
        garbage,
    )
    infer = Infer(topics, log, "infer-0", Trust(unsigned=True))
    loop = loop_of(log, topics, infer, "infer-0")
    aborts = []

    def said() -> set[tuple[str, str]]:
        records = (r for _, r in topics.read_control("workers"))
        return {(r.model_id, r.state) for r in records if isinstance(r, WorkerStatus)}

    def abort() -> None:
        aborts.append(time.monotonic())
        raise TransactionAborted("scripted")

    def turned(wanted: set[tuple[str, str]]) -> bool:
        turn(loop)
        return said() >= wanted

    until(lambda: loop.status.ready, loop)
    writer = log.writer("publisher")
    writer.begin()
    for package in (good, broken):
        for output in publication(topics, package):
            writer.write(output)
    writer.commit()
    ids = [p.manifest.model_id for p in (good, broken)]
    write_control(
        topics, "decisions", [Approval(model_id=m, by="", evidence_hash="", policy=only(m)) for m in ids], ids
    )
    wait_for(lambda: {e.model_id for e in infer._library.states()} == set(ids), 30, "both models to be tried")
    log.script(at, abort)
    wanted = {(ids[0], "LOADED"), (ids[1], "REJECTED")}
    wait_for(lambda: turned(wanted), 10, "both to be said")
    assert said() == wanted
    assert aborts, "the transaction was not given up"
    loop.stop()
    loop.run()

"""``make bench-peers``: the same records and the same model, scored by other tools and by headrace. See
docs/performance.md.

Each run of a peer stands between two runs of headrace's own worker (the same model, exactly once, 100 ms), and what a
peer wrote is held against the model's own scores before its speed counts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
from rich.console import Console

from bench import cores, plot, tables
from bench.models import fitted, package
from bench.pairing import Pairing, paired
from bench.peers.setup import HEAP, PROGRAMS, java_command, python_of
from bench.pipeline import INPUTS, feature_rows
from bench.process import Process
from bench.progress import Ends, Rate, watch
from bench.report import FILE, Report
from bench.sitting import FULL, QUICK, Sitting, load
from bench.stack import SEGMENT, started
from headrace.codec.topic import TopicCodec
from headrace.errors import HeadraceError, StackError
from headrace.kafka.log import TopicPartition, read_range
from headrace.models.score.session import ScoringModel, runtime_fingerprint
from headrace.schema.own import own_schema
from headrace.schema.registry import ConfluentRegistry

SINK = "bench.peers"
RECORDS = 4_000_000
JAVA_WARM = 1_500_000
"""Records after which a Java peer counts as warm."""
TUNED_RECORDS, TUNED_WARM = 12_000_000, 9_500_000
"""Of the tuned one: it reads what is preloaded again and again, and only the last part counts."""
TUNED = (*HEAP, "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED")
LIMIT_S = 4.0
CHECKED = 2000
"""Receipts held against the model's own scores."""
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Peer:
    """One tool, one way of using it.

    Attributes:
        name: of the ratio, ``vs_<name>``.
        command: from the job's file to the command.
        warm: records it is given before the measurement.
        records: how many to follow it for at most; where there are more than are preloaded, it begins again.
        model: kind of model that both score with.
    """

    name: str
    command: Callable[[Path], list[str]]
    warm: int = 0
    records: int = RECORDS
    model: str = "linear"


def _python(environment: str | None, script: str, how: str) -> Callable[[Path], list[str]]:
    def command(_: Path) -> list[str]:
        python = sys.executable if environment is None else str(python_of(environment))
        return [python, str(PROGRAMS / f"{script}.py"), how]

    return command


def _faust(how: str) -> Callable[[Path], list[str]]:
    return lambda _: [str(python_of("faust")), str(PROGRAMS / "faust_app.py"), how, "worker", "-l", "warn"]


PEERS = (
    Peer("naive_sklearn", _python(None, "naive", "sklearn")),
    Peer("naive_onnx", _python(None, "naive", "onnx")),
    Peer("naive_batched", _python(None, "naive", "batched")),
    Peer("quix_plain", _python("quix", "quix", "plain")),
    Peer("quix_batched", _python("quix", "quix", "batched")),
    Peer("bytewax_plain", _python("bytewax", "bytewax_flow", "plain")),
    Peer("bytewax_batched", _python("bytewax", "bytewax_flow", "batched")),
    Peer("faust_plain", _faust("plain")),
    Peer("faust_batched", _faust("batched")),
    Peer("pathway_plain", _python("pathway", "pathway_table", "plain")),
    Peer("pathway_batched", _python("pathway", "pathway_table", "batched")),
    Peer("java_generic", partial(java_command, "Scoring", HEAP), warm=JAVA_WARM),
    Peer("java_tuned", partial(java_command, "TunedScoring", TUNED), warm=TUNED_WARM, records=TUNED_RECORDS),
    Peer("java_tuned_trees100", partial(java_command, "TunedScoring", TUNED), warm=JAVA_WARM, model="trees100"),
)


class Race:
    """Peers and headrace on one cluster, with one kind of model."""

    def __init__(self, sitting: Sitting, model: str) -> None:
        self._sitting = sitting
        self._cluster = sitting.cluster
        self._model = model
        self._loaded = sitting.loaded(model, records=self._scaled(RECORDS))
        self._package = package(self._loaded.pipeline, model)
        self._cluster.log.create_topics({SINK: (1, SEGMENT)})
        self._runs = 0

    def run(self, peer: Peer) -> None:
        """Measure a peer and report how many times as fast headrace is."""
        peer.command(self._cluster.folder / "job")  # installs what it needs, before anything is measured
        found = paired(
            partial(self._sitting.infer, self._loaded),
            {peer.name: partial(self._measure, peer)},
            self._sitting.scale.repeats,
            self._told,
        )[peer.name]
        versus = Pairing(found.load, rates=found.baseline, baseline=found.rates)
        self._sitting.report.paired(f"vs_{peer.name}", versus, peer.name)
        self._sitting.report.write()

    def _told(self, name: str, pairing: Pairing) -> None:
        mine, theirs = statistics.median(pairing.baseline), pairing.rates[-1]
        self._sitting.say(f"{name}: {theirs:,.0f}/s; headrace {mine:,.0f}/s: {pairing.baseline[-1] / theirs:.1f} times")

    def _measure(self, peer: Peer) -> Rate:
        self._runs += 1
        job = self._job(f"bench.{peer.name}.{self._runs}", -(-peer.records // RECORDS))
        written = Ends(self._cluster, [SINK])
        began = self._cluster.log.high_watermarks(SINK)[0]
        environment = {"BENCH_JOB": str(job)}
        with Process(peer.name, peer.command(job), self._cluster.folder, cores.CLIENT, environment) as process:
            found = watch(written, process.check, self._scaled(peer.records), LIMIT_S, self._scaled(peer.warm))
        self._check(peer, began)
        self._cluster.discard([SINK])
        return found

    def _scaled(self, records: int) -> int:
        return records if self._sitting.scale is FULL else records // 10

    def _job(self, group: str, laps: int) -> Path:
        """The job's description for one run: JSON for Python, properties for Java."""
        topics, folder, registry = self._loaded.topics, self._cluster.folder, self._registry
        receipt, features = own_schema("Prediction"), topics.pipeline.feature_schema
        (folder / "model.onnx").write_bytes(self._package.onnx)
        (folder / "model.pickle").write_bytes(pickle.dumps(fitted(self._model, len(INPUTS))))
        manifest = self._package.manifest
        described: dict[str, object] = {
            "bootstrap": self._cluster.settings.bootstrap,
            "registry_url": self._cluster.settings.registry_url,
            "source": topics.topic("features"),
            "sink": SINK,
            "group": group,
            "inputs": list(INPUTS),
            "model_id": manifest.model_id,
            "folder": str(folder),
            "onnx": str(folder / "model.onnx"),
            "input": manifest.inputs[0].name,
            "output": manifest.score_output,
            "features_schema": features,
            "features_id": self._features_id,
            "receipt_schema": receipt,
            "receipt_id": registry.register(f"{SINK}-value", receipt),
            "runtime": runtime_fingerprint(),
            "laps": laps,
        }
        file = folder / "job"
        file.write_text(json.dumps(described))
        lines = [f"{k}={_property(v)}" for k, v in described.items()]
        (folder / "job.properties").write_text("\n".join(lines))
        return file

    @cached_property
    def _registry(self) -> ConfluentRegistry:
        return ConfluentRegistry(self._cluster.settings)

    @cached_property
    def _features_id(self) -> int:
        """The schema id that the features records carry."""
        tp = TopicPartition(self._loaded.topics.topic("features"), 0)
        chunk = next(read_range(self._cluster.log, {tp: (1, 100)}))
        value = chunk.values[len(chunk) - 1] or b""
        return int.from_bytes(value[1:5], "big")

    @cached_property
    def _scores(self) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        rows = feature_rows(RECORDS if self._sitting.scale is FULL else RECORDS // 10)
        model = ScoringModel(self._package, reference=True)
        return model.score(np.ascontiguousarray(rows[: 10 * CHECKED].select(INPUTS).to_numpy().astype(np.float32)))

    def _check(self, peer: Peer, began: int) -> None:
        """Hold the first receipts a peer wrote against the model's own scores."""
        tp = TopicPartition(SINK, 0)
        chunk = next(read_range(self._cluster.log, {tp: (began, began + CHECKED)}))
        frame = TopicCodec(SINK, [own_schema("Prediction")], self._registry).decode(chunk.values).frame()
        place = frame["id"].str.slice(1).cast(int).to_numpy()
        scores = frame["outputs"].list.first().to_numpy()
        inside = place < len(self._scores)
        wrong = np.abs(self._scores[place[inside], 0] - scores[inside]) > TOLERANCE
        if frame.is_empty() or not inside.any() or wrong.any():
            raise StackError(f"{peer.name} did not do the job: {int(wrong.sum())} of {len(wrong)} scores are others")


def _property(value: object) -> str:
    text = value if isinstance(value, str) else ",".join(value) if isinstance(value, list) else json.dumps(value)
    return text.replace("\\", "\\\\")


def main() -> None:
    """Measure the peers asked for, add to ``build/bench/report.json`` and draw it."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and one run of each: a look, no result")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    console, report, began = Console(), Report(), time.monotonic()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    console.print(f"starting Kafka; load {load():.1f}", highlight=False)
    with started() as cluster:
        race = cache(partial(Race, Sitting(cluster, QUICK if given.quick else FULL, report, console)))
        for peer in PEERS:
            if given.only and peer.name not in given.only:
                continue
            console.rule(f"{peer.name}: load {load():.1f}, {time.monotonic() - began:.0f} s so far")
            try:
                race(peer.model).run(peer)
            except HeadraceError as e:
                console.print(f"  {peer.name} failed: {e}", style="red", markup=False)
                report.missing(f"vs_{peer.name}", str(e))
    report.write()
    for table in tables.terminal(report.contents, report.names):
        console.print(table)
    console.print(f"written: {FILE} and {plot.draw(report.contents)} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()

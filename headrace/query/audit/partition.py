"""The audit of one partition: its topics are read into tables, and every rule about records is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from headrace.governance.catalog import Governance
from headrace.governance.policy import PolicyInForce
from headrace.kafka.log import TopicPartition, read_range
from headrace.kafka.span import Span
from headrace.query.audit.outcomes import PartitionContext, caused, rising, scored
from headrace.query.audit.policies import agreed, markers_in, ruled
from headrace.query.audit.recomputed import Recompute, Tables, expected, joined, preprocessed, settled_from
from headrace.query.audit.report import Report
from headrace.query.audit.scope import INPUTS, Scope
from headrace.query.audit.tables import Read, decoded, tabulate
from headrace.query.replay.scorers import Scorers
from headrace.query.replay.verify import verify_partition
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.retention import LABELS_KEPT, state_needs

CHUNK = 50_000
LOOKS = 200
"""Inputs that are not there and are looked for among aborted records; each takes a reader of its own. The rest of
very many count as never having been there."""


@dataclass
class PartitionAudit:
    """The audit of one partition.

    Args:
        topics: the pipeline's topics.
        report: takes what is found.
        partition: its number.
        scope: the offsets to read and to judge.
        state: the decisions.
        advanced: told how many records have been read.
    """

    topics: PipelineTopics
    report: Report
    partition: int
    scope: Scope
    state: Governance
    advanced: Callable[[int], None]
    _looked: int = 0

    def run(self, recompute: Recompute | None, scorers: Scorers | None = None) -> set[str]:
        """Judge the partition; gives the models that scored in it."""
        first = {name: span.start for name, span in self.scope.reads.items()}
        context = PartitionContext(self.report, self.partition, self.topics.topic, first.__getitem__, self._hidden)
        features, marked = self._features()
        t: Tables = {name: self._table(name) for name in ("raw", "labels", "examples", "outcomes")}
        t |= {"features": features, "predictions": self._predictions(marked), **self._dead()}
        for name in ("features", "labels"):
            t[name] = self._without_cause(t[name], name, t["retries"])
        letters = {p: t["dead"].filter(_is("stage", p) & (pl.col("partition") == self.partition)) for p in INPUTS}
        self._causes(context, t)
        span = self.scope.judged["infer"]["features"]
        answers = t["predictions"].rename({"features": "input"}).filter(span.holds("input"))
        refused = letters["infer"].filter(_is("topic", "features") & span.holds("input"))
        scored(context, span, features, answers, refused, marked)
        if recompute is not None:
            self._recomputed(context, t, letters, recompute)
        if scorers is not None:
            self._replayed(scorers)
        return set(t["predictions"]["model"].cast(pl.String).unique()) - {""}

    # Reading.

    def _reads(self, name: str) -> Iterator[Read]:
        span = self.scope.reads[name]
        chunks = read_range(self.topics.log, {self.topics.tp(name, self.partition): (span.start, span.stop)}, CHUNK)
        for read in decoded(self.topics, name, chunks):
            self.advanced(len(read))
            yield read

    def _table(self, name: str) -> pl.DataFrame:
        return tabulate(self.topics, name, self._reads(name))

    def _features(self) -> tuple[pl.DataFrame, list[PolicyInForce]]:
        """The features, and the markers among them once they are held against the decisions."""
        marked: list[PolicyInForce] = []

        def noting() -> Iterator[Read]:
            for read in self._reads("features"):
                marked.extend(markers_in(self.topics, read))
                yield read

        table = tabulate(self.topics, "features", noting())
        span = self.scope.reads["features"]
        where = TopicPartition(self.topics.topic("features"), self.partition)
        return table, agreed(self.report, where, span, marked, self.state.activations.values())

    def _predictions(self, marked: list[PolicyInForce]) -> pl.DataFrame:
        """The predictions, each held against the policy in force."""

        def judging() -> Iterator[Read]:
            for read in self._reads("predictions"):
                ruled(self.report, read, marked)
                yield read

        return tabulate(self.topics, "predictions", judging())

    def _dead(self) -> Tables:
        """The dead letters, and where the records of those retried were put back."""
        found: dict[str, list[pl.DataFrame]] = {"dead": [], "retries": []}
        for read in self._reads("dead"):
            for name, frames in found.items():
                frames.append(tabulate(self.topics, name, [read]))
        return {
            name: pl.concat(frames) if frames else tabulate(self.topics, name, ()) for name, frames in found.items()
        }

    def _without_cause(self, table: pl.DataFrame, name: str, retries: pl.DataFrame) -> pl.DataFrame:
        """What a retry put back came of no raw record, but of the retry."""
        back = retries.filter(_is("topic", name) & (pl.col("partition") == self.partition))["offset"]
        return table.with_columns(pl.when(pl.col("o").is_in(back.implode())).then(-1).otherwise("raw").alias("raw"))

    def _hidden(self, name: str, offset: int) -> bool:
        """Whether a record stands at an offset where readers of committed records see none."""
        tp = self.topics.tp(name, self.partition)
        self._looked += 1
        if self._looked > LOOKS or not 0 <= offset < self.topics.log.high_watermarks(tp.topic)[self.partition]:
            return False
        reader = self.topics.log.reader({tp: offset}, committed=False)
        try:
            while reader.reached(tp) <= offset:
                for chunk in reader.poll(1, 1.0):
                    return int(chunk.offsets[0]) == offset
            return False
        finally:
            reader.close()

    # Judging.

    def _causes(self, context: PartitionContext, t: Tables) -> None:
        """Each outcome has its input, and stands in its order."""
        made = [
            ("features", "raw", t["features"].filter(pl.col("raw") >= 0), "raw", "identity", "identity"),
            ("predictions", "features", t["predictions"], "features", "identity", "identity"),
            ("examples", "features", t["examples"], "features", "identity", "identity"),
            ("examples", "labels", t["examples"], "labels", "label_identity", "identity"),
            ("outcomes", "predictions", t["outcomes"], "predictions", "identity", "identity"),
            ("outcomes", "labels", t["outcomes"], "labels", "label_identity", "identity"),
        ]
        for output, name, outcomes, column, mine, theirs in made:
            caused(context, output, _named(outcomes, column, mine), name, t[name], theirs)
        from_raw = t["labels"].filter(pl.col("raw") >= 0)
        caused(context, "labels", _named(from_raw, "raw", None), "raw", t["raw"], "identity")
        for name in ("raw", "features", "labels", "predictions"):
            letters = t["dead"].filter(_is("topic", name) & (pl.col("partition") == self.partition))
            caused(context, "dead", letters.rename({"bytes": "identity"}), name, t[name], "bytes")
        rising(context, "features", _named(made[0][2], "raw", None), "raw")
        rising(context, "labels", _named(from_raw, "raw", None), "raw")
        for _, receipts in t["predictions"].group_by("shadow", pl.when("shadow").then("model")):
            rising(context, "predictions", _named(receipts, "features", None).sort("o"), "features")

    def _recomputed(
        self, context: PartitionContext, t: Tables, letters: dict[str, pl.DataFrame], recompute: Recompute
    ) -> None:
        p = self.topics.pipeline
        spans = self.scope.judged["preprocess"]
        found = self._again(recompute, "preprocess")
        kept = state_needs(p)["raw"]
        span = self._after_history(spans["raw"], [("raw", t["raw"])], int(kept.total_seconds() * 1e6), t["raw"])
        preprocessed(context, span, t, letters["preprocess"].filter(span.holds("input")), found)
        spans = dict(self.scope.judged["join"])
        found = self._again(recompute, "join")
        lefts = [(name, t[name]) for name in INPUTS["join"]]
        kept = LABELS_KEPT * p.label_horizon
        spans["labels"] = self._after_history(spans["labels"], lefts, int(kept.total_seconds() * 1e6), t["labels"])
        joined(context, spans, t, letters["join"], found)

    def _replayed(self, scorers: Scorers) -> None:
        span = self.scope.judged["infer"]["features"]
        found = verify_partition(self.topics, scorers, self.state.timeline, self.partition, span, self.advanced)
        self.report.checked("replayed", "infer", found.records)
        self.report.note("predictions made under another runtime, near enough", found.other_runtime)
        for d in found.listed:
            name, offset = ("features", d.features) if d.predictions < 0 else ("predictions", d.predictions)
            where = (self.topics.topic(name), self.partition)
            self.report.broken("replayed", "infer", where, [offset], d.what)

    def _again(self, recompute: Recompute, processor: str) -> Tables:
        stops = {name: span.stop for name, span in self.scope.judged[processor].items()}
        return expected(self.topics, recompute(self.topics, processor, self.partition, stops, self.advanced))

    def _after_history(
        self, span: Span, inputs: list[tuple[str, pl.DataFrame]], kept: int, judged: pl.DataFrame
    ) -> Span:
        """The part of a span whose history is on the log still: all of it, where retention has taken nothing."""
        cut = [table for name, table in inputs if self.scope.first[name] > 0]
        if not cut:
            return span
        if all(table.height for table in cut):
            start = settled_from(judged, max(int(table["time"][0]) for table in cut) + kept)
        else:
            start = span.stop  # of one of them nothing is left
        self.report.note("inputs not recomputed, as retention has taken their history", max(0, start - span.start))
        return Span(max(span.start, start), span.stop)


def _named(outcomes: pl.DataFrame, column: str, identity: str | None) -> pl.DataFrame:
    """An outcomes table as the rules take it; without an identity, only where they come from can be judged."""
    own = pl.lit(None, dtype=pl.UInt64) if identity is None else pl.col(identity)
    return outcomes.select("o", pl.col(column).alias("input"), own.alias("identity"))


def _is(column: str, value: str) -> pl.Expr:
    return pl.col(column).cast(pl.String) == value

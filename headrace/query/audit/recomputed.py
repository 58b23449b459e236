"""What the processors' own functions give, held against what stands on the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import polars as pl

from headrace.kafka.log import Chunk, Output
from headrace.kafka.span import Span
from headrace.query.audit.outcomes import PartitionContext, counted
from headrace.query.audit.tables import NEVER, decoded, tabulate
from headrace.topics.pipeline_topics import PipelineTopics

Tables = dict[str, pl.DataFrame]


class Recompute(Protocol):
    """Runs a processor again over one partition."""

    def __call__(
        self,
        topics: PipelineTopics,
        processor: str,
        partition: int,
        stops: Mapping[str, int],
        advanced: Callable[[int], None],
    ) -> Iterator[Output]:
        """What the processor gives for the records before ``stops`` (topic -> offset), in the order it gives it."""


def expected(topics: PipelineTopics, outputs: Iterable[Output]) -> Tables:
    """Outputs that were not written, as tables: what they were made from."""
    frames: dict[str, list[pl.DataFrame]] = {}
    for output in outputs:
        if len(output):
            name = topics.short(output.tp.topic)
            chunk = Chunk.of(output.tp, range(len(output)), output.keys, output.values)
            frames.setdefault(name, []).append(tabulate(topics, name, decoded(topics, name, [chunk])))
    return {name: pl.concat(found) for name, found in frames.items()}


def settled_from(times: pl.DataFrame, after: int) -> int:
    """Offset from which on every record is more than ``after`` microseconds later than the first one.

    Where retention has taken a log's beginning, what is recomputed before it lacks history.
    """
    known = times.filter(pl.col("time") > NEVER)
    if known.is_empty():
        return 0
    early = known.filter(pl.col("time") <= known["time"][0] + after)
    return int(early["o"].max()) + 1  # type: ignore[arg-type]


def preprocessed(context: PartitionContext, span: Span, t: Tables, letters: pl.DataFrame, found: Tables) -> None:
    """Each raw record has the features row and the label that the pipeline's functions give it, or one dead letter."""
    inputs = t["raw"].filter(span.holds("o")).select("o")
    refused = letters.select("input")
    for name in ("features", "labels"):
        again = found[name].select("raw") if name in found else pl.DataFrame(schema={"raw": pl.Int64})
        due = again.unique().join(refused, left_on="raw", right_on="input", how="anti")
        least = inputs.with_columns(pl.col("o").is_in(due["raw"].implode()).cast(pl.Int64).alias("least"))
        made = t[name].filter(pl.col("raw") >= 0).select(pl.col("raw").alias("input"))
        counted(context, f"preprocess, {name}", "raw", least, made)
        both = made.filter(span.holds("input")).join(refused, on="input", how="semi")["input"]
        what = f"it has a dead letter, and a record on {name} too"
        context.report.broken("exactly_one", f"preprocess, {name}", context.at("raw"), both, what)
        extra = made.filter(span.holds("input")).join(again, left_on="input", right_on="raw", how="anti")
        extra = extra.join(refused, on="input", how="anti")
        what = f"there is a record on {name}, which the pipeline's functions do not give (have they changed since?)"
        context.report.broken("recomputed", f"preprocess, {name}", context.at("raw"), extra["input"].sort(), what)
        context.report.checked("recomputed", f"preprocess, {name}", inputs.height)
    _letters(context, "preprocess", "raw", inputs, refused, found.get("dead"))


def joined(
    context: PartitionContext, spans: Mapping[str, Span], t: Tables, letters: pl.DataFrame, found: Tables
) -> None:
    """Each pair of a features record or a prediction with its label is there once, and no other pair is."""
    for output, left in (("examples", "features"), ("outcomes", "predictions")):
        keys = [left, "labels"]
        within = spans[left].holds(left) & spans["labels"].holds("labels")
        due = (
            found[output].filter(within).select(keys)
            if output in found
            else pl.DataFrame(schema=dict.fromkeys(keys, pl.Int64()))
        )
        there = t[output].filter(within).select("o", *keys)
        subject = f"join, {output}"
        context.report.checked("exactly_one", subject, due.height)
        for first, label in due.join(there, on=keys, how="anti").sort(keys).select(keys).iter_rows():
            what = f"the {left} record at {first} and the label at {label} belong together, and are not on {output}"
            context.report.broken("exactly_one", subject, context.at("labels"), [label], what)
        again = there.filter(pl.struct(keys).is_first_distinct().not_())
        for o, first, label in again.iter_rows():
            what = f"{left} {first} with label {label} is on {output} more than once"
            context.report.broken("exactly_one", subject, context.at(output), [o], what)
        for o, first, label in there.join(due, on=keys, how="anti").iter_rows():
            what = f"{left} {first} and label {label} do not belong together"
            context.report.broken("recomputed", subject, context.at(output), [o], what)
        context.report.checked("recomputed", subject, there.height)
    again_dead = found.get("dead")
    for name in ("features", "labels", "predictions"):
        mine = (
            letters.filter(pl.col("topic").cast(pl.String) == name).filter(spans[name].holds("input")).select("input")
        )
        theirs = None if again_dead is None else again_dead.filter(pl.col("topic").cast(pl.String) == name)
        inputs = t[name].filter(spans[name].holds("o")).select("o")
        _letters(context, "join", name, inputs, mine, theirs)
    paired = t["examples"].select(pl.col("labels").alias("input"))
    refused = letters.filter(pl.col("topic").cast(pl.String) == "labels").join(paired, on="input", how="semi")
    what = "the label has a dead letter, and an example too"
    context.report.broken("exactly_one", "join, examples", context.at("labels"), refused["input"].sort(), what)


def _letters(
    context: PartitionContext,
    processor: str,
    name: str,
    inputs: pl.DataFrame,
    there: pl.DataFrame,
    again: pl.DataFrame | None,
) -> None:
    """Each record that gives a dead letter has it, once."""
    due = pl.DataFrame(schema={"input": pl.Int64}) if again is None else again.select("input")
    least = inputs.with_columns(pl.col("o").is_in(due["input"].implode()).cast(pl.Int64).alias("least"))
    counted(context, f"{processor}, dead letters", name, least, there)

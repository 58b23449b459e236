"""Rules about inputs and their outcomes in one partition: one each, of a record that is there, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from headrace.governance.policy import PolicyInForce
from headrace.kafka.span import Span
from headrace.query.audit.report import Report
from headrace.query.audit.tables import MARKER, RECORD


class PartitionContext(NamedTuple):
    """What a partition's rules need to speak of it."""

    report: Report
    partition: int
    topic: Callable[[str], str]
    first: Callable[[str], int]
    """First offset of one of the partition's topics that is looked at: what is before is past retention, or past."""
    aborted: Callable[[str, int], bool]
    """Whether a record stands at an offset of one of the partition's topics that readers do not see."""

    def at(self, name: str) -> tuple[str, int]:
        return self.topic(name), self.partition


def caused(
    context: PartitionContext, output: str, outcomes: pl.DataFrame, name: str, inputs: pl.DataFrame, hashed: str
) -> None:
    """Each outcome's input must be on the log, and be about the same record.

    Args:
        context: the partition.
        output: topic of the outcomes.
        outcomes: columns ``o`` (its own offset), ``input`` (offset of its input) and ``identity``.
        name: topic of the inputs.
        inputs: columns ``o`` and ``hashed``.
        hashed: column of ``inputs`` that must equal the outcome's ``identity``.
    """
    report, subject = context.report, f"{name} -> {output}"
    kept = outcomes.filter(pl.col("input") >= context.first(name))
    report.note(f"outcomes on {output} whose inputs on {name} are past retention", outcomes.height - kept.height)
    found = kept.join(inputs.select("o", pl.col(hashed).alias("theirs")), left_on="input", right_on="o", how="left")
    report.checked("no_phantom", subject, found.height)
    report.checked("no_aborted", subject, found.height)
    for own, input_ in found.filter(pl.col("theirs").is_null()).select("o", "input").iter_rows():
        if context.aborted(name, input_):
            what = f"it came of {name} offset {input_}, a record that was given up with its transaction"
            report.broken("no_aborted", subject, context.at(output), [own], what)
        else:
            what = f"it names {name} offset {input_}, where there is no record"
            report.broken("no_phantom", subject, context.at(output), [own], what)
    other = found.filter(pl.col("theirs") != pl.col("identity"))["o"]
    what = f"it is not about the record at the {name} offset that it names"
    report.broken("no_phantom", subject, context.at(output), other, what)


def rising(context: PartitionContext, output: str, outcomes: pl.DataFrame, name: str) -> None:
    """Outcomes in log order must name inputs at rising offsets. A repeat is for :func:`counted` to tell."""
    context.report.checked("order", f"{name} -> {output}", outcomes.height)
    back = outcomes.filter(pl.col("input") < pl.col("input").cum_max().shift(1))
    for own, input_ in back.select("o", "input").iter_rows():
        what = f"it comes of {name} offset {input_}, after an outcome of a later one"
        context.report.broken("order", f"{name} -> {output}", context.at(output), [own], what)


def counted(context: PartitionContext, subject: str, name: str, inputs: pl.DataFrame, outcomes: pl.DataFrame) -> None:
    """Each input has one outcome.

    Args:
        context: the partition.
        subject: the processor.
        name: topic of the inputs.
        inputs: column ``o``, and ``least``: outcomes it must have (0 or 1).
        outcomes: column ``input``, one row an outcome.
    """
    counts = outcomes.group_by("input").len()
    found = inputs.join(counts, left_on="o", right_on="input", how="left").with_columns(pl.col("len").fill_null(0))
    context.report.checked("exactly_one", subject, found.height)
    lost = found.filter(pl.col("len") < pl.col("least"))["o"]
    context.report.broken("exactly_one", subject, context.at(name), lost.sort(), "it has no outcome: a record was lost")
    doubled = found.filter(pl.col("len") > 1).sort("o")
    for offset, count in doubled.select("o", "len").iter_rows():
        context.report.broken("exactly_one", subject, context.at(name), [offset], f"it has {count} outcomes, not one")


def scored(
    context: PartitionContext,
    span: Span,
    features: pl.DataFrame,
    predictions: pl.DataFrame,
    letters: pl.DataFrame,
    marked: list[PolicyInForce],
) -> None:
    """Each features record: one answer or one dead letter, and one receipt of each shadow; or it was passed over."""
    inputs = features.filter((pl.col("kind") != MARKER) & span.holds("o"))
    passed_until = marked[0].offset if marked and marked[0].policy.backlog == "SKIP" else -1
    inputs = inputs.select("o", (pl.col("o") >= passed_until).cast(pl.Int64).alias("least"))
    context.report.note("features records passed over by backlog: skip", inputs.filter(pl.col("least") == 0).height)
    answers = predictions.filter(~pl.col("shadow")).select("input")
    counted(context, "infer", "features", inputs, pl.concat([answers, letters.select("input")]))
    _shadowed(context, span, features, predictions, letters, marked)


def _shadowed(
    context: PartitionContext,
    span: Span,
    features: pl.DataFrame,
    predictions: pl.DataFrame,
    letters: pl.DataFrame,
    marked: list[PolicyInForce],
) -> None:
    shadows = predictions.filter("shadow")
    ends = [*(m.offset for m in marked[1:]), span.stop][: len(marked)]
    for i, (m, end) in enumerate(zip(marked, ends, strict=True)):
        start = max(span.start, 0 if i == 0 else m.offset)
        if not m.policy.shadows or start >= end:
            continue
        there = Span(start, min(end, span.stop)).holds("o")
        due = features.filter((pl.col("kind") == RECORD) & there).select("o", pl.lit(1).alias("least"))
        due = due.join(letters, left_on="o", right_on="input", how="anti")
        if i == 0 and m.policy.backlog == "SKIP":
            due = due.filter(pl.col("o") > m.offset)
        for model in m.policy.shadows:
            mine = shadows.filter(pl.col("model").cast(pl.String) == model).select("input")
            counted(context, "infer, shadows", "features", due, mine)

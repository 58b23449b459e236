"""What a reader of the report must know before believing it, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.jobs.whatif.report import Report
from headrace.jobs.whatif.words import moment

FEW = 100
"""Judged rows under which no figure is worth much."""


def cautions(report: Report) -> list[str]:
    """The cautions that this report calls for, the weightiest first."""
    return [*_of_the_labels(report), *_of_the_rows(report), *_of_the_candidate(report)]


def headline(report: Report) -> str:
    """One sentence on which rows the headline is about."""
    n = report.headline.rows if report.headline else 0
    if report.basis == "fresh":
        return f"{n:,} labelled records that neither model had read in training or validation"
    return f"all {n:,} labelled records; every one was read in training or validation" if n else "no labelled records"


def _of_the_labels(report: Report) -> Iterator[str]:
    counts, overall = report.counts, report.overall
    judged = report.headline
    if not counts.labelled:
        yield (
            "No record in this range has a label yet, so there are no figures of merit: let `headrace run join` pair "
            "them, or choose an earlier range."
        )
    elif judged is None:
        yield "No labelled record has a score of both models, so there are no figures of merit."
    elif report.basis == "all":
        yield (
            "There are no labelled records that neither model had read: the figures flatter whichever model had read "
            "them. Choose a later range to judge fairly."
        )
    if judged is not None and judged.rows < FEW:
        yield f"Only {judged.rows} records are judged: too few to go by."
    if judged is not None and judged.base_rate in (0.0, 1.0):
        yield f"All labels judged are {judged.base_rate:.0f}: with one class there is no AUC."
    if overall.seen is not None and report.basis == "fresh":
        yield f"{overall.seen.rows:,} labelled records were read in the candidate's training or validation: told apart."
    if overall.known is not None and report.basis == "fresh":
        yield (
            f"{overall.known.rows:,} labelled records were read in training or validation by the model that answered "
            "them: told apart."
        )
    if counts.early:
        yield (
            f"{counts.early:,} of the judged records are from before the end of the candidate's validation "
            f"({moment(report.asked.candidate.lineage.validation_until)}): it had not read them, but learned from "
            "their time."
        )


def _of_the_rows(report: Report) -> Iterator[str]:
    counts = report.counts
    if counts.odd_labels:
        yield f"{counts.odd_labels:,} labels are neither 0 nor 1 and are left out."
    if counts.unfit:
        yield f"{counts.unfit:,} records have no score of the candidate: a feature, or the score, is NaN or infinite."
    if unanswered := counts.records - counts.answered:
        yield f"{unanswered:,} records have no answer of production (dead letters, or passed over): not compared."
    if counts.damaged:
        yield f"{counts.damaged:,} records cannot be decoded and are left out."


def _of_the_candidate(report: Report) -> Iterator[str]:
    asked = report.asked
    own = [m for m in report.models if m.model_id == asked.candidate.model_id]
    if own:
        yield f"The candidate itself gave {own[0].share:.1%} of the answers: on these it cannot differ."
    if not asked.same_schema:
        yield "The candidate was trained on another features schema than the pipeline has now."

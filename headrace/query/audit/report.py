"""What an audit looked at and what it found, by rule and by the part of the platform it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Rule = Literal[
    "settled",
    "kept",
    "exactly_one",
    "no_phantom",
    "order",
    "no_aborted",
    "manifest",
    "policy",
    "evidence",
    "recomputed",
    "replayed",
    "indexed",
]

RULES: dict[Rule, str] = {
    "settled": "no transaction is stuck: the last stable offset reaches the end of the log",
    "kept": "Kafka has what workers need to go on; what it dropped before was accepted as lost, in writing",
    "exactly_one": "each input has exactly one outcome",
    "no_phantom": "each outcome has its input, and is about the very same record",
    "order": "outcomes stand in the order of their inputs",
    "no_aborted": "nothing came of a record that was given up",
    "manifest": "each published model is whole, and its digests are right",
    "policy": "each record is scored by the models that the policy in force at its offset names, and no others",
    "evidence": "each activation follows an order, each approval its gate results; no rejected model rules on",
    "recomputed": "the processors' own functions give these outcomes, no fewer and no others",
    "replayed": "scored again, each record gives the same prediction, bit for bit",
    "indexed": "the search engine holds each record that was forwarded, once, and nothing else",
}

LISTED = 1000
"""Violations of a rule that are listed; beyond them they are only counted."""


class Violation(NamedTuple):
    """One thing that is wrong, and where."""

    rule: Rule
    subject: str
    topic: str
    partition: int
    offset: int
    what: str

    @property
    def where(self) -> str:
        """Coordinates as people read them: ``flights.features[0] 17``."""
        return f"{self.topic}[{self.partition}] {self.offset}"


@dataclass
class Line:
    """How often a rule was asked about a subject, and how often it was broken."""

    checked: int = 0
    broken: int = 0


@dataclass
class Report:
    """The lines of an audit, the violations, and counts that explain but accuse nobody."""

    lines: dict[tuple[Rule, str], Line] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def checked(self, rule: Rule, subject: str, count: int) -> None:
        """``count`` more things were held to a rule."""
        self._line(rule, subject).checked += count

    def broken(self, rule: Rule, subject: str, tp: tuple[str, int], offsets: Iterable[int], what: str) -> None:
        """A rule is broken at each of these offsets of a partition."""
        line = self._line(rule, subject)
        for offset in offsets:
            line.broken += 1
            if line.broken <= LISTED:
                self.violations.append(Violation(rule, subject, *tp, int(offset), what))

    def note(self, what: str, count: int) -> None:
        """Count something that a reader would otherwise miss."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(line.broken for line in self.lines.values())

    def plain(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        lines = [
            {"rule": rule, "subject": subject, "checked": line.checked, "violations": line.broken}
            for (rule, subject), line in self.lines.items()
        ]
        return {
            "ok": self.ok,
            "lines": lines,
            "notes": self.notes,
            "violations": [v._asdict() for v in self.violations],
            "not_listed": self.not_listed,
        }

    @property
    def not_listed(self) -> int:
        """Violations that were counted and are not in the list."""
        return sum(line.broken for line in self.lines.values()) - len(self.violations)

    def _line(self, rule: Rule, subject: str) -> Line:
        return self.lines.setdefault((rule, subject), Line())

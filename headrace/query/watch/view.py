"""What a look at a running pipeline shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from headrace.query.decisions import Decision
from headrace.query.trouble import Trouble
from headrace.schema.records import Metric


@dataclass(frozen=True)
class Flow:
    """One processor's group.

    Attributes:
        members: live workers.
        per_second: offsets it has read a second since the previous look, transaction markers included.
        lag: records still to come; of a large gap, its offsets.
    """

    processor: str
    members: int
    per_second: float
    lag: int


@dataclass(frozen=True)
class InForce:
    """The model that answers in a partition, at the offset that infer has committed.

    Attributes:
        offset: of the marker in force.
        shadows: how many models score beside it.
    """

    partition: int
    model_id: str
    offset: int
    shadows: int
    shares: tuple[float, ...] = ()
    """Share of the records that each route answers, champion first."""


@dataclass(frozen=True)
class Drifted:
    """How far one feature has moved under one model, in the latest window there is.

    ``psi``: population stability index; ``ks``: Kolmogorov-Smirnov distance; None where it was not measured.
    """

    feature: str
    model_id: str
    window_end: datetime
    psi: float | None
    ks: float | None


@dataclass(frozen=True)
class Accuracy:
    """The figures of one model and route in its latest window that has labels, all groups together."""

    model_id: str
    route: str
    window_end: datetime
    version: int
    values: dict[str, float]


@dataclass(frozen=True)
class View:
    """A pipeline at one moment."""

    pipeline: str
    at: datetime
    flows: list[Flow] = field(default_factory=list)
    models: list[InForce] = field(default_factory=list)
    drift: list[Drifted] = field(default_factory=list)
    accuracy: list[Accuracy] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    dead: dict[str, int] = field(default_factory=dict)
    """Stage and code of dead letters -> how many came since the watch began."""

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""

        def said(value: Any) -> Any:
            if isinstance(value, datetime):
                return value.isoformat()
            if isinstance(value, dict):
                return {k: said(v) for k, v in value.items()}
            return [said(v) for v in value] if isinstance(value, list | tuple) else value

        found: dict[str, Any] = said(asdict(self))
        return found


class Windows:
    """The latest version of the latest window of each figure."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str, str], Metric] = {}

    def take(self, metric: Metric) -> None:
        """Take in a figure; those of single groups are passed over."""
        if metric.group:
            return
        place = (metric.model_id, metric.route, metric.name)
        known = self._latest.get(place)
        if known is None or (known.window_end, known.version) <= (metric.window_end, metric.version):
            self._latest[place] = metric

    def drift(self) -> list[Drifted]:
        """Every feature under the model whose window is the latest, the most moved first."""
        measured = [m for (_, _, name), m in self._latest.items() if name.startswith(("psi.", "ks."))]
        if not measured:
            return []
        newest = max(measured, key=lambda m: m.window_end)
        found: dict[str, dict[str, float]] = {}
        for m in measured:
            if (m.model_id, m.window_end) == (newest.model_id, newest.window_end):
                kind, _, feature = m.name.partition(".")
                found.setdefault(feature, {})[kind] = m.value
        rows = [
            Drifted(feature, newest.model_id, newest.window_end, values.get("psi"), values.get("ks"))
            for feature, values in found.items()
        ]
        return sorted(rows, key=lambda d: (-(d.psi or 0.0), -(d.ks or 0.0), d.feature))

    def accuracy(self, names: tuple[str, ...]) -> list[Accuracy]:
        """The latest window of each model and route in which the first of ``names`` was measured, newest first."""
        rows = []
        for (model_id, route, name), first in self._latest.items():
            if name != names[0]:
                continue
            same = {n: self._latest.get((model_id, route, n)) for n in names}
            values = {n: m.value for n, m in same.items() if m is not None and m.window_end == first.window_end}
            rows.append(Accuracy(model_id, route, first.window_end, first.version, values))
        return sorted(rows, key=lambda a: (a.window_end, a.model_id, a.route), reverse=True)

"""The dashboards of a pipeline: those declared, less what there is nothing to show for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.consumers.forward.kibana import declared
from headrace.consumers.forward.kibana.board import Board
from headrace.consumers.forward.kibana.panels import Panel, Rows, type_of
from headrace.consumers.forward.shape import Shape
from headrace.declare.pipeline import Pipeline


def boards(pipeline: Pipeline, shapes: Mapping[str, Shape]) -> list[Board]:
    """The dashboards of what the pipeline forwards.

    What needs a topic or a field that stays behind is left out: a panel, a column of a table, a dashboard of which
    nothing is left.
    """
    found = (
        declared.overview(pipeline),
        declared.model(),
        declared.drift(pipeline),
        declared.dead(),
        declared.decisions(),
        declared.lookup(),
    )
    return [board for board in (_possible(board, shapes) for board in found) if board.rows]


def panels(found: list[Board]) -> list[Panel]:
    """Every panel of these dashboards once."""
    return list({panel.name: panel for board in found for row in board.rows for panel in row}.values())


def fields_of(panel: Panel, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The mapping of the documents that a panel is of."""
    return {name: mapping for topic in panel.topics for name, mapping in shapes[topic].fields.items()}


def _possible(board: Board, shapes: Mapping[str, Shape]) -> Board:
    rows = (tuple(kept for panel in row if (kept := _kept(panel, shapes))) for row in board.rows)
    controls = tuple(c for c in board.controls if c.topic in shapes and type_of(shapes[c.topic].fields, c.field))
    return replace(board, rows=tuple(row for row in rows if row), controls=controls)


def _kept(panel: Panel, shapes: Mapping[str, Shape]) -> Panel | None:
    """What can be shown of a panel."""
    panel = replace(panel, topics=tuple(t for t in panel.topics if t in shapes))
    fields = fields_of(panel, shapes)
    if isinstance(panel, Rows):
        panel = replace(panel, columns=tuple(c for c in panel.columns if type_of(fields, c)))
    there = all(type_of(fields, field) in types for field, types in panel.needs().items())
    return panel if panel.topics and there else None

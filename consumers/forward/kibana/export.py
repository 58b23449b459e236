"""A pipeline's dashboards as a file that Kibana imports."""

from __future__ import annotations

import json

from headrace.consumers.forward.kibana.aggs import Json
from headrace.consumers.forward.kibana.board import Board
from headrace.consumers.forward.kibana.boards import boards, panels
from headrace.consumers.forward.kibana.objects import (
    KUERY,
    data_view,
    kind_of,
    object_id,
    panel_object,
    reference,
    saved,
    text,
    view_id,
)
from headrace.consumers.forward.shape import shapes
from headrace.declare.pipeline import Pipeline

WIDTH = 48
"""Columns of Kibana's grid."""
HEIGHT = 14
"""Rows of it that a panel takes."""


def export(pipeline: Pipeline) -> str:
    """The dashboards of what a pipeline forwards, and all they are made of: one saved object a line.

    Raises:
        ConfigError: a rule of ``forward`` names a field there is not, or the engine takes no index of this name.
        SchemaError: two record types of a topic have a field of one name and different types.
    """
    return "".join(f"{json.dumps(made, sort_keys=True, ensure_ascii=False)}\n" for made in objects(pipeline))


def objects(pipeline: Pipeline) -> list[Json]:
    """The saved objects: those that others speak of come first.

    Raises:
        See :func:`export`.
    """
    # Which fields there are is the same under any key of the hashes.
    found = boards(pipeline, shapes(pipeline, "any"))
    shown, name = panels(found), pipeline.name
    views = dict.fromkeys([*(p.topics for p in shown), *((c.topic,) for board in found for c in board.controls)])
    return [
        *(data_view(name, topics) for topics in views),
        *(panel_object(name, panel) for panel in shown),
        *(_dashboard(name, board) for board in found),
    ]


def _dashboard(pipeline: str, board: Board) -> Json:
    placed: list[Json] = []
    references: list[Json] = []
    for down, row in enumerate(board.rows):
        for across, panel in enumerate(row):
            id_ = object_id(pipeline, panel.name)
            wide = WIDTH // len(row)
            placed.append(
                {
                    "type": kind_of(panel),
                    "gridData": {"x": across * wide, "y": down * HEIGHT, "w": wide, "h": HEIGHT, "i": panel.name},
                    "panelIndex": panel.name,
                    "embeddableConfig": {"enhancements": {}},
                    "title": panel.title,
                    "panelRefName": f"panel_{panel.name}",
                }
            )
            references.append(reference(kind_of(panel), id_, f"{panel.name}:panel_{panel.name}"))
    controls: Json = {}
    for order, control in enumerate(board.controls):
        controls[control.field] = {
            "type": "optionsListControl",
            "order": order,
            "width": "medium",
            "grow": True,
            "explicitInput": {
                "id": control.field,
                "fieldName": control.field,
                "title": control.label,
                "selectedOptions": [],
                "enhancements": {},
            },
        }
        name = f"controlGroup_{control.field}:optionsListDataView"
        references.append(reference("index-pattern", view_id(pipeline, (control.topic,)), name))
    attributes = {
        "title": f"{pipeline}: {board.title}",
        "description": board.description,
        "panelsJSON": text(placed),
        "optionsJSON": text({"useMargins": True, "syncColors": True, "syncCursor": True, "hidePanelTitles": False}),
        "controlGroupInput": {
            "chainingSystem": "HIERARCHICAL",
            "controlStyle": "oneLine",
            "ignoreParentSettingsJSON": text(
                {"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False, "ignoreValidations": False}
            ),
            "panelsJSON": text(controls),
        },
        "kibanaSavedObjectMeta": {"searchSourceJSON": text({"query": KUERY, "filter": []})},
        "timeRestore": False,
        "version": 1,
    }
    return saved("dashboard", object_id(pipeline, f"board-{board.name}"), attributes, references)

"""What a dashboard is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from headrace.consumers.forward.kibana.panels import Panel


class Control(NamedTuple):
    """A list of a field's values to choose from; what is chosen filters all panels of the board."""

    topic: str
    field: str
    label: str


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Attributes:
        name: what it is called within the pipeline, in an id's letters.
        title: what people read, after the pipeline's name.
        description: what it is for.
        rows: panels side by side, from the top.
        controls: above them.
    """

    name: str
    title: str
    description: str
    rows: tuple[tuple[Panel, ...], ...]
    controls: tuple[Control, ...] = ()

"""What of each window has been written: a figure is written again, as the next version, only where it has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.streams.monitor.figures import Figure


class Key(NamedTuple):
    """Whose figures: a model in a route (empty: the model in force), a group (empty: all), a window by its number."""

    model_id: str
    route: str
    group: str
    number: int


class Version(NamedTuple):
    """Figures that were not yet written, or were written otherwise, and the version they become."""

    number: int
    figures: dict[str, Figure]


@dataclass
class Versions:
    """The latest version of each figure of each window that is not final.

    Because what is due is what differs from this, and this is read back from the topic, a worker that starts again
    writes no version twice and leaves none out.
    """

    _numbers: dict[Key, int] = field(default_factory=dict)
    _written: dict[Key, dict[str, Figure]] = field(default_factory=dict)

    def recall(self, key: Key, name: str, number: int, figure: Figure) -> None:
        """A figure that stands in the topic; versions in the order of the log."""
        self._numbers[key] = max(number, self._numbers.get(key, 0))
        self._written.setdefault(key, {})[name] = figure

    def due(self, key: Key, figures: dict[str, Figure]) -> Version | None:
        """What of a window's figures is to be written now, and taken as written; None: nothing."""
        written = self._written.setdefault(key, {})
        changed = {name: figure for name, figure in figures.items() if written.get(name) != figure}
        if not changed:
            return None
        written |= changed
        self._numbers[key] = self._numbers.get(key, 0) + 1
        return Version(self._numbers[key], changed)

    def finish(self, before: int) -> None:
        """Windows whose number is below ``before`` change no more: let them go."""
        for key in [k for k in self._written if k.number < before]:
            del self._written[key]
            self._numbers.pop(key, None)  # none of it may have been defined

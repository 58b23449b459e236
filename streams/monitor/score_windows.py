"""Windows of scores and labels, by the event time of the scored record: per model and route, over all and by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from headrace.streams.monitor.event_time import NEVER
from headrace.streams.monitor.figures import Figure, figures
from headrace.streams.monitor.tally import Codes, Integers, Numbers, Tally

Kind = Literal["predictions", "outcomes"]


class Stream(NamedTuple):
    """A model and the part it plays."""

    model_id: str
    route: str


class Window(NamedTuple):
    """One tumbling window of event time of one stream."""

    stream: Stream
    number: int


@dataclass
class ScoreWindows:
    """Tallies of each window that is not final, over all partitions of this worker.

    Memory: 24 KiB for each group met (and one for all), model, route and window that is not final.

    Attributes:
        final: windows of lower numbers change no more.
    """

    final: int = NEVER
    tallies: dict[Window, Tally] = field(default_factory=dict)
    _first_offsets: dict[tuple[Kind, int], dict[int, int]] = field(default_factory=dict)

    def add_predictions(self, stream: Stream, windows: Integers, scores: Numbers, groups: Codes) -> Counter[Window]:
        """Count predictions of a stream, given with the number of the window of each, (n,).

        Returns:
            How many came for windows that are final, and were not counted.
        """
        late: Counter[Window] = Counter()
        for window, inside in self._split(stream, windows, late):
            self._tally(window).add_predictions(scores[inside], groups[inside])
        return late

    def add_outcomes(
        self, stream: Stream, windows: Integers, scores: Numbers, labels: Numbers, groups: Codes
    ) -> Counter[Window]:
        """Count outcomes of a stream, as :meth:`add_predictions` does."""
        late: Counter[Window] = Counter()
        for window, inside in self._split(stream, windows, late):
            self._tally(window).add_outcomes(scores[inside], labels[inside], groups[inside])
        return late

    def note(self, kind: Kind, partition: int, windows: Integers, offsets: Integers) -> None:
        """Remember where the first record of each window stands in a partition."""
        firsts = self._first_offsets.setdefault((kind, partition), {})
        numbers, places = np.unique(windows, return_index=True)
        for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
            if number >= self.final:
                firsts.setdefault(number, int(offsets[place]))

    def figures(self, before: int, groups: list[str]) -> Iterator[tuple[Window, str, dict[str, Figure]]]:
        """The figures of each group that has records, in each window whose number is below ``before``, oldest first.

        ``groups``: number -> name of a group.
        """
        for window in sorted((w for w in self.tallies if w.number < before), key=lambda w: (w.number, w.stream)):
            tally = self.tallies[window]
            there = tally.counts.any(axis=(1, 2)) | tally.sums.any(axis=1)
            for row in np.flatnonzero(there).tolist():
                yield window, groups[row], figures(tally.counts[row], tally.sums[row])

    def finish(self, before: int) -> None:
        """Windows whose number is below ``before`` change no more: let them go."""
        self.final = max(self.final, before)
        for window in [w for w in self.tallies if w.number < self.final]:
            del self.tallies[window]
        for firsts in self._first_offsets.values():
            for number in [n for n in firsts if n < self.final]:
                del firsts[number]

    def earliest(self, kind: Kind, partition: int, position: int) -> int:
        """Offset of the partition's first record in a window that is not final."""
        return min(self._first_offsets.get((kind, partition), {}).values(), default=position)

    def _split(
        self, stream: Stream, windows: Integers, late: Counter[Window]
    ) -> Iterator[tuple[Window, slice | np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
        numbers = [int(windows[0])] if (windows == windows[0]).all() else np.unique(windows).tolist()
        for number in numbers:
            window = Window(stream, number)
            inside = slice(None) if len(numbers) == 1 else windows == number
            if number < self.final:
                late[window] += len(windows[inside])
            else:
                yield window, inside

    def _tally(self, window: Window) -> Tally:
        if window not in self.tallies:
            self.tallies[window] = Tally()
        return self.tallies[window]

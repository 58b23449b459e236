"""Which receiver is asked next: the first in the user's order that has not failed a short while ago."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Preference:
    """The order of n receivers, and the pause of each that failed: doubled every time, ended by an ack.

    Args:
        count: n; the receivers are known by their place, 0 the most wanted.
        clock: seconds.
    """

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause = [0.0] * count
        self._until = [0.0] * count

    def order(self) -> list[int]:
        """Every receiver: those not in a pause as wanted, then the others, by when their pause ends.

        One in a pause is asked all the same before a send is given up: it may be the only one that lives.
        """
        now = self._clock()
        return sorted(range(len(self._until)), key=lambda i: (max(self._until[i] - now, 0.0), i))

    def failed(self, place: int) -> None:
        """It was asked and did not do."""
        self._pause[place] = min(max(self._pause[place] * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._until[place] = self._clock() + self._pause[place]

    def worked(self, place: int) -> None:
        """It acked something."""
        self._pause[place] = self._until[place] = 0.0

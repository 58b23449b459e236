"""The Page-Hinkley test: has the mean of a series risen?"""

from __future__ import annotations

import math

MINIMUM = 7
"""Fewest values before a rise is told."""
ALPHA = 1 - 0.0001
"""How much of the sum of earlier deviations stays with each value."""


class PageHinkley:
    """Sums how far values lie above their mean so far, less a slack; a rise of that sum is a rise of the mean.

    Source: Page, Continuous Inspection Schemes, Biometrika 41 (1954). The arithmetic is that of river's test in mode
    "up", to the bit; river itself would triple what a worker imports.

    Args:
        slack: how far above the mean a value may lie without counting.
        threshold: rise of the sum above its lowest at which the mean has risen.
        minimum: fewest values before a rise is told.
    """

    def __init__(self, slack: float, threshold: float, minimum: int = MINIMUM) -> None:
        self._slack = slack
        self._threshold = threshold
        self._minimum = minimum
        self._count = 0
        self._mean = self._sum = 0.0
        self._lowest = math.inf

    def update(self, value: float) -> bool:
        """Take the next value; True where the mean has risen with it. The test then starts anew."""
        self._count += 1
        self._mean += (1.0 / self._count) * (value - self._mean)
        self._sum = ALPHA * self._sum + (value - self._mean) - self._slack
        self._lowest = min(self._lowest, self._sum)
        rose = self._count >= self._minimum and self._sum - self._lowest > self._threshold
        if rose:
            self._count, self._mean, self._sum, self._lowest = 0, 0.0, 0.0, math.inf
        return rose

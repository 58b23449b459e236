"""A rise of a mean, found by the Page-Hinkley test: a dozen lines here, as the library that has them imports for
seconds."""

from __future__ import annotations

from dataclasses import dataclass

FORGETS = 1 - 0.0001
"""By how much the sum of deviations is kept at each value."""


@dataclass
class PageHinkley:
    """Whether the mean of a stream of values has risen.

    Source: Page, Continuous Inspection Schemes, Biometrika 41 (1954); bit for bit the ``PageHinkley`` of river 0.26
    with ``mode="up"``.

    Attributes:
        minimum: values before anything is found.
        slack: rise of the mean that counts as none.
        threshold: sum of deviations above its least from which on the mean has risen.
    """

    minimum: int
    slack: float
    threshold: float
    _count: int = 0
    _mean: float = 0.0
    _sum: float = 0.0
    _least: float = float("inf")

    def rose(self, value: float) -> bool:
        """Take a value; whether the mean has risen with it."""
        self._count += 1
        self._mean += (1 / self._count) * (value - self._mean)
        self._sum = FORGETS * self._sum + (value - self._mean) - self.slack
        self._least = min(self._least, self._sum)
        return self._count >= self.minimum and self._sum - self._least > self.threshold

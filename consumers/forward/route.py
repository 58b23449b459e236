"""What the routes to a search engine have in common: documents in, and which of them were refused out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from headrace.kafka.log import Offsets


@dataclass(frozen=True, slots=True)
class Documents:
    """Records of one partition as documents, in log order; all four have n entries.

    Attributes:
        kind: the topic's name within its pipeline, e.g. ``predictions``.
        tag: what Fluentd routes them by, e.g. ``headrace.flights.predictions``.
        ids: ``topic-partition-offset`` of each: a document sent twice overwrites itself.
        targets: the index, or its alias, that each is written to.
        times: int64 (n,), when what each tells of happened, in microseconds since 1970.
        bodies: each as a JSON object in UTF-8, on one line.
    """

    kind: str
    tag: str
    ids: Sequence[str]
    targets: Sequence[str]
    times: Offsets
    bodies: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.ids)


class Refused(NamedTuple):
    """A document that the receiver will never take."""

    place: int
    """Which of the documents sent."""
    reason: str
    """What the receiver said of it."""


class Route(Protocol):
    """A way to a search engine."""

    def send(self, documents: Documents) -> list[Refused]:
        """Hand over documents, and return once the receiver has answered for every one of them.

        Returns:
            Those it refused, in order; the others are safe with it.

        Raises:
            Unavailable: the receiver is away or cannot take more now; any of them may have arrived, so all are
                to be sent again.
        """

    def close(self) -> None:
        """Let go of connections."""

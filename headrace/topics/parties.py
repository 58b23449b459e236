"""Who reads and writes a pipeline's topics: processors, and people and programs outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.topics.table import TOPICS


@dataclass(frozen=True, kw_only=True)
class Party:
    """Somebody who uses a pipeline's topics.

    Attributes:
        name: shown in tables, and the principal that ACLs name.
        reads: topics it reads, by their names within the pipeline.
        writes: topics it writes.
        transactional_ids: beginnings of the transactional ids it writes under, after the pipeline's name.
    """

    name: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    transactional_ids: tuple[str, ...] = ()


PRODUCER = Party(name="producer", reads=("pushes",), writes=("raw", "dead", "pushes"), transactional_ids=("push.",))
"""Programs that push events."""
INGEST = Party(name="ingest", reads=("raw",), writes=("raw",))
"""The server that takes events over HTTP: it finds the ids of the last minutes on raw."""
SUBSCRIBER = Party(name="subscriber", reads=("models", "model_chunks", "decisions"), writes=("contracts",))
"""Services that follow the model in force and score with it."""
PEOPLE = Party(
    name="people",
    reads=tuple(TOPICS),
    writes=("triggers", "decisions", "raw", "features", "labels", "dead"),
    transactional_ids=("orders.", "dead.retry"),
)
"""Those who look, decide, and put the records of dead letters back."""
OUTSIDE = (PRODUCER, INGEST, SUBSCRIBER, PEOPLE, Party(name="labelling", writes=("labels",)))


def readers(topic: str, parties: Iterable[Party]) -> list[str]:
    """Names of those who read a topic."""
    return [p.name for p in parties if topic in p.reads]


def writers(topic: str, parties: Iterable[Party]) -> list[str]:
    """Names of those who write a topic."""
    return [p.name for p in parties if topic in p.writes]

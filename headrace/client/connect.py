"""The front door: connect to a pipeline's topics, and the rooms behind it."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from headrace.client.async_events import AsyncEventProducer
from headrace.client.events import EventProducer
from headrace.client.follow import ModelSubscriber
from headrace.client.models import Models
from headrace.client.query import Query
from headrace.config import Settings, load_settings
from headrace.declare.find import find_pipeline
from headrace.declare.pipeline import Pipeline
from headrace.governance import decisions
from headrace.governance.decisions import Rejected
from headrace.kafka.cluster import KafkaLog
from headrace.models.package.signing import Trust
from headrace.query.decisions import Decision
from headrace.schema.records import Approval, RolledBack, TrainingTrigger
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.parties import PEOPLE, PRODUCER, SUBSCRIBER
from headrace.topics.pipeline_topics import PipelineTopics


class Closeable(Protocol):
    """A room of the client that is closed with it."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closeable)


def connect(
    pipeline: Pipeline | str,
    *,
    kafka: str | None = None,
    registry: str | None = None,
    state: str | Path | None = None,
    properties: Mapping[str, str] | None = None,
    as_: str | None = None,
    name: str = "headrace-client",
) -> Client:
    """Connect to a pipeline's topics.

    What is not given here comes from ``HEADRACE_*`` environment variables, then from ``headrace.toml`` in the working
    folder, then from the embedded stack (``headrace up``).

    Args:
        pipeline: the declaration, or its name in ``headrace.toml``, or ``module:attribute``, or ``file.py:attribute``.
        kafka: bootstrap servers, ``HOST:PORT,...``.
        registry: URL of the schema registry.
        state: folder of the embedded stack.
        properties: librdkafka properties, on top of those of the settings.
        as_: principal whose credentials are used on a secure embedded stack. Default: the one with the least rights
            for each room (``producer`` for events, ``subscriber`` for models, ``people`` for decisions and queries).
        name: how this client shows in the broker's logs.

    Returns:
        A client. Nothing is sent or read before it is asked for; use it in a ``with`` block, or close it.

    Raises:
        ConfigError: no Kafka is named and no embedded stack runs, or a setting is wrong.
        UnknownPipeline: there is no pipeline of that name.
    """
    settings = load_settings(bootstrap=kafka, registry_url=registry, state=None if state is None else Path(state))
    settings = settings.model_copy(update={"kafka": {**settings.kafka, **(properties or {})}}).located()
    return Client(pipeline, settings, as_=as_, name=name)


def open_topics(pipeline: Pipeline | str, settings: Settings, client_id: str) -> PipelineTopics:
    """A pipeline's topics on the cluster that the settings name."""
    declared = find_pipeline(pipeline, settings) if isinstance(pipeline, str) else pipeline
    return PipelineTopics(declared, KafkaLog(settings, client_id), ConfluentRegistry(settings))


class Client:
    """A connection to one pipeline. Safe to share between threads; closed on leaving a ``with`` block.

    Args:
        pipeline: the declaration or its name.
        settings: where Kafka and the registry are (see :meth:`headrace.config.Settings.located`).
        as_: principal of every room; None: each room has its own.
        name: how this client shows in the broker's logs.
    """

    def __init__(
        self, pipeline: Pipeline | str, settings: Settings, *, as_: str | None = None, name: str = "headrace-client"
    ) -> None:
        self.pipeline = find_pipeline(pipeline, settings) if isinstance(pipeline, str) else pipeline
        self._settings = settings
        self._as = as_
        self._name = name
        self._lock = threading.RLock()
        self._topics: dict[str, PipelineTopics] = {}
        self._events: EventProducer | None = None
        self._closing: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def events(self) -> EventProducer:
        """Sends raw events; flushed and closed with the client."""
        with self._lock:  # threads that ask at once share one
            if self._events is None:
                wait = self._settings.full_queue_s
                self._events = self._kept(EventProducer(self._of(PRODUCER.name), self._name, wait=wait))
            return self._events

    @cached_property
    def async_events(self) -> AsyncEventProducer:
        """Sends raw events from coroutines, through the producer of :attr:`events`: both keep one order."""
        return AsyncEventProducer(self.events)

    def follow(self, consumer_id: str, features: tuple[str, ...] = ()) -> ModelSubscriber:
        """Follow the model in force and score with it in this process; closed with the client.

        Args:
            consumer_id: name of this service.
            features: feature columns this service can give. They are published as a contract: a candidate that needs
                others does not pass its gates. Empty: no contract.
        """
        trust = Trust.of(self._settings)
        return self._kept(ModelSubscriber(self._of(SUBSCRIBER.name), consumer_id, features, trust))

    @cached_property
    def models(self) -> Models:
        """The models of the pipeline: a mapping by id, or by as much of its start as is unique."""
        return Models(self._of(PEOPLE.name), Trust.of(self._settings))

    @cached_property
    def query(self) -> Query:
        """Read-only views of the pipeline as plain data."""
        return Query(self._of(PEOPLE.name), Trust.of(self._settings))

    def decisions(self) -> list[Decision]:
        """Every decision on the pipeline's models, oldest first."""
        return self.query.decisions()

    def train(self, why: str = "asked for", *, by: str = "") -> TrainingTrigger:
        """Ask for a training on every example there is now.

        Raises:
            ConfigError: there are no examples yet.
        """
        return decisions.order_training(self._of(PEOPLE.name), by or getpass.getuser(), why)

    def approve(
        self,
        model: str,
        *,
        evidence: str,
        share: int = 100,
        shadows: Sequence[str] = (),
        skip_backlog: bool = False,
        note: str = "",
        by: str = "",
    ) -> Approval:
        """Approve a candidate on the evidence that was shown.

        Args:
            model: model id, or as much of its start as is unique.
            evidence: hash of the gate results that were looked at: ``client.models[model].evidence.hash``.
            share: percent of the answers it gives; the champion in force gives the rest. Which ids it answers is drawn
                anew with each experiment; another share of a candidate that answers already keeps its ids.
            shadows: models to score beside it, never to answer.
            skip_backlog: whether the records from before the pipeline's first policy are passed over, not scored.
            note: why.
            by: who approves; default: the user logged in.

        Raises:
            ConfigError: no such model, no gate results, other ones than were shown, no champion to share with, or no
                backlog to skip: only the first approval of a pipeline has one.
        """
        return decisions.order_approval(
            self._of(PEOPLE.name),
            model,
            by or getpass.getuser(),
            evidence=evidence,
            shadows=shadows,
            share=share,
            skip_backlog=skip_backlog,
            note=note,
        )

    def reject(self, model: str, why: str, *, instead: str = "", by: str = "") -> Rejected:
        """Reject a model for good. Where it rules, order in the same transaction what rules in its place.

        Args:
            model: model id, or as much of its start as is unique.
            why: for the record.
            instead: where the model rules, the activation that rules in its place (as much of its id as is unique), or
                ``"previous"``: the latest of another policy with no rejected model. Default: the policy in force
                without the model, where that is not the champion.
            by: who rejects; default: the user logged in.

        Returns:
            The rejection, and the order of what rules instead (None: the model did not rule). Until govern has carried
            the order out, the model still answers; ``client.models[model].view.detail`` says so.

        Raises:
            ConfigError: no such model; or it is the champion, and it is not said, or cannot be, what rules instead;
                the message names what can.
        """
        return decisions.order_rejection(self._of(PEOPLE.name), model, by or getpass.getuser(), why, instead)

    def rollback(self, why: str, *, to: str = "", by: str = "") -> RolledBack:
        """Put an earlier policy in force again, ahead of every order that is open; those are refused.

        Args:
            why: for the record.
            to: the activation to go back to; default: the latest of another policy none of whose models is rejected.
            by: who orders it; default: the user logged in.

        Raises:
            ConfigError: there is no such activation, or one of its models is rejected.
        """
        return decisions.order_rollback(self._of(PEOPLE.name), by or getpass.getuser(), why, to)

    def close(self) -> None:
        """Send what is still queued, end every room that was opened; again does nothing.

        Raises:
            Unavailable: some events were not delivered; everything is closed all the same.
        """
        failure: BaseException | None = None
        while self._closing:
            try:
                self._closing.pop()()
            except BaseException as e:  # noqa: BLE001 - every room is closed before the first failure is told
                failure = failure or e
        if failure is not None:
            raise failure

    def _of(self, principal: str) -> PipelineTopics:
        wanted = self._as or principal
        with self._lock:
            if wanted not in self._topics:
                self._topics[wanted] = open_topics(self.pipeline, self._settings.as_principal(wanted), self._name)
            return self._topics[wanted]

    def _kept(self, room: T) -> T:
        self._closing.append(room.close)
        return room

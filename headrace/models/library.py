"""The models a process can score with: follows the decisions and models topics in a thread, loads what is approved.

Loading happens beside the stream, so that a swap costs the stream nothing. A model that fails a check is
kept as a reason, never as a model.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from typing import Literal, NamedTuple

from headrace.errors import HeadraceError, ModelRejected, Unavailable
from headrace.log.base import Log, TopicPartition
from headrace.log.pipeline_log import PipelineLog
from headrace.models.policy import Marked, PolicyTimeline
from headrace.models.session import ScoringModel
from headrace.models.signing import Trust
from headrace.models.topic import fetch
from headrace.models.trial import MEMORY_BUDGET, try_out
from headrace.records import Activated, Approval, ModelManifest, Record, RolledBack

log = logging.getLogger("headrace.models")


class Loaded(NamedTuple):
    """What became of an attempt to load a model."""

    model_id: str
    state: Literal["LOADED", "REJECTED"]
    reason: str


def load(
    topics: PipelineLog,
    log: Log,
    manifest: ModelManifest,
    offset: int,
    trust: Trust,
    memory_budget: int = MEMORY_BUDGET,
) -> ScoringModel:
    """The model of a manifest that stands at ``offset`` of the models topic, once it has passed every check.

    Raises:
        ModelRejected: it fails one.
    """
    _in_order(manifest, topics.pipeline.inputs)
    package = fetch(topics, log, manifest, offset)
    try_out(package, trust, memory_budget)
    return ScoringModel(package)


class ModelLibrary:
    """Policies and loaded models of one pipeline, kept up to date by a thread.

    Args:
        topics: the pipeline's topics.
        log: the cluster to follow.
        trust: whose models are used.
        memory_budget: bytes a loaded model may hold.
    """

    def __init__(self, topics: PipelineLog, log: Log, trust: Trust, memory_budget: int = MEMORY_BUDGET) -> None:
        self.timeline = PolicyTimeline()
        self.changed = threading.Event()
        self._topics = topics
        self._trust = trust
        _say_of(trust)
        self._memory_budget = memory_budget
        self._log = log
        self._models: dict[str, ScoringModel] = {}
        self._rejected: dict[str, str] = {}
        self._manifests: dict[str, dict[int, ModelManifest]] = {}
        self._pending: dict[int, list[str]] = {}
        self._activations: dict[str, list[str]] = {}
        self._wanted: set[str] = set()
        self._latest: Marked | None = None
        self._events: queue.SimpleQueue[Loaded] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._decisions = TopicPartition(topics.topic("decisions"), 0)
        self._published = TopicPartition(topics.topic("models"), 0)
        self._targets: dict[TopicPartition, int] = {}
        self._reached: dict[TopicPartition, int] = {self._decisions: 0, self._published: 0}
        self.refresh()
        self._thread = threading.Thread(target=self._run, name="model-library", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Note how far the topics reach now; until the thread has read that far, :attr:`current` is false.

        The high watermark, not the last stable offset: while an activation is committing, its marker can be
        visible in one topic before its record is in the other.
        """
        self._targets = {tp: self._log.high_watermarks(tp.topic)[0] for tp in self._reached}

    @property
    def current(self) -> bool:
        """Whether everything has been read that was there at the last :meth:`refresh`."""
        self._check()
        return all(self._reached[tp] >= target for tp, target in self._targets.items())

    def latest(self) -> Marked | None:
        """The policy of the activation written last."""
        return self._latest

    def model(self, model_id: str) -> ScoringModel | None:
        """The loaded model, or None while it is not; asking for it has it loaded."""
        self._check()
        found = self._models.get(model_id)
        if found is None and model_id not in self._rejected:
            with self._lock:
                self._wanted.add(model_id)
        return found

    def rejected(self, model_id: str) -> str | None:
        """Why a model is never used, or None."""
        return self._rejected.get(model_id)

    def keep_only(self, model_ids: Iterable[str]) -> None:
        """Let go of models that neither these names nor an approval not yet activated need."""
        with self._lock:
            needed = {*model_ids, *(m for models in self._pending.values() for m in models), *self._wanted}
            for gone in self._models.keys() - needed:
                del self._models[gone]

    def events(self) -> list[Loaded]:
        """What was loaded or rejected since the last call."""
        found = []
        while not self._events.empty():
            found.append(self._events.get())
        return found

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        reader = self._log.reader(dict(self._reached))
        try:
            while not self._stop.is_set():
                try:
                    chunks = reader.poll(1000, 0.05)
                    for chunk in chunks:
                        for offset, record in self._topics.control_records(chunk):
                            self._note(offset, record)
                    for tp in self._reached:
                        self._reached[tp] = reader.reached(tp)
                    if self.current:
                        self._load()
                except Unavailable as e:
                    log.warning("cannot follow models for now: %s", e)
                    self._stop.wait(0.5)
                    # What was read and not yet noted must come again; taking a record twice changes nothing.
                    reader.close()
                    reader = self._log.reader(dict(self._reached))
        except BaseException as e:  # noqa: BLE001 - kept, and raised in the thread that uses the library
            self._failure = e
        finally:
            reader.close()

    def _note(self, offset: int, record: Record) -> None:
        with self._lock:
            match record:
                case ModelManifest():
                    self._manifests.setdefault(record.model_id, {})[offset] = record
                case Approval():
                    self._pending[offset] = record.policy.models
                case RolledBack():
                    self._pending[offset] = self._activations.get(record.activation_id, [])
                case Activated():
                    self._activations[record.activation_id] = record.policy.models
                    self._wanted.update(self._pending.pop(record.order_offset, []))
                    self.timeline.add(record)
                    self._latest = Marked(offset, record.activation_id, record.policy)
                    self.changed.set()

    def _load(self) -> None:
        """Load what is wanted: the models of approvals not yet activated, and those asked for."""
        with self._lock:
            wanted = {*self._wanted, *(m for models in self._pending.values() for m in models)}
            ready = [m for m in wanted if m in self._manifests and m not in self._models and m not in self._rejected]
            self._wanted -= self._models.keys()
        for model_id in ready:
            try:
                self._models[model_id] = self._loaded(self._manifests[model_id])
            except ModelRejected as e:
                self._rejected[model_id] = str(e)
                self._events.put(Loaded(model_id, "REJECTED", str(e)))
                log.warning("rejected: %s", e)
                continue
            self._events.put(Loaded(model_id, "LOADED", ""))
            self.changed.set()
            log.info("loaded model %s", model_id[:12])

    def _loaded(self, manifests: dict[int, ModelManifest]) -> ScoringModel:
        """The model of the first of these manifests that passes every check: a later one of the same id, by
        whomever, must not take a good model away.

        Raises:
            ModelRejected: none does; the reason is that of the first.
        """
        reasons = []
        for offset, manifest in manifests.items():
            try:
                return load(self._topics, self._log, manifest, offset, self._trust, self._memory_budget)
            except ModelRejected as e:
                reasons.append(e)
        raise reasons[0]

    def _check(self) -> None:
        if self._failure is not None:
            raise HeadraceError(f"following the model topics failed: {self._failure!r}") from self._failure


def _say_of(trust: Trust) -> None:
    if trust.unsigned:
        log.warning("models without a signature are accepted here (unsigned_models = accept)")


def _in_order(manifest: ModelManifest, inputs: tuple[str, ...]) -> None:
    """A model's columns are some of the pipeline's, in the pipeline's order: retrain gives them in no other.

    Raises:
        ModelRejected: they are not.
    """
    left = iter(inputs)
    if not all(name in left for name in manifest.features):
        given, short = ", ".join(manifest.features), manifest.model_id[:12]
        raise ModelRejected(
            f"model {short}: its columns ({given}) are not the pipeline's ({', '.join(inputs)}) in order"
        )

"""The models a process can score with: follows the decisions and models topics in a thread, loads what is approved.

Loading happens beside the stream, so that a swap costs the stream nothing. One model is loaded at a time: those the
stream waits for come first, then the policy in force, then open orders in the order in which govern takes them: the
latest rollback before all others. Models of the past are loaded only when the stream asks for them. A model that fails
a check is kept as a reason, never as a model.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from typing import Literal, NamedTuple

from headrace.errors import HeadraceError, ModelRejected, Unavailable
from headrace.governance.catalog import without_model_chunks
from headrace.governance.policy import PolicyInForce, PolicyTimeline
from headrace.kafka.log import Log, TopicPartition
from headrace.models.package.signing import Trust
from headrace.models.package.topic import fetch
from headrace.models.package.trial import MEMORY_BUDGET, try_out
from headrace.models.score import trees_kernel
from headrace.models.score.session import ScoringModel
from headrace.schema.records import Activated, Approval, ModelManifest, Record, Rejection, RolledBack
from headrace.topics.pipeline_topics import PipelineTopics

log = logging.getLogger("headrace.models")


class Loaded(NamedTuple):
    """What became of an attempt to load a model."""

    model_id: str
    state: Literal["LOADED", "REJECTED"]
    reason: str


def load(
    topics: PipelineTopics,
    log: Log,
    manifest: ModelManifest,
    offset: int,
    trust: Trust,
    memory_budget: int = MEMORY_BUDGET,
    *,
    reference: bool = False,
) -> ScoringModel:
    """The model of a manifest that stands at ``offset`` of the models topic, once it has passed every check.

    ``reference``: as :class:`ScoringModel` has it.

    Raises:
        ModelRejected: it fails one.
    """
    _in_order(manifest, topics.pipeline.inputs)
    package = fetch(topics, log, manifest, offset)
    try_out(package, trust, memory_budget)
    return ScoringModel(package, reference=reference)


class ModelLibrary:
    """Policies and loaded models of one pipeline, kept up to date by a thread.

    Args:
        topics: the pipeline's topics.
        log: the cluster to follow.
        trust: whose models are used.
        memory_budget: bytes a loaded model may hold.
    """

    def __init__(self, topics: PipelineTopics, log: Log, trust: Trust, memory_budget: int = MEMORY_BUDGET) -> None:
        self.timeline = PolicyTimeline()
        self.changed = threading.Event()
        self._topics = topics
        self._trust = trust
        _say_of(trust)
        trees_kernel.prepare()  # here, where no stream flows yet
        self._memory_budget = memory_budget
        self._log = log
        self._models: dict[str, ScoringModel] = {}
        self._rejected: dict[str, str] = {}
        self._manifests: dict[str, dict[int, ModelManifest]] = {}
        self._pending: dict[int, list[str]] = {}
        self._activations: dict[str, list[str]] = {}
        self._asked: dict[str, None] = {}
        self._latest: PolicyInForce | None = None
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

    def latest(self) -> PolicyInForce | None:
        """The policy of the activation written last."""
        return self._latest

    def model(self, model_id: str) -> ScoringModel | None:
        """The loaded model, or None while it is not; asking for it has it loaded."""
        self._check()
        with self._lock:
            found = self._models.get(model_id)
            if found is not None:
                self._asked.pop(model_id, None)
            elif model_id not in self._rejected:
                self._asked[model_id] = None
        return found

    def refused(self, model_id: str) -> str | None:
        """Why a model was rejected here; None: it was not."""
        return self._rejected.get(model_id)

    def keep_only(self, model_ids: Iterable[str]) -> None:
        """Let go of models that are neither among these nor wanted."""
        with self._lock:
            for gone in self._models.keys() - {*model_ids, *self._wanted()}:
                del self._models[gone]

    def events(self) -> list[Loaded]:
        """What was loaded or rejected since the last call. :meth:`states` says it again."""
        found = []
        while not self._events.empty():
            found.append(self._events.get())
        return found

    def states(self) -> list[Loaded]:
        """Every model that is loaded here, and every one that was rejected here."""
        with self._lock:
            loaded = [Loaded(model_id, "LOADED", "") for model_id in self._models]
            return loaded + [Loaded(model_id, "REJECTED", why) for model_id, why in self._rejected.items()]

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        reader = self._log.reader(dict(self._reached))
        loading = False
        try:
            while not self._stop.is_set():
                try:
                    chunks = reader.poll(1000, 0.0 if loading else 0.05)
                    for chunk in chunks:
                        read = without_model_chunks(chunk) if chunk.tp == self._published else chunk
                        for offset, record in self._topics.control_records(read):
                            self._note(offset, record)
                    for tp in self._reached:
                        self._reached[tp] = reader.reached(tp)
                    loading = self.current and self._load_next()
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
                    models = self._activations.get(record.activation_id, [])
                    wanted = [m for m in models if m not in record.without]
                    self._pending = {offset: wanted} | self._pending  # ahead of all others, as govern takes it
                case Rejection(order_offset=int(refused)):
                    self._pending.pop(refused, None)
                case Activated():
                    self._activations[record.activation_id] = record.policy.models
                    self._pending.pop(record.order_offset, None)
                    self.timeline.add(record)
                    self._latest = PolicyInForce(offset, record.activation_id, record.policy)
                    self.changed.set()

    def _wanted(self) -> list[str]:
        """Models to have, the most urgent first."""
        latest = self._latest.policy.models if self._latest else []
        return [*self._asked, *latest, *(m for models in self._pending.values() for m in models)]

    def _load_next(self) -> bool:
        """Load, or reject, the most urgent model that is published and not here. Gives whether there was one."""
        with self._lock:
            known = self._models.keys() | self._rejected.keys()
            model_id = next((m for m in self._wanted() if m in self._manifests and m not in known), None)
        if model_id is None:
            return False
        try:
            model = self._loaded(self._manifests[model_id])
        except ModelRejected as e:
            with self._lock:
                self._rejected[model_id] = str(e)
            self._events.put(Loaded(model_id, "REJECTED", str(e)))
            log.warning("rejected: %s", e)
            return True
        with self._lock:
            self._models[model_id] = model
        self._events.put(Loaded(model_id, "LOADED", ""))
        self.changed.set()
        log.info("loaded model %s", model_id[:12])
        return True

    def _loaded(self, manifests: dict[int, ModelManifest]) -> ScoringModel:
        """The model of the first of these manifests that passes every check: a later one of the same id, by
        whomever, must not take a good model away.

        Raises:
            ModelRejected: none does; the reason is that of the first.
        """
        reasons = []
        begin = next((m.chunks_from for m in manifests.values() if m.chunks_from is not None), None)
        for offset, manifest in manifests.items():
            if manifest.chunks_from is None:
                manifest = manifest.model_copy(update={"chunks_from": begin})
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
    for operator in trust.operators:
        log.warning(
            "models may use the operator %s here, which is not known to take each row by itself (models_allow)",
            operator,
        )


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

"""features -> predictions: each record under the policy of the last marker before it, and no other."""

from __future__ import annotations

import time
from collections.abc import Sequence

from headrace.codec.topic import Decoded
from headrace.codec.wire import Code
from headrace.governance.policy import PolicyInForce
from headrace.kafka.log import Chunk, Log, Output, TopicPartition
from headrace.models.library import Loaded, ModelLibrary
from headrace.models.package.signing import Trust
from headrace.models.score.feeding import FULL
from headrace.models.score.scoring import MARKER, Scoring, Segment, segments
from headrace.models.score.session import ScoringModel, runtime_fingerprint
from headrace.schema.records import PolicyMarker, WorkerStatus
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import IDLE, Figure, Stateless, Step


class Infer(Stateless):
    """Scores features. Pauses a partition whose policy or model is not here; never scores under another."""

    name = "infer"
    batch = FULL

    def __init__(self, topics: PipelineTopics, log: Log, worker: str, trust: Trust) -> None:
        self._topics = topics
        self._worker = worker
        self._library = ModelLibrary(topics, log, trust)
        self._in_force: dict[int, PolicyInForce] = {}
        self._unsaid: list[Loaded] = []
        self._swaps = 0
        self._waiting_since: dict[int, float] = {}
        self._waited_s = 0.0
        self.inputs = (topics.topic("features"),)

    def process(self, batch: Chunk) -> Step:
        if not self._library.current:
            return Step(consumed=0, why="the decisions and models published so far are still being read")
        decoded = self._topics.codec("features").decode(batch.values)
        statuses = self._note_markers(batch, decoded)
        found = segments(batch, decoded, self._library.timeline)
        lacking = next((s for s in found if not self._ready(s)), None)
        stop = len(batch) if lacking is None else lacking.start
        if stop < len(batch):
            self._waiting_since.setdefault(batch.tp.partition, time.monotonic())
        waits_for = "" if lacking is None else self._lacks(lacking)
        if stop == 0:
            return Step(consumed=0, why=waits_for)
        outputs = [status for status, place in statuses if place < stop]
        dead = [(p, Code(decoded.codes[p]).label, why) for p, why in decoded.reasons.items() if p < stop]
        scoring = Scoring(batch, decoded, self._model, self._topics.codec("predictions"))
        for segment in found:
            if segment.policy is None or segment.start >= stop:
                break
            if not segment.passed_over:
                made = scoring.between(segment.start, segment.stop, segment.policy)
                outputs.append(Output(self._topics.tp("predictions", batch.tp.partition), made.keys, made.values))
                dead += [(p, "feature_not_finite", "a feature is NaN or infinite") for p in made.unfit]
            self._let_go(batch.tp.partition, segment.policy)
        return Step([*outputs, *self._topics.dead(self.name, batch, sorted(dead))], consumed=stop, why=waits_for)

    def tick(self) -> Step:
        self._unsaid += self._library.events()
        if not self._unsaid:
            return IDLE
        statuses = [
            self._status(e.model_id, e.state, reason=e.reason) for e in {e.model_id: e for e in self._unsaid}.values()
        ]
        said = self._topics.control("workers", statuses, [f"{self._worker}/{s.model_id}" for s in statuses])
        self._unsaid = []
        return Step([said])

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._in_force.clear()
        self._waiting_since.clear()
        # What was said may have been given up with its transaction, and govern waits for it: again is harmless.
        self._library.events()
        self._unsaid = self._library.states()
        if tps:
            self._topics.prepare("predictions", "workers", "dead")
            self._library.refresh()

    def figures(self) -> list[Figure]:
        in_force = "1 for the model that answers, by partition."
        return [
            *(
                Figure("model_in_force", in_force, {"partition": str(p), "model_id": marked.policy.champion}, 1.0)
                for p, marked in sorted(dict(self._in_force).items())
            ),
            Figure("swaps", "Times that a partition came to another policy.", {}, self._swaps, counts=True),
            Figure("swap_wait_seconds", "How long records waited for the models of the last swap.", {}, self._waited_s),
        ]

    def close(self) -> None:
        self._library.close()

    def _note_markers(self, batch: Chunk, decoded: Decoded) -> list[tuple[Output, int]]:
        """Put the batch's markers into the timeline; statuses to write, with the marker's place."""
        statuses = []
        for place in decoded.places(MARKER).tolist():
            marker = self._topics.codec("features").decode_control(batch.values[place])
            assert isinstance(marker, PolicyMarker)
            offset = int(batch.offsets[place])
            self._library.timeline.mark(batch.tp.partition, PolicyInForce(offset, marker.activation_id, marker.policy))
            model = marker.policy.champion
            status = self._status(model, "ACTIVE", partition=batch.tp.partition, offset=offset)
            key = f"{self._worker}/{model}/{batch.tp.partition}"
            statuses.append((self._topics.control("workers", [status], [key]), place))
        return statuses

    def _ready(self, segment: Segment) -> bool:
        """Whether the segment's policy is known and its models are loaded. Asks for those that are not."""
        if segment.policy is None:
            return False
        return not [m for m in segment.policy.policy.models if self._library.model(m) is None]

    def _lacks(self, segment: Segment) -> str:
        """What a segment waits for."""
        if segment.policy is None:
            return "no model has been put in force yet: train one and approve it (headrace models list)"
        marker = f"the policy of activation {segment.policy.activation_id}"
        missing = [m for m in segment.policy.policy.models if self._library.model(m) is None]
        for model in missing:
            if (refused := self._library.refused(model)) is not None:
                return f"{marker} names model {model[:12]}, which was rejected here: {refused}"
        return f"{marker} names model {', '.join(m[:12] for m in missing)}, which is not loaded yet"

    def _let_go(self, partition: int, marked: PolicyInForce) -> None:
        """A partition has come to this policy: models that no partition needs any more go."""
        if self._in_force.get(partition) != marked:
            now = time.monotonic()
            self._waited_s = now - self._waiting_since.pop(partition, now)
            self._swaps += partition in self._in_force
            self._in_force[partition] = marked
            self._library.keep_only(m for marked in self._in_force.values() for m in marked.policy.models)

    def _model(self, model_id: str) -> ScoringModel:
        model = self._library.model(model_id)
        assert model is not None, "a segment is scored only when its models are loaded"
        return model

    def _status(self, model_id: str, state: str, **more: object) -> WorkerStatus:
        return WorkerStatus.model_validate(
            {"worker_id": self._worker, "model_id": model_id, "state": state, "runtime": runtime_fingerprint(), **more}
        )

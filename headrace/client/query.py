"""Read-only views of one pipeline, as plain data."""

from __future__ import annotations

from headrace.models.package.signing import Trust
from headrace.query.audit.audit import audit
from headrace.query.audit.report import Report
from headrace.query.dead.letters import Letters, dead_letters
from headrace.query.decisions import Decision, decisions
from headrace.query.models import ModelView, model_views
from headrace.query.replay.verify import Verification, verify
from headrace.topics.pipeline_topics import PipelineTopics


class Query:
    """What is known of a pipeline. Each call reads the topics anew, and reads committed records only."""

    def __init__(self, topics: PipelineTopics, trust: Trust) -> None:
        self._topics = topics
        self._trust = trust

    def models(self) -> list[ModelView]:
        """Every model, in the order of publication."""
        return model_views(self._topics)

    def decisions(self) -> list[Decision]:
        """Every decision on models, oldest first."""
        return decisions(self._topics)

    def dead(self) -> Letters:
        """Every dead letter and every retry."""
        return dead_letters(self._topics)

    def verify(self) -> Verification:
        """Every prediction scored again and compared bit for bit."""
        return verify(self._topics, self._trust)

    def audit(self) -> Report:
        """Every rule of the audit that needs no processor to run again (``headrace audit`` runs those too)."""
        return audit(self._topics, trust=self._trust, replay=True)

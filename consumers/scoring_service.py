"""A small real service with the model inside: POST rows, get scores from the model in force. No restart on a swap.

Run it: ``python -m headrace.consumers.scoring_service flights --port 8000``.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from headrace.client.connect import connect
from headrace.client.follow import ModelSubscriber
from headrace.errors import HeadraceError, SchemaError, Unavailable

MOST_ROWS = 10_000


class Rows(BaseModel):
    """Rows to score: objects with the feature columns, and an ``id`` where answers are split between models."""

    rows: list[dict[str, Any]] = Field(max_length=MOST_ROWS)


class Answer(BaseModel):
    """One score for each row, and the model that gave it."""

    scores: list[float]
    models: list[str]
    activation: str


def create_app(models: ModelSubscriber) -> FastAPI:
    """The service over a subscriber."""
    app = FastAPI(title="headrace scoring service")

    @app.get("/model")
    def model() -> dict[str, object]:
        """The policy in force."""
        marked = models.in_force
        if marked is None:
            raise HTTPException(503, "no model is in force yet")
        return {"activation": marked.activation_id, "policy": marked.policy.model_dump()}

    @app.post("/score")
    def score(asked: Rows) -> Answer:
        """Score rows with the model in force."""
        try:
            scored = models.score(asked.rows)
        except SchemaError as e:
            raise HTTPException(422, str(e)) from None
        except Unavailable as e:
            raise HTTPException(503, str(e)) from None
        return Answer(scores=scored.scores[:, 0].tolist(), models=scored.model_ids, activation=scored.activation_id)

    return app


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("--kafka")
    parser.add_argument("--registry")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    try:
        with connect(given.pipeline, kafka=given.kafka, registry=given.registry, name="scoring-service") as client:
            models = client.follow("scoring-service", client.pipeline.inputs)
            uvicorn.run(create_app(models), host=given.host, port=given.port, log_level="warning")
    except HeadraceError as e:
        parser.exit(e.exit_code, f"scoring-service: {e}\n")


if __name__ == "__main__":
    main()

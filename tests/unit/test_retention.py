"""The retention policies drop whole indices of what is kept for a time, and touch nothing else."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from headrace.consumers.forward.shape import Shape, shapes
from headrace.consumers.forward.templates import index, template
from headrace.examples.flights.pipeline import flights
from tests.conftest import ROOT

SHAPES = shapes(flights, "")
AGE = "400d"


def policy(engine: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((ROOT / "deploy" / "search" / f"retention-{engine}.json").read_text())["policy"]
    return read


def indices(shape: Shape) -> list[str]:
    """Names that its indices have: as forward makes them, and as a rebuild does."""
    return [
        f"{name}.{period}" for name in (shape.alias, f"{shape.alias}-20240506070809") for period in ("2024-01", "all")
    ]


def actions(value: Any) -> set[str]:
    """What is done to an index anywhere in a policy."""
    if isinstance(value, list):
        return {action for held in value for action in actions(held)}
    if isinstance(value, dict):
        of = value.get("actions", [])
        here = set(of) if isinstance(of, dict) else {name for action in of for name in action}
        return here | {action for held in value.values() for action in actions(held)}
    return set()


def test_both_policies_only_delete_and_at_the_same_age() -> None:
    ilm, ism = policy("ilm"), policy("ism")
    assert actions(ilm["phases"]) == actions(ism["states"]) == {"delete"}
    assert ilm["phases"]["delete"]["min_age"] == AGE
    kept, dropped = ism["states"]
    assert ism["default_state"] == kept["name"]
    assert kept["transitions"] == [{"state_name": dropped["name"], "conditions": {"min_index_age": AGE}}]
    assert dropped["transitions"] == []


def test_the_patterns_are_of_all_that_is_kept_for_a_time_and_not_of_decisions() -> None:
    (told,) = policy("ism")["ism_template"]
    for shape in SHAPES.values():
        found = {any(fnmatchcase(made, p) for p in told["index_patterns"]) for made in indices(shape)}
        assert found == {shape.topic.name != "decisions"}
        assert not any(fnmatchcase(shape.alias, p) for p in told["index_patterns"])


def test_a_lifecycle_that_is_named_is_set_on_what_is_kept_for_a_time() -> None:
    named = {name: shape.lifecycle("year") for name, shape in SHAPES.items()}
    assert named == {**dict.fromkeys(flights.forward.topics, "year"), "decisions": ""}
    for name, shape in SHAPES.items():
        for made in (
            index(shape.alias, shape.fields, named[name]),
            template(shape.alias, shape.fields, named[name])["template"],
        ):
            assert made["settings"].get("index.lifecycle.name") == (None if name == "decisions" else "year")
            assert made["aliases"] == {shape.alias: {}}

"""The story of a prediction: every part as the log has it, and what is not as it was is said."""

from __future__ import annotations

import json
import subprocess
import sys

import polars as pl
import pytest

from headrace.errors import ConfigError
from headrace.governance.catalog import governance
from headrace.kafka.coordinate import Coordinate
from headrace.models.package.signing import Trust
from headrace.query.why.find import find
from headrace.query.why.story import Story, tell
from headrace.runner.recompute import features_of
from headrace.topics.pipeline_topics import PipelineTopics
from tests.integration.platform import Platform, rows_of
from tests.integration.spoiler import Spoiler

TRUST = Trust(unsigned=True)
ANSWER = pl.col("route") != "shadow"


def story_of(topics: PipelineTopics, asked: str) -> Story:
    place, others = find(topics, asked)
    return tell(topics, place, TRUST, features_of, others)


@pytest.mark.parametrize("number", [0, 350, 450, 550, 699])
def test_every_part_of_a_story_is_what_the_topics_hold(good: Platform, number: int) -> None:
    topics, asked = good.topics, f"c{number}"
    story = story_of(topics, asked)
    [receipt] = (
        rows_of(topics, "predictions").filter((pl.col("id") == asked) & (pl.col("route") != "shadow")).to_dicts()
    )
    assert {n: story.prediction[n] for n in receipt if n not in ("p", "o")} == {
        n: v for n, v in receipt.items() if n not in ("p", "o")
    }
    assert story.raw is not None
    assert story.features is not None
    assert (story.raw["click_id"], story.raw["kind"]) == (asked, "seen")
    assert story.features["price"] == story.raw["price"]
    ruling = governance(topics).timeline.at(receipt["p"], receipt["offset"])
    assert ruling is not None
    assert story.policy is not None
    assert (story.policy["marker"], story.policy["activation"]) == (ruling.offset, ruling.activation_id)
    assert story.policy["ordered_by"] == "test"
    assert story.model is not None
    assert story.model["model_id"] == receipt["model_id"]
    assert {s["model_id"] for s in story.shadows} == set(ruling.policy.shadows)
    [outcome] = (
        rows_of(topics, "outcomes")
        .filter((pl.col("p") == receipt["p"]) & (pl.col("prediction_offset") == receipt["o"]))
        .to_dicts()
    )
    assert story.label is not None
    assert story.label["label"] == outcome["label"]
    assert (story.score_again.said, story.agrees) == ("the same bits", True)
    assert story.features_again is not None
    assert story.features_again.same
    assert story == story_of(topics, f"{receipt['p']}:{receipt['o']}")
    assert json.loads(json.dumps(story.plain(), default=str))["agrees"] is True


def test_the_gates_behind_the_approval_are_told(good: Platform) -> None:
    policy = story_of(good.topics, "c0").policy
    assert policy is not None
    assert {g["gate"]: g["passed"] for g in policy["gates"]}["quality"] is True


def test_a_share_of_the_answers_is_explained_by_the_ids_place(good: Platform) -> None:
    shared = rows_of(good.topics, "predictions").filter(route="candidate")
    assert "of [0, 1), which route 2 of 2 (30 of 100) answers for" in story_of(good.topics, shared["id"][0]).route


def test_what_is_not_as_it_was_is_said(twin: PipelineTopics) -> None:
    spoiler = Spoiler(twin)
    p, o, row = spoiler.some("features", pl.col("price") > 0.1)
    spoiler.rewrite("features", p, o, row.with_columns(pl.col("price") + 0.5))
    story = story_of(twin, row["id"][0])
    assert not story.agrees
    assert story.features_again is not None
    assert story.features_again.said.startswith(f"price is {row['price'][0] + 0.5}, made again {row['price'][0]}")
    assert story.score_again.said.startswith("its outputs are ")


def test_a_record_that_is_answered_twice_is_told_with_the_other_answer(twin: PipelineTopics) -> None:
    p, o, row = Spoiler(twin).some("predictions", ANSWER)
    [again] = Spoiler(twin).append("predictions", p, Spoiler(twin).value("predictions", p, o))
    place, others = find(twin, row["id"][0])
    story = tell(twin, place, TRUST, features_of, others)
    assert (place, story.doubled, story.others) == (Coordinate(p, again), [f"{p}:{o}"], [])
    assert not story.agrees


def test_a_story_goes_back_no_further_than_it_must(twin: PipelineTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.runner.recompute._BACK", 10)
    for asked in ("c699", "c20"):
        assert story_of(twin, asked).agrees


def test_parts_that_the_log_no_longer_holds_are_none(twin: PipelineTopics) -> None:
    spoiler = Spoiler(twin)
    receipt = rows_of(twin, "predictions").filter(ANSWER, id="c10")
    features = int(receipt["offset"][0])
    spoiler.log.erase(twin.tp("features", int(receipt["p"][0])), features)
    story = story_of(twin, "c10")
    assert (story.features, story.raw, story.features_again) == (None, None, None)
    assert story.score_again.said == "the features record is not on the log any more"
    assert not story.agrees


def test_what_is_not_there_is_one_clear_line(twin: PipelineTopics) -> None:
    name = twin.topic("predictions")
    end = twin.log.bounds(name)[0][1]
    for asked, said in (
        ("nobody", f"{name} holds no answer about id 'nobody': it may wait for a model"),
        ("7:1", f"{name} has 3 partitions: there is no 7"),
        (f"0:{end}", f"{name}[0] holds offsets 0 to {end}, not {end}"),
    ):
        with pytest.raises(ConfigError) as caught:
            find(twin, asked)
        assert str(caught.value).startswith(said)
    p, o = rows_of(twin, "predictions").select("p", "o").row(3)
    Spoiler(twin).log.erase(twin.tp("predictions", p), o)
    with pytest.raises(ConfigError, match=r"^no prediction that can be read stands at "):
        tell(twin, Coordinate(p, o), TRUST, features_of, [])


def test_from_the_command_line(good: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_PIPELINE", good.topics.pipeline.name)
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", good.settings.bootstrap)
    monkeypatch.setenv("HEADRACE_REGISTRY_URL", good.settings.registry_url)
    monkeypatch.setenv("HEADRACE_STATE", str(good.settings.state))
    monkeypatch.setenv("HEADRACE_UNSIGNED_MODELS", "accept")
    command = [sys.executable, "-m", "headrace", "why", "headrace.testing.pipelines:pipeline", "c450"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in (
        "raw event",
        "features",
        "policy in force",
        "evidence",
        "model",
        "shadows",
        "label that came",
    ):
        assert part in done.stdout
    assert "score, made again: the same bits" in done.stdout
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert told["prediction"]["id"] == "c450"
    assert told["score_again"] == {"same": True, "said": "the same bits"}

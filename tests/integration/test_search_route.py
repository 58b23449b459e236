"""Documents reach the real engine, each once, through whatever stands between; what it refuses is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from headrace.config import Search
from headrace.consumers.forward import bulk
from headrace.consumers.forward.bulk import SearchRoute
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.route import Documents
from headrace.consumers.forward.shape import Shape, shapes
from headrace.declare.forward import Forward
from headrace.errors import ConfigError, Unavailable
from headrace.testing.pipelines import toy
from tests.search_engines import ENGINES, engine_of
from tests.search_proxy import FAULTS, Fault, SearchProxy

pytestmark = pytest.mark.search


@pytest.fixture(scope="module", params=ENGINES)
def searching(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a search engine of each kind."""
    with engine_of(request.param, tmp_path_factory.mktemp("searching")) as url:
        yield url


@pytest.fixture
def shape(unique: Callable[[str], str]) -> Shape:
    """Of the outcomes of a pipeline of its own."""
    return shapes(toy(unique("p")), "")["outcomes"]


def documents(shape: Shape, count: int, start: int = 0, size: int = 20) -> Documents:
    """Outcomes ``start`` to before ``start + count``."""
    ids = [f"t-0-{i}" for i in range(start, start + count)]
    bodies = [json.dumps({"@id": id_, "@offset": i, "id": "x" * size}).encode() for i, id_ in enumerate(ids, start)]
    return Documents(
        "outcomes", "headrace.p.outcomes", ids, [f"{shape.alias}.all"] * count, np.zeros(count, np.int64), bodies
    )


def held(engine: Engine, shape: Shape) -> list[str]:
    """The ids under an alias, sorted by number."""
    engine.client.indices.refresh(index=shape.alias)
    found = engine.client.search(index=shape.alias, size=10_000, source=False)
    return sorted((hit["_id"] for hit in found["hits"]["hits"]), key=lambda id_: int(id_.split("-")[-1]))


@pytest.fixture
def engine(searching: str) -> Iterator[Engine]:
    engine = Engine(Search(url=searching))
    yield engine
    engine.close()


def route_to(url: str, shape: Shape) -> SearchRoute:
    return SearchRoute(Engine(Search(url=url)), [shape])


@pytest.mark.parametrize("fault", ["429", "half", "413"])
def test_an_engine_without_room_is_offered_them_again(
    searching: str, engine: Engine, shape: Shape, fault: Fault
) -> None:
    sent = documents(shape, 100)
    with SearchProxy(searching, [fault, fault]) as proxy:
        route = route_to(proxy.url, shape)
        assert route.send(sent) == []
        route.close()
    assert proxy.met == [fault, fault]
    assert held(engine, shape) == sent.ids


@pytest.mark.parametrize("fault", ["503", "lost", "unheard"])
def test_an_engine_that_is_away_is_said_so_and_a_repeat_overwrites(
    searching: str, engine: Engine, shape: Shape, fault: Fault
) -> None:
    sent = documents(shape, 100)
    with SearchProxy(searching, [fault]) as proxy:
        route = route_to(proxy.url, shape)
        with pytest.raises(Unavailable, match=r"^search engine http://127.0.0.1:\d+"):
            route.send(sent)
        assert route.send(sent) == []
        route.close()
    assert held(engine, shape) == sent.ids


def test_any_run_of_faults_ends_with_each_document_once(searching: str, engine: Engine, shape: Shape) -> None:
    chance = random.Random(7)
    faults = [chance.choice(FAULTS) for _ in range(40)]
    with SearchProxy(searching, faults) as proxy:
        route = route_to(proxy.url, shape)
        taken = 0
        while taken < 4_000:
            batch = documents(shape, chance.randint(1, 300), taken)
            try:
                assert route.send(batch) == []
            except Unavailable:
                continue
            taken += len(batch)
        route.close()
    assert sorted(proxy.met) == sorted(f for f in faults if f != "none")
    assert held(engine, shape) == [f"t-0-{i}" for i in range(taken)]


def test_a_request_too_large_is_split_down_to_the_document_that_is(
    searching: str, engine: Engine, shape: Shape
) -> None:
    small, large = documents(shape, 50), documents(shape, 1, 50, size=30_000)
    both = Documents(
        "outcomes",
        "t",
        [*small.ids, *large.ids, "t-0-51"],
        [small.targets[0]] * 52,
        np.zeros(52, np.int64),
        [*small.bodies, *large.bodies, small.bodies[0]],
    )
    with SearchProxy(searching, most=20_000) as proxy:
        route = route_to(proxy.url, shape)
        (refused,) = route.send(both)
        route.close()
    assert refused.place == 50
    assert refused.reason.startswith("too large: the engine takes no request of 30,")
    assert held(engine, shape) == [*small.ids, "t-0-51"]


def test_an_engine_that_stays_full_is_away(searching: str, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PATIENCE_S", 0.3)
    with SearchProxy(searching, ["429"] * 50) as proxy:
        route = route_to(proxy.url, shape)
        with pytest.raises(Unavailable, match=r"has had no room for 0\.3 s$"):
            route.send(documents(shape, 10))
        route.close()


def test_many_requests_go_side_by_side_and_each_refusal_is_at_its_place(
    searching: str, engine: Engine, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "REQUEST_BYTES", 2_000)
    sent = documents(shape, 300)
    bad = {7: {"surprise": 1}, 120: {"@offset": "seven"}, 299: {"label_time": "tomorrow"}}
    bodies = [json.dumps(bad[i]).encode() if i in bad else body for i, body in enumerate(sent.bodies)]
    route = route_to(searching, shape)
    refused = route.send(Documents(sent.kind, sent.tag, sent.ids, sent.targets, sent.times, bodies))
    route.close()
    assert [r.place for r in refused] == [7, 120, 299]
    said = [r.reason.split(":")[0] for r in refused]
    malformed = {"mapper_parsing_exception"} if said[1].startswith("mapper") else {"document_parsing_exception"}
    assert (said[0], set(said[1:])) == ("strict_dynamic_mapping_exception", malformed)
    assert held(engine, shape) == [id_ for i, id_ in enumerate(sent.ids) if i not in bad]


def test_an_index_of_somebody_else_is_refused_with_the_difference(engine: Engine, shape: Shape) -> None:
    name = f"{shape.alias}.all"
    engine.client.indices.create(
        index=name, mappings={"properties": {"label": {"type": "keyword"}, "@offset": {"type": "date"}}}
    )
    route = SearchRoute(Engine(Search(url=engine.url)), [shape])
    with pytest.raises(ConfigError) as refused:
        route.send(documents(shape, 1))
    route.close()
    assert str(refused.value) == (
        f"index {name} of {engine.url} has other mappings than outcomes needs: label is keyword, and would be double; "
        "@offset is date, and would be long; its mapping is dynamic: true, ours is strict. "
        "Move it away, or fill it anew from the log: `headrace search rebuild`"
    )


def test_a_name_that_is_taken_is_refused(engine: Engine, shape: Shape) -> None:
    engine.client.indices.create(index=shape.alias)
    route = SearchRoute(Engine(Search(url=engine.url)), [shape])
    with pytest.raises(
        ConfigError, match=f"has an index named {shape.alias}, and headrace needs the name for an alias"
    ):
        route.send(documents(shape, 1))
    engine.client.indices.delete(index=shape.alias)
    engine.client.indices.put_index_template(name=shape.alias, index_patterns=["nobody*"])
    with pytest.raises(ConfigError, match=f"has a template named {shape.alias} that is not headrace's"):
        route.send(documents(shape, 1))
    route.close()


def test_fields_that_are_new_are_added_to_the_indices_there_are(
    searching: str, engine: Engine, unique: Callable[[str], str]
) -> None:
    """As when a pipeline gains a feature, or what was dropped may leave."""
    name = unique("p")
    before, after = (
        shapes(replace(toy(name), forward=Forward(drop=drop)), "")["outcomes"] for drop in (("outcomes.id",), ())
    )
    for shape, count in ((before, 0), (after, 5)):
        route = SearchRoute(Engine(Search(url=searching)), [shape])
        if not count:
            plain = Documents(
                "outcomes", "t", ["t-0-9"], [f"{shape.alias}.all"], np.zeros(1, np.int64), [b'{"@offset":9}']
            )
            assert route.send(plain) == []
        assert route.send(documents(shape, count)) == []
        route.close()
    assert held(engine, after) == ["t-0-0", "t-0-1", "t-0-2", "t-0-3", "t-0-4", "t-0-9"]


def test_a_lifecycle_that_the_engine_does_not_know_is_refused_at_the_start(searching: str, shape: Shape) -> None:
    """Neither of these engines has any: the one by another name, the other in the distributions with all modules."""
    route = SearchRoute(Engine(Search(url=searching, lifecycle="year")), [shape])
    with pytest.raises(ConfigError, match=r"unknown setting \[index\.lifecycle\.name\]"):
        route.send(documents(shape, 1))
    route.close()


def test_no_address_and_a_wrong_one_are_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^no search engine is named: start one with `headrace up --with search`"):
        Engine(Search())
    with pytest.raises(ConfigError, match=r"^search\.url = 'localhost:9200': "):
        Engine(Search(url="localhost:9200"))
    with pytest.raises(Unavailable, match=r"^search engine http://127.0.0.1:9 cannot be reached: "):
        Engine(Search(url="http://127.0.0.1:9")).client.info()


def test_documents_wait_for_an_ingest_pipeline_that_is_missing_and_arrive_once_it_is_named_no_more(
    engine: Engine, shape: Shape
) -> None:
    sent = documents(shape, 20)
    index = f"{shape.alias}.all"
    route = route_to(engine.url, shape)
    assert route.send(documents(shape, 1)) == []
    engine.client.indices.put_settings(index=index, settings={"index.default_pipeline": "nope"})
    with pytest.raises(Unavailable) as caught:
        route.send(sent)
    assert str(caught.value).endswith(
        "pipeline with id [nope] does not exist; create it, or take index.default_pipeline and index.final_pipeline of "
        "the index back"
    )
    assert held(engine, shape) == ["t-0-0"]
    engine.client.indices.put_settings(index=index, settings={"index.default_pipeline": None})
    assert route.send(sent) == []
    assert held(engine, shape) == sent.ids
    route.close()


@pytest.mark.parametrize(
    ("settings", "back", "mend"),
    [
        (
            {"index.blocks.read_only_allow_delete": True},
            {"index.blocks.read_only_allow_delete": None},
            "make room on the engine's disks; then, if it stays, take index.blocks.read_only_allow_delete back",
        ),
        (
            {"index.blocks.write": True},
            {"index.blocks.write": None},
            "take the block back (index.blocks.*, cluster.blocks.*)",
        ),
    ],
)
def test_documents_wait_for_an_index_that_is_blocked(
    engine: Engine, shape: Shape, settings: dict[str, bool], back: dict[str, None], mend: str
) -> None:
    route, index = route_to(engine.url, shape), f"{shape.alias}.all"
    assert route.send(documents(shape, 1)) == []
    engine.client.indices.put_settings(index=index, settings=settings)
    with pytest.raises(Unavailable) as caught:
        route.send(documents(shape, 5))
    assert str(caught.value).endswith(f"; {mend}")
    engine.client.indices.put_settings(index=index, settings=back)
    assert route.send(documents(shape, 5)) == []
    route.close()


def test_documents_wait_for_an_index_that_is_closed(engine: Engine, shape: Shape) -> None:
    route, index = route_to(engine.url, shape), f"{shape.alias}.all"
    assert route.send(documents(shape, 1)) == []
    engine.client.indices.close(index=index)
    with pytest.raises(Unavailable, match=r"index_closed_exception: closed; open the index$"):
        route.send(documents(shape, 5))
    engine.client.indices.open(index=index)
    assert route.send(documents(shape, 5)) == []
    route.close()

"""The embedded stack with its search engine: it starts when asked for, keeps its data, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from headrace.consumers.forward.templates import COORDINATES, alias, properties, properties_of, template
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import StackError
from headrace.examples.flights.pipeline import flights
from headrace.topics.table import TOPICS, Topic
from tests.waiting import wait_for

pytestmark = pytest.mark.search
OWNER = """
import json, sys
from pathlib import Path
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
with Stack(Path(sys.argv[1]), registry=False, search=True, layout=Layout(quick=True)) as stack:
    print(json.dumps(stack.describe()), flush=True)
    sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def headrace(*args: str, state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", *args, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def found(url: str) -> list[str]:
    return [hit["_id"] for hit in httpx2.get(f"{url}/notes/_search?q=wind").raise_for_status().json()["hits"]["hits"]]


VALUES: dict[str, Any] = {
    "binary": "AAEC",
    "boolean": True,
    "date": "2013-01-01T05:00:00.123456Z",
    "double": 0.5,
    "float": [0.25, 0.75],
    "integer": 2**31 - 1,
    "keyword": "x" * 40_000,
    "long": 2**63 - 1,
    "object": {"a.b": "c", "d": 1.5},
    "text": "wind from the west",
}


def document_of(properties: dict[str, Any]) -> dict[str, Any]:
    """A document with a value in every field; its key words are longer than the engine indexes."""
    return {
        name: document_of(mapping["properties"]) if "properties" in mapping else VALUES[mapping["type"]]
        for name, mapping in properties.items()
    }


def types_of(properties: dict[str, Any]) -> dict[str, Any]:
    """The type of each field; of an object its fields, for the engine does not say that it is one."""
    return {
        name: types_of(mapping["properties"]) if "properties" in mapping else mapping["type"]
        for name, mapping in properties.items()
    }


def obituary(stack: Stack) -> str:
    try:
        stack.check()
    except StackError as e:
        return str(e)
    return ""


def pid_of(stack: Stack) -> int:
    described = stack.describe()["search"]
    assert described is not None
    return described["pid"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("stack") / "state"
    with Stack(state, registry=False, search=True, layout=Layout(quick=True)) as stack:
        yield stack


def test_the_engine_listens_on_the_loopback_only(stack: Stack) -> None:
    listening = {c for c in psutil.Process(pid_of(stack)).net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    assert len(listening) == 2


def test_a_document_outlives_the_engine_at_the_same_address(stack: Stack) -> None:
    url = stack.search_url
    document = {"note": "wind from the west"}
    httpx2.put(f"{url}/notes/_doc/1?refresh=true", json=document).raise_for_status()
    stack.stop_search()
    with pytest.raises(httpx2.ConnectError, match="refused"):
        found(url)
    stack.start_search()
    assert stack.search_url == url
    assert found(url) == ["1"]
    os.kill(pid_of(stack), 9)
    wait_for(lambda: bool(obituary(stack)), 20, "the engine ends")
    assert obituary(stack).startswith("the search engine ended with code -9: ")
    stack.stop_search()
    stack.start_search()
    assert found(url) == ["1"]
    assert httpx2.get(f"{url}/_cluster/health").json()["status"] == "green"
    assert json.loads((stack.state / "stack.json").read_text()) == stack.describe()


@pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))
def test_the_engine_takes_a_topics_template_and_no_other_field(stack: Stack, topic: Topic) -> None:
    name = alias(flights, topic)
    body = template(name, {**properties(flights, topic), **COORDINATES})
    body["_meta"] = body.pop("meta")
    document = document_of(body["template"]["mappings"]["properties"])
    with httpx2.Client(base_url=stack.search_url) as engine:
        engine.put(f"/_index_template/{name}", json=body).raise_for_status()
        engine.put(f"/{name}.1/_doc/1?refresh=true", json=document).raise_for_status()
        mapped = engine.get(f"/{name}/_mapping").raise_for_status().json()[f"{name}.1"]["mappings"]
        other = engine.put(f"/{name}.1/_doc/2", json={**document, "surprise": 1})
        offset = {"query": {"term": {"@offset": document["@offset"]}}}
        hits = engine.post(f"/{name}/_search", json=offset).raise_for_status().json()["hits"]["hits"]
    assert types_of(mapped["properties"]) == types_of(body["template"]["mappings"]["properties"])
    assert (other.status_code, other.json()["error"]["type"]) == (400, "strict_dynamic_mapping_exception")
    assert [hit["_source"] for hit in hits] == [document]


def test_times_are_found_by_range_however_they_are_written(stack: Stack) -> None:
    mappings = {"properties": properties_of(flights.raw)}
    with httpx2.Client(base_url=stack.search_url) as engine:
        engine.put("/times", json={"mappings": mappings}).raise_for_status()
        for i, at in enumerate(("2013-01-01T05:00:00.123456Z", 1357016400123, "2013-01-02T05:00:00.000Z")):
            engine.put(f"/times/_doc/{i}?refresh=true", json={"at": at}).raise_for_status()
        early = {"query": {"range": {"at": {"lt": "2013-01-01T12:00:00.000Z"}}}}
        refused = engine.put("/times/_doc/9", json={"at": "yesterday"})
        hits = engine.post("/times/_search", json=early).raise_for_status().json()["hits"]["hits"]
    assert {hit["_id"] for hit in hits} == {"0", "1"}
    assert refused.status_code == 400


def test_a_stack_without_an_engine_has_none_to_start(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"^this stack was not started with a search engine: there is none to start$"):
        Stack(tmp_path / "state").start_search()


def test_killing_the_parent_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "state")]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    running = json.loads(owner.stdout.readline())
    servers = [running["kafka"]["pid"], running["search"]["pid"]]
    assert [alive(pid) for pid in servers] == [True, True]
    owner.kill()
    owner.communicate()
    wait_for(lambda: not any(alive(pid) for pid in servers), 20, "servers end with their parent")


def test_a_running_stack_without_an_engine_gets_none(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Stack(state, registry=False, layout=Layout(quick=True)) as stack:
        assert stack.describe()["search"] is None
        refused = headrace("up", "--with", "search", state=state)
    assert not (state / "search").exists()
    assert refused.returncode == 1
    assert refused.stderr == (
        f"headrace: a stack runs in {state} without a search engine: `headrace down` first, "
        "then `headrace up --with search`\n"
    )


def test_up_status_down_with_the_engine(tmp_path: Path) -> None:
    state = tmp_path / "state"
    up = headrace("up", "--with", "search", "--json", state=state)
    assert up.returncode == 0, up.stderr
    running = json.loads(up.stdout)
    assert set(running["search"]) == {"url", "pid", "log"}
    assert running["search"]["log"] == str(state / "logs" / "search.log")
    httpx2.put(f"{running['search']['url']}/notes/_doc/1", json={}).raise_for_status()
    status = headrace("status", "--json", state=state)
    assert (json.loads(status.stdout), status.returncode) == ({**running, "supervised": []}, 0)
    again = headrace("up", "--json", state=state)
    assert (json.loads(again.stdout), again.returncode) == (running, 0)

    assert headrace("down", state=state).returncode == 0
    assert not alive(running["search"]["pid"])


def test_an_unknown_word_is_one_clear_line(tmp_path: Path) -> None:
    refused = headrace("up", "--with", "serch", state=tmp_path / "state")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "headrace: --with serch: not known; what can be started too is search\n"
    assert list(tmp_path.iterdir()) == []

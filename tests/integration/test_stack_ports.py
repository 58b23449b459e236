"""Ports that another program takes after they were chosen and before the server listens: the real servers come up."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from confluent_kafka.admin import AdminClient

from headrace.embedded import stack as stack_module
from headrace.embedded.kafka import Layout
from headrace.embedded.ports import HOST, Ports
from headrace.embedded.stack import Stack
from headrace.errors import StackError

pytestmark = pytest.mark.search

QUICK = Layout(quick=True)


class Stranger:
    """A program that listens on ports of a stack's as soon as they are chosen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: dict[str, int] = {}
        self._held = ExitStack()
        self._patch = monkeypatch

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def after(self, method: str, *names: str) -> None:
        """Take these ports each time ``method`` of :class:`Ports` has chosen."""
        chosen = getattr(Ports, method)

        def and_taken(ports: Ports, *given: object) -> None:
            chosen(ports, *given)
            for name in names:
                self._take(name, ports[name])

        self._patch.setattr(Ports, method, and_taken)

    def _take(self, name: str, port: int) -> None:
        server = self._held.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, port))
        server.listen()
        self.taken[name] = port


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    with Stranger(monkeypatch) as stranger:
        yield stranger


def remembered(folder: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((folder / "ports.json").read_text())
    return found


@pytest.mark.parametrize("names", [("kafka", "management", "transport"), ("controller", "registry", "search")])
def test_a_server_whose_port_is_taken_comes_up_on_another(
    names: tuple[str, ...], stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state"
    first: dict[str, int] = {}
    choose = Ports.choose

    def noted(ports: Ports, brokers: int = 1) -> None:
        choose(ports, brokers)
        first.update(ports)

    monkeypatch.setattr(Ports, "choose", noted)
    stranger.after("choose", *names)
    with Stack(folder, search=True, layout=QUICK) as stack:
        now = remembered(folder)
        assert {name for name in now if now[name] != first[name]} == set(names)
        assert stranger.taken == {name: first[name] for name in names}
        assert AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10).brokers.keys() == {1}
        assert httpx2.get(f"{stack.registry_url}/subjects").json() == []
        assert httpx2.get(stack.search_url).json()["cluster_name"] == "headrace"


def test_brokers_that_know_each_other_move_together(stranger: Stranger, tmp_path: Path) -> None:
    stranger.after("choose", "controller-2")
    layout = Layout(brokers=2, heap_mb=256, quick=True)
    with Stack(tmp_path / "state", registry=False, layout=layout) as stack:
        assert remembered(stack.state)["controller-2"] != stranger.taken["controller-2"]
        assert len(stack.broker_pids) == 2


def test_a_stack_whose_ports_are_always_taken_says_so(
    stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "PORT_TRIES", 2)
    stranger.after("choose", "kafka")
    stranger.after("replace", "kafka")
    with pytest.raises(StackError, match=r"(?s)Kafka ended with code 1: another program took its port before") as e:
        Stack(tmp_path / "state", registry=False, layout=QUICK).start()
    assert "start again" in str(e.value)

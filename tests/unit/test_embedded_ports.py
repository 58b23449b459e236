"""The ports of a stack: no two stacks that start side by side choose the same, and a stack keeps its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from headrace.embedded.ports import HOLDS, HOST, Ports, is_free

BROKERS = 3


def chosen(file: Path) -> Ports:
    ports = Ports(file)
    ports.choose(BROKERS)
    return ports


@pytest.mark.skipif(not HOLDS, reason="only Linux lets a server listen on a port that another socket holds")
def test_no_two_stacks_that_start_side_by_side_choose_the_same_port(tmp_path: Path) -> None:
    many = [chosen(tmp_path / f"{i}.json") for i in range(50)]
    try:
        every = [port for ports in many for port in ports.values()]
        assert len(every) == 50 * (2 * BROKERS + 5)
        assert len(set(every)) == len(every)
    finally:
        for ports in many:
            ports.release()


def test_a_server_may_listen_on_a_port_that_is_held(tmp_path: Path) -> None:
    ports = chosen(tmp_path / "ports.json")
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java's servers do
        server.bind((HOST, ports["kafka"]))
        server.listen()
        assert not is_free(ports["kafka"])
    ports.release()


def test_a_second_start_keeps_the_ports_that_are_free_and_replaces_those_that_are_not(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = chosen(file)
    first.release()
    with socket.socket() as stranger:
        stranger.bind((HOST, first["registry"]))
        stranger.listen()
        second = chosen(file)
        second.release()
    assert {name for name in first if first[name] != second[name]} == {"registry"}


def test_only_ports_that_are_taken_are_replaced(tmp_path: Path) -> None:
    ports = chosen(tmp_path / "ports.json")
    before = dict(ports)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((HOST, ports["search"]))
        stranger.listen()
        ports.replace(("search", "transport"))
    ports.release()
    assert {name for name in before if before[name] != ports[name]} == {"search"}

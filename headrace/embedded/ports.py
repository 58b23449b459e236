"""Ports on 127.0.0.1: the last start's where they are still free, so that clients find the stack again."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from headrace.errors import StackError

HOST = "127.0.0.1"
# Below every system's ephemeral range: no outgoing connection may sit on a port while a broker restarts.
RANGE = range(20_000, 32_000)


def names(brokers: int = 1) -> list[str]:
    """The names of the ports that a stack of so many brokers listens on.

    ``through`` is for one more way in; ``search`` and ``transport`` wait for a search engine.
    """
    kafka = [named(name, node) for node in range(1, brokers + 1) for name in ("kafka", "controller")]
    return [*kafka, "registry", "management", "through", "search", "transport"]


def named(name: str, node: int) -> str:
    """Name of a broker's port: the first broker's have no number."""
    return name if node == 1 else f"{name}-{node}"


def choose(file: Path, brokers: int = 1) -> dict[str, int]:
    """A free port for each of :func:`names`; remembers the choice in ``file``."""
    try:
        last = {name: int(port) for name, port in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        last = {}
    chosen: dict[str, int] = {}
    for name in names(brokers):
        port = last.get(name, 0)
        chosen[name] = port if port in RANGE and is_free(port) else _any(set(chosen.values()))
    file.write_text(json.dumps(chosen))
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java's servers do
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any(taken: set[int]) -> int:
    for port in random.sample(RANGE, 200):
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port found on {HOST} from {RANGE.start} to {RANGE.stop}")

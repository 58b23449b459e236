"""Ports on 127.0.0.1: the last start's where they are still free, so that clients find the stack again."""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from headrace.errors import StackError

HOST = "127.0.0.1"
# Below every system's ephemeral range: no outgoing connection may sit on a port while a broker restarts.
RANGE = range(20_000, 32_000)
HOLDS = sys.platform == "linux"
"""Whether a server may listen on a port to which a socket of ours is bound: elsewhere none is held."""
REGISTRY = ("registry", "management")
SEARCH = ("search", "transport")


def of_brokers(brokers: int = 1) -> list[str]:
    """Names of the ports that so many brokers listen on. ``through`` is for one more way in to the first."""
    return [*(named(name, node) for node in range(1, brokers + 1) for name in ("kafka", "controller")), "through"]


def named(name: str, node: int) -> str:
    """Name of a broker's port: the first broker's have no number."""
    return name if node == 1 else f"{name}-{node}"


class Ports(Mapping[str, int]):
    """The ports of one stack by name, remembered in a file from start to start.

    On Linux each is held by a socket that is bound and does not listen: a server of ours may still listen there,
    while no other stack chooses it. A program that insists can take it all the same: see :meth:`replace`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._chosen: dict[str, int] = {}
        self._held: dict[str, socket.socket] = {}

    def __getitem__(self, name: str) -> int:
        return self._chosen[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def choose(self, brokers: int = 1) -> None:
        """Choose a free port for every server of a stack of so many brokers, the last start's where it is free."""
        try:
            last = {name: int(port) for name, port in json.loads(self._file.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            last = {}
        self.release()
        self._chosen = {}
        self._choose((*of_brokers(brokers), *REGISTRY, *SEARCH), last)

    def replace(self, names: Iterable[str]) -> None:
        """Choose others in the place of those ports that are not free now."""
        self._choose([name for name in names if not is_free(self[name])], {})

    def release(self) -> None:
        """Hold the ports no longer; what was chosen stays known."""
        for held in self._held.values():
            held.close()
        self._held = {}

    def _choose(self, names: Iterable[str], last: dict[str, int]) -> None:
        for name in names:
            port = last.get(name, 0)
            held = _bound(port, reuse=True) if port in RANGE and port not in self._chosen.values() else None
            held = held or self._any()
            self._chosen[name] = held.getsockname()[1]
            if name in self._held:
                self._held.pop(name).close()
            if HOLDS:
                self._held[name] = held
            else:
                held.close()
        self._file.write_text(json.dumps(self._chosen))

    def _any(self) -> socket.socket:
        for port in random.sample(RANGE, 200):
            if port not in self._chosen.values() and (held := _bound(port, reuse=False)):
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that the server may listen
                return held
        raise StackError(f"no free port found on {HOST} from {RANGE.start} to {RANGE.stop}")


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1 now."""
    probe = _bound(port, reuse=True)
    if probe is not None:
        probe.close()
    return probe is not None


def _bound(port: int, *, reuse: bool) -> socket.socket | None:
    """A socket bound to a port, or None. With ``reuse``, as Java's servers do: where nobody listens, though a
    connection has just ended there or another holds it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    try:
        held.bind((HOST, port))
    except OSError:
        held.close()
        return None
    return held

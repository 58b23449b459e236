"""A port for a server that must know it before it listens."""

from __future__ import annotations

import socket

from headrace.embedded.ports import HOST


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])

"""Ports of /health and /metrics: one for each worker, known to be free before any starts."""

from __future__ import annotations

import socket

from headrace.errors import ConfigError

LAST = 65_535


def ports_of(host: str, first: int, workers: int) -> list[int]:
    """A port for each worker, one after the other from ``first``; all 0 where that is 0: each picks a free one.

    Raises:
        ConfigError: one is taken, or there is none of that number; the message names it.
    """
    if not first:
        return [0] * workers
    ports = list(range(first, first + workers))
    if ports[-1] > LAST:
        raise ConfigError(f"--port {first}: {workers} workers need ports up to {ports[-1]}, and the last is {LAST}")
    for port in ports:
        _require_free(host, port, f"--port {first}" + (f" for {workers} workers" if workers > 1 else ""))
    return ports


def _require_free(host: str, port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server has it
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as e:
            raise ConfigError(f"{option}: port {port} of {host}: {e.strerror or e}; give another --port") from None

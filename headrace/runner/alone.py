"""Processors whose state spans the partitions run as one worker: a second process of the group does not join in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from headrace.errors import ConfigError, HeadraceError, Unavailable
from headrace.kafka.log import Log

log = logging.getLogger("headrace.runner")

LEAVES_S = 60.0
"""How long a newcomer waits for the member before it: longer than a rolling restart takes to end that one, and than the
group holds on to one that was killed (session.timeout.ms)."""
LOOK_S = 0.5
WATCH_S = 10.0
"""Between two looks at the group while a worker runs: two that start in the same moment find it empty, both."""


class Stoppable(Protocol):
    """A loop, as far as it can be ended."""

    def stop(self) -> None: ...


def wait_until_alone(cluster: Log, group: str, worker: str) -> None:
    """Wait until a group has no other member, for so long at most. Nothing was joined or written.

    Raises:
        ConfigError: another worker stays; the message names it.
        Unavailable: Kafka is away.
    """
    deadline, told = time.monotonic() + LEAVES_S, False
    while True:
        try:
            others = sorted(cluster.members(group) - {worker})
        except Unavailable:  # a broker that has just started does not know its groups yet
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)
            continue
        if not others:
            return
        if time.monotonic() > deadline:
            raise _company(group, others[0])
        if not told:
            log.warning(
                "%s is a member of group %s, which takes one worker: waiting up to %g s for it to leave",
                others[0],
                group,
                LEAVES_S,
            )
            told = True
        time.sleep(LOOK_S)


@contextmanager
def kept_alone(cluster: Log, group: str, worker: str, loop: Stoppable) -> Iterator[None]:
    """Watch over a running worker: where another one is in its group after all, the first by name goes on.

    Raises:
        ConfigError: at the end, where this one was stopped for the other; the message names it.
    """
    ended = threading.Event()
    found: list[str] = []

    def watch() -> None:
        while not ended.wait(WATCH_S):
            try:
                first = min({*cluster.members(group), worker})
            except HeadraceError:  # Kafka is away: the loop says so
                continue
            if first != worker:
                found.append(first)
                loop.stop()
                return

    thread = threading.Thread(target=watch, name="alone", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
    if found:
        raise _company(group, found[0])


def _company(group: str, other: str) -> ConfigError:
    return ConfigError(
        f"{other} runs already as a member of group {group}, which takes one worker, for its state spans the "
        "partitions: stop that one first"
    )

"""Runs of child jobs that outlive a rebalance and an aborted transaction: nothing is worked out twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from headrace.errors import Unavailable
from headrace.jobs.child import ChildError

K = TypeVar("K")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
KEPT = 4
"""Results that are kept, the latest: more than an open transaction holds, each being the work of a child process."""


class Run(Protocol[T_co]):
    """A job under way, or its result."""

    def result(self) -> T_co | None:
        """The result, as often as it is asked for; None while there is none. Raises ChildError when it failed."""

    def over(self) -> bool:
        """Whether the child has ended: it may do more after its result is there."""

    def close(self) -> None: ...


class Runner(Protocol[T_co]):
    """Starts jobs of one kind."""

    def warm(self) -> None:
        """Make ready for the next one."""

    def start(self, asked: dict[str, Any]) -> Run[T_co]:
        """Begin one."""


class KeptRuns(Generic[K, T]):
    """One job at work at a time, and the results of the last few, each by the key of what it was asked for.

    A result is kept after it is handed out: the transaction that carries it may yet be given up, and then the same key
    is asked for again. So is a job at work whose partition is taken away, as it mostly comes back.

    Args:
        runner: starts the jobs.
    """

    def __init__(self, runner: Runner[T]) -> None:
        self._runner = runner
        self._runs: dict[K, Run[T]] = {}
        self._ended: set[K] = set()
        self._assigned = False

    def warm(self) -> None:
        """Make ready for the next job."""
        self._runner.warm()

    def working(self, key: K) -> bool:
        """Whether there is a run for this key."""
        return key in self._runs

    def result(self, key: K, asked: dict[str, Any]) -> T | None:
        """The result for a key, or None while it is worked out. A job at work on another key is ended.

        Raises:
            ChildError: the job failed; it says so again when asked again.
            Unavailable: it failed as a server or the disk is away; asked again, it is begun anew.
        """
        if key not in self._runs:
            self._drop(lambda other: other not in self._ended)
            self._runs[key] = self._runner.start(asked)
        try:
            found = self._runs[key].result()
        except ChildError as e:
            if e.kind == "Unavailable":
                self._drop(lambda other: other == key)
                raise Unavailable(str(e)) from None
            self._end(key)
            raise
        if found is not None:
            self._end(key)
        return found

    def assigned(self, *, holds: bool, still: Callable[[K], bool]) -> None:
        """Partitions were taken away or assigned, as :meth:`headrace.worker.processor.Processor.assigned` tells it.

        Args:
            holds: whether the partitions that the work is for are this worker's.
            still: whether a key is yet to be done, where ``holds``: another worker may have done it.
        """
        if holds:
            self._drop(lambda key: not still(key))
        elif not self._assigned:
            self._drop(lambda key: key not in self._ended)  # an assignment has come without them
        self._assigned = holds

    def close(self) -> None:
        """End what is at work, let go of every result."""
        self._drop(lambda _: True)

    def _end(self, key: K) -> None:
        self._ended.add(key)
        over = [k for k in self._runs if k in self._ended and k != key and self._runs[k].over()]
        stale = set(over[: max(0, len(over) - KEPT + 1)])
        self._drop(lambda k: k in stale)

    def _drop(self, these: Callable[[K], bool]) -> None:
        for key in [k for k in self._runs if these(k)]:
            self._runs.pop(key).close()
            self._ended.discard(key)

"""One Kafka and registry for every process of a run: the process that hands out the tests owns them."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Listener
from pathlib import Path

from headrace.config import ADMIN
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import HeadraceError

WANTED, ENOUGH = "wanted", "enough"


@dataclass(frozen=True)
class RunningStack:
    """A real Kafka and registry, with the client properties that reach it."""

    bootstrap: str
    registry_url: str
    state: Path = Path(".headrace")
    properties: dict[str, str] = field(default_factory=dict)


def running(stack: Stack) -> RunningStack:
    """How to reach a stack that was started here."""
    return RunningStack(stack.bootstrap, stack.registry_url, stack.state, stack.credentials(ADMIN))


class SharedStack:
    """A stack that is started when the first process asks for it, and ends with this process, however it ends."""

    def __init__(self, layout: Layout) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-tests-"))
        self._layout = layout
        self.address = str(self._folder / "ask")
        self._listener = Listener(self.address)
        # On Linux the servers end with the thread that started them: it lives as long as the run.
        self._thread = threading.Thread(target=self._serve, name="shared-stack", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the servers and remove their data."""
        with Client(self.address) as asking:
            asking.send(ENOUGH)
        self._thread.join()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        stack = Stack(self._folder / "state", layout=self._layout)
        answer: RunningStack | str = ""
        while True:
            with self._listener.accept() as asking:
                if asking.recv() == ENOUGH:
                    return stack.stop()
                try:
                    if not answer:
                        stack.start()
                        answer = running(stack)
                except HeadraceError as e:
                    answer = str(e)
                asking.send(answer)


def shared(address: str) -> RunningStack:
    """The stack of the run.

    Raises:
        HeadraceError: it did not start.
    """
    with Client(address) as asking:
        asking.send(WANTED)
        answer = asking.recv()
    if isinstance(answer, RunningStack):
        return answer
    raise HeadraceError(answer)

"""A call under way in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundCall:
    """Begins at once; it may never return.

    Args:
        call: what to call.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._ended = threading.Event()
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="call", daemon=True).start()

    def returned(self, within_s: float | None = None) -> bool:
        """Whether it has returned, now or in so many seconds (None: however long it takes).

        Raises:
            BaseException: what the call raised.
        """
        if not self._ended.wait(within_s):
            return False
        if self._error is not None:
            raise self._error
        return True

    def went_through(self) -> bool:
        """Wait for its end, however long that takes; whether it raised nothing."""
        self._ended.wait()
        return self._error is None

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as e:  # noqa: BLE001 - raised again in the thread that asks
            self._error = e
        finally:
            self._ended.set()

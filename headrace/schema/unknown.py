"""Schema ids that a registry does not know. Damaged records have any id: a flood of them must be none of calls."""

from __future__ import annotations

from time import monotonic

from headrace.errors import Unavailable

UNKNOWN_S = 30.0
"""Least seconds for which an id that the registry did not know is not asked for again."""
AGAIN_A_SECOND = 20
"""Most unknown ids asked for again a second: the more there are, the longer each is remembered."""
AT_ONCE = 500
"""Ids looked up without a pause."""
A_SECOND = 100
"""Ids looked up a second after that."""
MOST = 100_000
"""Unknown ids remembered at a time."""


class UnknownIds:
    """Unknown ids, each remembered for a while with the reason, and an allowance of look-ups.

    A batch whose ids cost more than the allowance is left for later, as in an outage; what was learned of its other
    ids is remembered until it is read again. So every id is looked up before its record is refused.
    """

    def __init__(self) -> None:
        self._until: dict[int | str, tuple[float, str]] = {}
        self._allowed = float(AT_ONCE)
        self._since = monotonic()

    def reason(self, schema_id: int | str) -> str | None:
        """Why an id is unknown, "" where the registry knows no such id; None: it is to be asked."""
        until, reason = self._until.get(schema_id, (0.0, ""))
        return reason if until > monotonic() else None

    def add(self, schema_id: int | str, reason: str) -> None:
        """Remember an id that was looked up in vain."""
        self._until.pop(schema_id, None)
        while len(self._until) >= MOST:
            del self._until[next(iter(self._until))]
        seconds = max(UNKNOWN_S, len(self._until) / AGAIN_A_SECOND)
        self._until[schema_id] = (monotonic() + seconds, reason)

    def spend(self, registry: str) -> None:
        """Take one look-up from the allowance.

        Raises:
            Unavailable: it is used up for now.
        """
        now = monotonic()
        self._allowed = min(float(AT_ONCE), self._allowed + (now - self._since) * A_SECOND)
        self._since = now
        if self._allowed < 1:
            raise Unavailable(
                f"{registry} is asked for no more schema ids for now: {len(self._until)} ids of records read lately "
                f"are unknown to it, and {A_SECOND} a second are looked up"
            )
        self._allowed -= 1

"""Told how far long work has come."""

from __future__ import annotations


class Progress:
    """This one does not care."""

    def begins(self, what: str, records: int) -> None:
        """A part of the work begins, named by a verb; about so many records are before it."""

    def advanced(self, records: int) -> None:
        """So many records more are done."""


SILENT = Progress()

"""Where a record is, within one topic."""

from __future__ import annotations

import re
from typing import NamedTuple

from headrace.errors import ConfigError


class Coordinate(NamedTuple):
    """Partition and offset of a record of a topic; written ``partition:offset``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str, what: str = "a record", shown_by: str = "") -> Coordinate:
        """From ``partition:offset``.

        Args:
            text: as people write it.
            what: what it names, for the error.
            shown_by: the command that shows it in this form, for the error.

        Raises:
            ConfigError: it is not of that form.
        """
        given = re.fullmatch(r"(\d{1,10}):(\d{1,19})", text, re.ASCII)
        if given is None:
            as_shown = f", as `{shown_by}` does" if shown_by else ""
            raise ConfigError(f"{text}: name {what} as PARTITION:OFFSET{as_shown}, e.g. 0:17")
        return cls(int(given[1]), int(given[2]))

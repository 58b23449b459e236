"""The native transport, where it can be had."""

from __future__ import annotations

from functools import cache

from headrace.log.native.intake import NativeIntake
from headrace.log.native.library import library
from headrace.log.native.outlet import NativeOutlet
from headrace.log.transport import Transport


@cache
def native() -> Transport | str:
    """The transport, or why it cannot be had here."""
    found = library()
    if isinstance(found, str):
        return found
    return Transport("native", lambda consumer: NativeIntake(found, consumer), lambda: NativeOutlet(found))

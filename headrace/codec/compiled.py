"""Compilation at run time, in one place: machine code from numba, kept on disk between runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

CHECKED = os.environ.get("HEADRACE_CHECK_BOUNDS") == "1"
"""Check every index, for tests: slow, and compiled anew in each process."""

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile ``function`` at its first call; the code is kept beside the source, or in the user's cache.

    Indices in such code are unsigned where speed counts: signed ones cost a check for wrapping round.
    """
    return cast(F, njit(cache=not CHECKED, boundscheck=CHECKED, error_model="numpy")(function))


def compiled_in_place(function: F) -> F:
    """Compile ``function`` as :func:`compiled` does, without counting references to arrays.

    Counting costs small functions that hand each other a dozen arrays more than all their work. They may make no array
    and return none.
    """
    made = njit(cache=not CHECKED, boundscheck=CHECKED, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
    return cast(F, made(function))

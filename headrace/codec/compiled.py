"""Compilation at run time, in one place: machine code from numba, kept on disk between runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile ``function`` at its first call; the code is kept beside the source, or in the user's cache.

    Indices in such code are unsigned where speed counts: signed ones cost a check for wrapping round.
    """
    return cast(F, njit(cache=True, boundscheck=False, error_model="numpy")(function))

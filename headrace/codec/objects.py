"""Python objects from inside compiled code: the last step out, where a client wants ``bytes`` for each record.

CPython's own functions are called with the interpreter's lock held: compiled code here never lets go of it. It is
three to four times as fast as slicing in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from headrace.codec.compiled import compiled

if TYPE_CHECKING:
    Octets = np.ndarray[tuple[int], np.dtype[np.uint8]]
    Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
    Valid = np.ndarray[tuple[int], np.dtype[np.bool_]]

address: Any = types.uintp
_new_bytes: Any = types.ExternalFunction("PyBytes_FromStringAndSize", address(address, types.intp))
_set_item: Any = types.ExternalFunction("PyList_SetItem", types.intc(address, types.intp, address))


@compiled
def fill_list(target: int, data: Octets, offsets: Offsets, valid: Valid) -> bool:
    """Put the strings into the list at address ``target``, which holds None for each; nulls stay None.

    Args:
        target: ``id`` of a list of len(offsets) - 1 items.
        data, offsets: the strings, see :class:`headrace.codec.column.BytesColumn`.
        valid: false where a string is null; empty: none is.

    Returns:
        Whether there was memory for all.
    """
    begin = data.ctypes.data
    for row in range(len(offsets) - 1):
        if len(valid) and not valid[row]:
            continue
        made = _new_bytes(address(begin + offsets[row]), offsets[row + 1] - offsets[row])
        if made == 0:
            return False
        _set_item(address(target), row, made)
    return True

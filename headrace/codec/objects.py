"""Python objects from inside compiled code: the first and the last step, where the client gives and takes ``bytes``.

CPython's own functions are called, with the interpreter's lock held: compiled code here never lets go of it. It is
three to five times as fast as a loop in Python. Objects are named by their address, ``id(object)``.
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
size: Any = types.intp
_new_bytes: Any = types.ExternalFunction("PyBytes_FromStringAndSize", address(address, size))
_bytes_size: Any = types.ExternalFunction("PyBytes_Size", size(address))
_bytes_data: Any = types.ExternalFunction("PyBytes_AsString", address(address))
_list_item: Any = types.ExternalFunction("PyList_GetItem", address(address, size))
_set_list_item: Any = types.ExternalFunction("PyList_SetItem", types.intc(address, size, address))
_set_dict_item: Any = types.ExternalFunction("PyDict_SetItem", types.intc(address, address, address))
_let_go: Any = types.ExternalFunction("Py_DecRef", types.void(address))
_forget_error: Any = types.ExternalFunction("PyErr_Clear", types.void())
_copy: Any = types.ExternalFunction("memcpy", address(address, address, address))

NULLS, NO_BYTES = 1, 2
"""What :func:`measure` found: nulls beside byte strings, or something that is neither."""


@compiled
def measure(source: int, none: int, offsets: Offsets, valid: Valid) -> int:
    """Measure the byte strings of a list: ``offsets`` (n + 1,) gets where each begins, end to end.

    Args:
        source: a list of n, each ``bytes`` or None.
        none: None.
        offsets, valid: filled; false in ``valid`` (n,) where an item is None.

    Returns:
        0, NULLS or NO_BYTES.
    """
    found = 0
    for row in range(len(valid)):
        item = _list_item(address(source), row)
        length = 0
        if item == address(none):
            valid[row] = False
            found = NULLS
        else:
            valid[row] = True
            length = _bytes_size(item)
            if length < 0:
                _forget_error()
                return NO_BYTES
        offsets[row + 1] = offsets[row] + length
    return found


@compiled
def copy_list(source: int, offsets: Offsets, out: Octets) -> None:
    """Copy the byte strings of a list that was measured end to end to ``out``."""
    begin = out.ctypes.data
    for row in range(len(offsets) - 1):
        length = offsets[row + 1] - offsets[row]
        if length:
            _copy(address(begin + offsets[row]), _bytes_data(_list_item(address(source), row)), address(length))


@compiled
def fill_list(target: int, data: Octets, offsets: Offsets, valid: Valid) -> bool:
    """Put the strings into a list that holds None for each; nulls stay None.

    Args:
        target: a list of len(offsets) - 1 items.
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
            _forget_error()
            return False
        _set_list_item(address(target), row, made)
    return True


@compiled
def fill_dicts(target: int, name: int, none: int, data: Octets, offsets: Offsets, valid: Valid) -> bool:
    """Put the strings into the dicts of a list, as ``bytes`` under one name, or None where a string is null.

    Args:
        target: a list of at least len(offsets) - 1 dicts.
        name: the key, a str.
        none: None.
        data, offsets, valid: see :func:`fill_list`.

    Returns:
        Whether there was memory for all.
    """
    begin = data.ctypes.data
    for row in range(len(offsets) - 1):
        slot = _list_item(address(target), row)
        if len(valid) and not valid[row]:
            if _set_dict_item(slot, address(name), address(none)) != 0:
                _forget_error()
                return False
            continue
        made = _new_bytes(address(begin + offsets[row]), offsets[row + 1] - offsets[row])
        if made == 0:
            _forget_error()
            return False
        failed = _set_dict_item(slot, address(name), made)
        _let_go(made)
        if failed != 0:
            _forget_error()
            return False
    return True

"""Which transport a setting asks for."""

from __future__ import annotations

import logging

from headrace.errors import ConfigError
from headrace.kafka.python_transport import PYTHON
from headrace.kafka.transport import Transport

log = logging.getLogger("headrace.kafka")


def choose_transport(wanted: str) -> Transport:
    """The transport a setting asks for: ``python``, ``native``, or ``auto``: native where it can be had.

    Raises:
        ConfigError: native was asked for and cannot be had here.
    """
    if wanted == "python":
        return PYTHON
    from headrace.kafka.native.choice import native  # its kernels need not be loaded where it is not wanted

    found = native()
    if isinstance(found, Transport):
        return found
    if wanted == "native":
        raise ConfigError(f"transport = native cannot be had: {found}. Set it to auto or python")
    log.warning("the native transport cannot be used, records travel two to three times slower: %s", found)
    return PYTHON

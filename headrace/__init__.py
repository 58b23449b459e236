"""headrace: an event-driven ML platform on Kafka. The log is the platform.

What is imported from here is public; every other module may change between releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.lazy import lazy

if TYPE_CHECKING:
    from headrace import errors as errors
    from headrace.client.connect import Client as Client
    from headrace.client.connect import connect as connect
    from headrace.declare.drift import Drift as Drift
    from headrace.declare.forward import Forward as Forward
    from headrace.declare.gates import Gates as Gates
    from headrace.declare.pipeline import Pipeline as Pipeline
    from headrace.declare.raw_schema import schema as schema
    from headrace.declare.target import Binary as Binary
    from headrace.declare.training import Training as Training
    from headrace.declare.windows import Window as Window
    from headrace.declare.windows import rolling_sums as rolling_sums

__version__ = "0.1.0"

_HOMES = {
    "Binary": "headrace.declare.target",
    "Client": "headrace.client.connect",
    "Drift": "headrace.declare.drift",
    "Forward": "headrace.declare.forward",
    "Gates": "headrace.declare.gates",
    "Pipeline": "headrace.declare.pipeline",
    "Training": "headrace.declare.training",
    "Window": "headrace.declare.windows",
    "connect": "headrace.client.connect",
    "errors": "headrace.errors",
    "rolling_sums": "headrace.declare.windows",
    "schema": "headrace.declare.raw_schema",
}
"""Public name -> its module, imported when the name is first used: a command's help needs none of them."""
__all__ = [*_HOMES]


__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

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
    from headrace.declare.aggregations import EWMA as EWMA
    from headrace.declare.aggregations import Aggregate as Aggregate
    from headrace.declare.aggregations import Aggregation as Aggregation
    from headrace.declare.aggregations import Count as Count
    from headrace.declare.aggregations import Distinct as Distinct
    from headrace.declare.aggregations import First as First
    from headrace.declare.aggregations import Lag as Lag
    from headrace.declare.aggregations import Last as Last
    from headrace.declare.aggregations import Max as Max
    from headrace.declare.aggregations import Mean as Mean
    from headrace.declare.aggregations import Min as Min
    from headrace.declare.aggregations import Mode as Mode
    from headrace.declare.aggregations import Quantile as Quantile
    from headrace.declare.aggregations import Ratio as Ratio
    from headrace.declare.aggregations import SinceLast as SinceLast
    from headrace.declare.aggregations import Std as Std
    from headrace.declare.aggregations import Sum as Sum
    from headrace.declare.aggregations import Var as Var
    from headrace.declare.algebra import Algebra as Algebra
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
    "Aggregate": "headrace.declare.aggregations",
    "Aggregation": "headrace.declare.aggregations",
    "Algebra": "headrace.declare.algebra",
    "Binary": "headrace.declare.target",
    "Client": "headrace.client.connect",
    "Count": "headrace.declare.aggregations",
    "Distinct": "headrace.declare.aggregations",
    "Drift": "headrace.declare.drift",
    "EWMA": "headrace.declare.aggregations",
    "First": "headrace.declare.aggregations",
    "Forward": "headrace.declare.forward",
    "Gates": "headrace.declare.gates",
    "Lag": "headrace.declare.aggregations",
    "Last": "headrace.declare.aggregations",
    "Max": "headrace.declare.aggregations",
    "Mean": "headrace.declare.aggregations",
    "Min": "headrace.declare.aggregations",
    "Mode": "headrace.declare.aggregations",
    "Pipeline": "headrace.declare.pipeline",
    "Quantile": "headrace.declare.aggregations",
    "Ratio": "headrace.declare.aggregations",
    "SinceLast": "headrace.declare.aggregations",
    "Std": "headrace.declare.aggregations",
    "Sum": "headrace.declare.aggregations",
    "Training": "headrace.declare.training",
    "Var": "headrace.declare.aggregations",
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

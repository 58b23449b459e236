"""For tests of your own: the platform in memory, small pipelines and models, suites that hold code to its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.lazy import lazy

if TYPE_CHECKING:
    from headrace.testing.features import ContractBroken as ContractBroken
    from headrace.testing.features import Finding as Finding
    from headrace.testing.features import check_features as check_features
    from headrace.testing.features import examine_features as examine_features
    from headrace.testing.models import model_package as model_package
    from headrace.testing.pipelines import clicks as clicks
    from headrace.testing.pipelines import toy as toy
    from headrace.testing.platform import MemoryPlatform as MemoryPlatform
    from headrace.testing.platform import read_events as read_events
    from headrace.testing.processors import check_processor as check_processor

_HOMES = {
    "ContractBroken": "headrace.testing.features",
    "Finding": "headrace.testing.features",
    "MemoryPlatform": "headrace.testing.platform",
    "check_features": "headrace.testing.features",
    "check_processor": "headrace.testing.processors",
    "clicks": "headrace.testing.pipelines",
    "examine_features": "headrace.testing.features",
    "model_package": "headrace.testing.models",
    "read_events": "headrace.testing.platform",
    "toy": "headrace.testing.pipelines",
}
__all__ = [*_HOMES]
__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

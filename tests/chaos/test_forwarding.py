"""Every prediction arrives once, by either route, though receivers and forward itself are killed and frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.embedded.stack import Stack
from tests.chaos.forwarding import KINDS, Way, receiver_of, run
from tests.integration.platform import Platform

pytestmark = pytest.mark.search


@pytest.mark.kafka
@pytest.mark.parametrize("way", ["search", "fluentd"])
def test_whatever_befalls_those_who_carry_them_all_documents_arrive(way: Way, tmp_path: Path) -> None:
    with Stack(tmp_path / "state", search=way == "search") as stack, receiver_of(way, stack, tmp_path) as receiver:
        settings = Settings(
            bootstrap=stack.bootstrap, registry_url=stack.registry_url, state=stack.state, unsigned_models="accept"
        )
        platform = Platform("forwarding", settings, tmp_path)
        result = run(way, platform, receiver, records=6_000, faults=len(KINDS), seed=3)
    assert result.violations == []
    assert (result.records, dict(result.faults)) == (6_000, dict.fromkeys(KINDS, 1))

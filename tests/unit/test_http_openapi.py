"""The OpenAPI document: schemathesis finds nothing that the application does otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.unit.asking import Asking

pytestmark = pytest.mark.slow

ASKING = Asking(webhooks={"pay": {"fields": {"user": "$.user", "kind": {"value": "seen"}}}})
schema = schemathesis.openapi.from_asgi("/openapi.json", ASKING.app)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
    checks.unsupported_method,
]


@schema.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_application_is_as_its_document_says(case: Any) -> None:
    case.call_and_validate(checks=CHECKS)

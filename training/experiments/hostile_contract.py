"""Requests that Schemathesis makes from the contract, good and bad, against the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.model_app import KEY, application

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def run(models: Path, count: int) -> int:
    """How many requests were answered as documented; raises at the first other one.

    ``count`` requests are made for each operation and each of good and bad.
    """
    if not count:
        return 0
    app = application(models)
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    answered = 0
    for mode in schemathesis.GenerationMode:
        for operation in [result.ok() for result in schema.get_all_operations()]:
            if mode is not schemathesis.GenerationMode.NEGATIVE or operation.body:
                answered += _check(operation, mode, count)
    return answered


def _check(operation: Any, mode: schemathesis.GenerationMode, count: int) -> int:
    answered = 0

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        nonlocal answered
        case.call_and_validate(headers={"X-API-Key": KEY}, checks=CHECKS)
        answered += 1

    check()
    return answered

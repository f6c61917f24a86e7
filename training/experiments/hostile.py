"""Claim: no hostile request causes a server error, and every rejection names its field.

Known poisons in every field and seeded damage (``tests/hostile.py``), and requests that
Schemathesis makes from the contract, good and bad, against the application itself.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from rich.progress import track
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from support.hostile_requests import faults_of, requests
from support.model_app import KEY, application, save_model

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
WITH_KEY = {"X-API-Key": KEY}


def main() -> int:
    """Runs both and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument(
        "--contract",
        type=int,
        default=500,
        help="requests an operation and kind that Schemathesis makes",
    )
    parser.add_argument("--seed", type=int, default=20260520)
    args = parser.parse_args()
    started = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        statuses, faults, max_wait = poison(Path(folder), args.seed, args.requests)
        contract_cases = contract(Path(folder), args.contract)
    verdict = {
        "ok": not faults and statuses.total() == args.requests,
        "requests": statuses.total(),
        "seed": args.seed,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "server_errors": sum(count for status, count in statuses.items() if status >= 500),
        "faults": faults[:20],
        "from_contract": contract_cases,
        "slowest_ms": round(1000 * max_wait, 1),
        "seconds": round(perf_counter() - started, 1),
    }
    return harness.print_verdict("hostile", **verdict)


def poison(folder: Path, seed: int, count: int) -> tuple[Counter[int], list[str], float]:
    """Statuses, what was wrong with answers, and the longest wait in seconds."""
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    max_wait = 0.0
    with TestClient(application(folder), raise_server_exceptions=False) as client:
        for number, hostile_request in enumerate(
            track(requests(seed, count), "hostile requests", total=count)
        ):
            started = perf_counter()
            response = client.request(
                hostile_request.method,
                hostile_request.path,
                content=hostile_request.content,
                headers={**hostile_request.headers, **WITH_KEY},
            )
            max_wait = max(max_wait, perf_counter() - started)
            statuses[response.status_code] += 1
            response_faults = faults_of(
                response.status_code, response.headers.get("content-type", ""), response.content
            )
            target = f"{hostile_request.method} {hostile_request.path}"
            content = repr(hostile_request.content[:200])
            faults += [
                f"request {number}: {fault}: {target} {content}" for fault in response_faults
            ]
    return statuses, faults, max_wait


def contract(folder: Path, count: int) -> int:
    """How many generated requests were answered as documented; raises at the first other one."""
    app = application(folder)
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    answered = 0
    for mode in schemathesis.GenerationMode:
        for operation in [result.ok() for result in schema.get_all_operations()]:
            if mode is schemathesis.GenerationMode.NEGATIVE and not operation.body:
                continue

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
                case.call_and_validate(headers=WITH_KEY, checks=CHECKS)
                answered += 1

            check()
    return answered


if __name__ == "__main__":
    sys.exit(main())

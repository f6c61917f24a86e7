"""What several routes need: the tenant, the active model, idempotent writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from eta.api.problem_details import validation_problem
from eta.api.schemas.fields import IdempotencyKey
from eta.domain.access import Principal
from eta.model.hot_swap import ActiveModel, ActiveModelLoader
from eta.service.storage.idempotency import IdempotentRequest, WriteResponse, respond_once
from eta.store.store import Work

_IDEMPOTENCY_KEY = TypeAdapter[str](IdempotencyKey)


def tenant_of(request: Request) -> str:
    """The caller's tenant."""
    principal: Principal = request.state.principal
    return principal.tenant


async def write_idempotently(
    request: Request,
    work: Work[Any, Any],
    item: object,
    to_stored_response: Callable[[Any], WriteResponse],
    *,
    weight: int = 1,
) -> Response:
    """What was done, once it is on the disk; the same answer again where the same key comes again."""
    store, write_completions, key = (
        request.app.state.store,
        request.app.state.write_completions,
        request.headers.get("idempotency-key"),
    )
    if key is None:
        stored = to_stored_response(
            await write_completions.result(store.submit(work, item, weight=weight))
        )
    else:
        digest = hashlib.sha256(
            b"\n".join((request.method.encode(), request.url.path.encode(), await request.body()))
        ).hexdigest()
        stored = await write_completions.result(
            store.submit(
                respond_once,
                IdempotentRequest(
                    tenant_of(request),
                    _check_idempotency_key(key),
                    digest,
                    work,
                    item,
                    to_stored_response,
                ),
                weight=weight,
            )
        )
    return Response(stored.body, stored.status, media_type="application/json")


def _check_idempotency_key(key: str) -> str:
    try:
        return _IDEMPOTENCY_KEY.validate_python(key)
    except ValidationError:
        raise validation_problem(
            ["header", "Idempotency-Key"],
            "string_pattern_mismatch",
            "the key is no key; send 1 to 255 visible ASCII characters",
        ) from None


def active_model(request: Request) -> ActiveModel:
    """What serves now: taken once a request, so that the whole answer is one version's."""
    model_loader: ActiveModelLoader = request.app.state.model_loader
    return model_loader.current


def json_response(content: object) -> Response:
    """An answer as it is: that it keeps the contract is what tests are for."""
    return Response(to_json(content), media_type="application/json")

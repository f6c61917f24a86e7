"""What routes receive: the shared resources, the caller's tenant, and idempotent writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from eta.api.admission import Admission
from eta.api.auth import ApiKeyAuth
from eta.api.executors import BatchExecutor, ReadPool, WriteCompletions
from eta.api.metrics import Metrics
from eta.api.problem_details import validation_problem
from eta.api.schemas.fields import IdempotencyKey
from eta.domain.access import Principal
from eta.model.hot_swap import ActiveModel, ActiveModelLoader
from eta.service.storage.idempotency import IdempotentRequest, WriteResponse, respond_once
from eta.settings import Settings
from eta.store.store import SqlStore, Work

Item = TypeVar("Item")
Result = TypeVar("Result")
_IDEMPOTENCY_KEY = TypeAdapter[str](IdempotencyKey)


@dataclass(frozen=True)
class Resources:
    """Everything that requests share, created once when the application starts."""

    settings: Settings
    auth: ApiKeyAuth
    admission: Admission
    model_loader: ActiveModelLoader
    metrics: Metrics
    clock: Callable[[], datetime]
    store: SqlStore
    read_pool: ReadPool
    write_completions: WriteCompletions
    #: Large scores and estimates.
    batch_executor: BatchExecutor
    #: Large bodies of events, which must not wait behind scores.
    parse_executor: BatchExecutor
    #: Estimates with a time limit.
    estimate_executor: BatchExecutor

    @property
    def active_model(self) -> ActiveModel:
        """The active model. Read it once a request, so that one version answers all of it."""
        return self.model_loader.current

    async def write(self, work: Work[Item, Result], item: Item, *, weight: int = 1) -> Result:
        """The result of ``work`` on ``item``, once it is durable."""
        future = self.store.submit(work, item, weight=weight)
        return await self.write_completions.result(future)


def resources_of(request: Request) -> Resources:
    """The resources of the application that received a request."""
    return cast("Resources", request.app.state.resources)


async def _resources(request: Request) -> Resources:
    # A coroutine, because the framework would run a plain function in a thread.
    return resources_of(request)


async def _tenant(request: Request) -> str:
    principal: Principal = request.state.principal
    return principal.tenant


SharedResources = Annotated[Resources, Depends(_resources)]

#: The caller's tenant.
Tenant = Annotated[str, Depends(_tenant)]


async def write_idempotently(
    request: Request,
    work: Work[Any, Any],
    item: object,
    to_stored_response: Callable[[Any], WriteResponse],
    *,
    weight: int = 1,
) -> Response:
    """The response to a write, once it is durable.

    A request with the idempotency key of an earlier one gets the response of that one.
    """
    resources = resources_of(request)
    key = request.headers.get("idempotency-key")
    if key is None:
        result = await resources.write(work, item, weight=weight)
        stored = to_stored_response(result)
    else:
        method, path = request.method.encode(), request.url.path.encode()
        content = b"\n".join((method, path, await request.body()))
        idempotent_request = IdempotentRequest(
            tenant=await _tenant(request),
            key=_check_idempotency_key(key),
            digest=hashlib.sha256(content).hexdigest(),
            work=work,
            item=item,
            to_response=to_stored_response,
        )
        stored = await resources.write(respond_once, idempotent_request, weight=weight)
    return Response(stored.body, stored.status, media_type="application/json")


def _check_idempotency_key(key: str) -> str:
    try:
        return _IDEMPOTENCY_KEY.validate_python(key)
    except ValidationError:
        raise validation_problem(
            ["header", "Idempotency-Key"],
            "string_pattern_mismatch",
            "invalid key; send 1 to 255 visible ASCII characters",
        ) from None


def json_response(content: object, status: int = 200) -> Response:
    """A JSON response, sent without validation; tests compare it with the response model."""
    return Response(to_json(content), status, media_type="application/json")

"""What routes receive: the shared resources, the caller's tenant, and idempotent writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from eta.api.admission import Admission
from eta.api.auth import ApiKeyAuth
from eta.api.executors import ReadPool, TimedExecutor, WriteCompletions
from eta.api.fair_executor import FairExecutor
from eta.api.fair_writer import FairWriter
from eta.api.load_shedding import WorkKind
from eta.api.metrics import Metrics
from eta.api.problem_details import validation_problem
from eta.api.schemas.fields import IdempotencyKey
from eta.domain.access import Principal
from eta.model.hot_swap import ActiveModel, ActiveModelLoader
from eta.service.storage.idempotency import IdempotentRequest, WriteResponse, respond_once
from eta.settings import Settings
from eta.store.store import SqlStore, Work

T = TypeVar("T")

#: Requests with more items are handled outside the event loop.
INLINE_ITEMS = 50
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
    #: Writes of callers, in turn.
    writer: FairWriter
    #: Scores and other large batches.
    batch_executor: FairExecutor
    #: Large bodies by the kind of their request: those of an estimate do not wait behind others.
    parsers: Mapping[WorkKind, FairExecutor]
    #: Estimates with a time limit.
    estimate_executor: TimedExecutor

    def close(self) -> None:
        """Ends all work outside the event loop, then closes the store."""
        for executor in (self.batch_executor, *self.parsers.values()):
            executor.close()
        self.estimate_executor.close()
        self.read_pool.close()
        self.store.close()

    @property
    def active_model(self) -> ActiveModel:
        """The active model. Read it once a request, so that one version answers all of it."""
        return self.model_loader.current


def resources_of(request: Request) -> Resources:
    """The resources of the application that received a request."""
    return cast("Resources", request.app.state.resources)


async def _resources(request: Request) -> Resources:
    # A coroutine, because the framework would run a plain function in a thread.
    return resources_of(request)


async def _principal(request: Request) -> Principal:
    return principal_of(request)


async def _tenant(request: Request) -> str:
    return principal_of(request).tenant


def principal_of(request: Request) -> Principal:
    """The caller, once it is authenticated."""
    return cast("Principal", request.state.principal)


SharedResources = Annotated[Resources, Depends(_resources)]

#: The caller, and its tenant.
Caller = Annotated[Principal, Depends(_principal)]
Tenant = Annotated[str, Depends(_tenant)]


@dataclass(frozen=True)
class Write:
    """A write, and how its result becomes a response."""

    work: Work[Any, Any]
    item: object
    to_response: Callable[[Any], WriteResponse]
    #: Whether a result is stored for a repetition of the request.
    is_replayable: Callable[[Any], bool] = lambda _: True
    #: The number of its items.
    weight: int = 1


async def write_idempotently(request: Request, write: Write) -> Response:
    """The response to a write, once it is durable.

    A request with the idempotency key of an earlier one gets the response of that one.
    """
    resources, caller = resources_of(request), principal_of(request)
    key = request.headers.get("idempotency-key")
    if key is None:
        result = await resources.writer.write(caller, write.work, write.item, weight=write.weight)
    else:
        idempotent_request = IdempotentRequest(
            tenant=caller.tenant,
            key=_check_idempotency_key(key),
            digest=await _digest(request, write.weight),
            work=write.work,
            item=write.item,
            to_response=write.to_response,
            is_replayable=write.is_replayable,
        )
        result = await resources.writer.write(
            caller, respond_once, idempotent_request, weight=write.weight
        )
    if not isinstance(result, WriteResponse):
        respond = partial(write.to_response, result)
        result = await run_large(request, respond, write.weight)
    return Response(result.body, result.status, media_type="application/json")


async def run_large(request: Request, work: Callable[[], T], item_count: int) -> T:
    """The result of work on the items of a request; of many, outside the event loop.

    It is never refused: the request was admitted, or recorded already.
    """
    if item_count <= INLINE_ITEMS:
        return work()
    return await resources_of(request).parsers["ingest"].finish(principal_of(request), work)


async def _digest(request: Request, item_count: int) -> str:
    method, path = request.method.encode(), request.url.path.encode()
    body = await request.body()

    def digest() -> str:
        content = hashlib.sha256(b"\n".join((method, path, b"")))
        content.update(body)
        return content.hexdigest()

    return await run_large(request, digest, item_count)


def _check_idempotency_key(key: str) -> str:
    try:
        return _IDEMPOTENCY_KEY.validate_python(key)
    except ValidationError:
        raise validation_problem(
            ["header", "Idempotency-Key"],
            "string_pattern_mismatch",
            "invalid key; send 1 to 255 visible ASCII characters",
        ) from None


def json_with_results(fields: Mapping[str, object], results: Iterable[object]) -> bytes:
    """A JSON object that ends with ``results``.

    Each result is encoded by itself, so that other threads get their turn in between.
    """
    head = to_json(fields)
    return b"".join((head[:-1], b',"results":[', b",".join(map(to_json, results)), b"]}"))


def json_response(content: object, status: int = 200) -> Response:
    """A JSON response, sent without validation; tests compare it with the response model."""
    return Response(to_json(content), status, media_type="application/json")

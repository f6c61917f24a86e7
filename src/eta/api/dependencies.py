"""What several routes need: the tenant, the active model, idempotent writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from eta.api.problem_details import unprocessable
from eta.api.schemas.fields import IdempotencyKey
from eta.domain.access import Caller
from eta.model.hot_swap import Current, Serving
from eta.service.storage.idempotency import Asking, Said, answer_once
from eta.store.store import Work

_KEY = TypeAdapter[str](IdempotencyKey)


def tenant_of(request: Request) -> str:
    """The caller's tenant."""
    caller: Caller = request.state.caller
    return caller.tenant


async def write_idempotently(
    request: Request,
    work: Work[Any, Any],
    item: object,
    say: Callable[[Any], Said],
    *,
    weight: int = 1,
) -> Response:
    """What was done, once it is on the disk; the same answer again where the same key comes again."""
    store, written, key = (
        request.app.state.store,
        request.app.state.written,
        request.headers.get("idempotency-key"),
    )
    if key is None:
        said = say(await written.result(store.submit(work, item, weight=weight)))
    else:
        digest = hashlib.sha256(
            b"\n".join((request.method.encode(), request.url.path.encode(), await request.body()))
        ).hexdigest()
        said = await written.result(
            store.submit(
                answer_once,
                Asking(tenant_of(request), _checked(key), digest, work, item, say),
                weight=weight,
            )
        )
    return Response(said.body, said.status, media_type="application/json")


def _checked(key: str) -> str:
    try:
        return _KEY.validate_python(key)
    except ValidationError:
        raise unprocessable(
            ["header", "Idempotency-Key"],
            "string_pattern_mismatch",
            "the key is no key; send 1 to 255 visible ASCII characters",
        ) from None


def active_model(request: Request) -> Current:
    """What serves now: taken once a request, so that the whole answer is one version's."""
    serving: Serving = request.app.state.serving
    return serving.current


def json_response(told: object) -> Response:
    """An answer as it is: that it keeps the contract is what tests are for."""
    return Response(to_json(told), media_type="application/json")

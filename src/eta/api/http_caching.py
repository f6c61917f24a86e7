"""Cache-Control and ETag of answers that hold for a while."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from fastapi import Request, Response
from pydantic_core import to_json

#: What changes from one moment to the next while the dates stay; within a text the quotes would be
#: escaped.
_VOLATILE = re.compile(rb'"(?:as_of|minutes_left|id)":(?:"[^"]*"|[^,}]*)')


def cached(content_fields: Mapping[str, object], seconds: int) -> Response:
    """An answer that says for how long it holds, and whose tag changes with its dates alone."""
    cache_control = f"private, max-age={seconds}" if seconds else "no-store"
    content = to_json(content_fields)
    return Response(
        content,
        media_type="application/json",
        headers={"Cache-Control": cache_control, "ETag": _etag(content)},
    )


def unchanged_or(request: Request, content_fields: Mapping[str, object]) -> Response:
    """What was shown never changes: whoever has it need not be sent it again."""
    content = to_json(content_fields)
    tag = _etag(content)
    headers = {"Cache-Control": "private, max-age=86400, immutable", "ETag": tag}
    if tag in (etag.strip() for etag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(_VOLATILE.sub(b"", content)).hexdigest()[:32]}"'

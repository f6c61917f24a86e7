"""Cache-Control and ETag of responses that stay valid for a while."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from fastapi import Request, Response
from pydantic_core import to_json

#: Fields that change from one moment to the next while the dates stay the same. The pattern cannot
#: match inside a text, where quotes are escaped.
_VOLATILE = re.compile(rb'"(?:as_of|minutes_left|id)":(?:"[^"]*"|[^,}]*)')
_ETAG_LENGTH = 32


def cached(content_fields: Mapping[str, object], seconds: int) -> Response:
    """A response that may be cached for ``seconds``; its ETag changes only with the dates."""
    cache_control = f"private, max-age={seconds}" if seconds else "no-store"
    content = to_json(content_fields)
    headers = {"Cache-Control": cache_control, "ETag": _etag(content)}
    return Response(content, media_type="application/json", headers=headers)


def unchanged_or(request: Request, content_fields: Mapping[str, object]) -> Response:
    """An immutable response, or 304 if the caller has it already."""
    content = to_json(content_fields)
    etag = _etag(content)
    headers = {"Cache-Control": "private, max-age=86400, immutable", "ETag": etag}
    if_none_match = request.headers.get("if-none-match", "")
    if etag in (candidate.strip() for candidate in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _etag(content: bytes) -> str:
    stable_content = _VOLATILE.sub(b"", content)
    digest = hashlib.sha256(stable_content).hexdigest()
    return f'"{digest[:_ETAG_LENGTH]}"'

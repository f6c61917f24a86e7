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


def cached(answered: Mapping[str, object], seconds: int) -> Response:
    """An answer that says for how long it holds, and whose tag changes with its dates alone."""
    kept = f"private, max-age={seconds}" if seconds else "no-store"
    content = to_json(answered)
    return Response(
        content,
        media_type="application/json",
        headers={"Cache-Control": kept, "ETag": _tag(content)},
    )


def unchanged_or(request: Request, answered: Mapping[str, object]) -> Response:
    """What was shown never changes: whoever has it need not be sent it again."""
    content = to_json(answered)
    tag = _tag(content)
    headers = {"Cache-Control": "private, max-age=86400, immutable", "ETag": tag}
    if tag in (each.strip() for each in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(_VOLATILE.sub(b"", content)).hexdigest()[:32]}"'

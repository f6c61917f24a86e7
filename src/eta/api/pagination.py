"""Cursors: pages of a list, signed so that no caller can forge one."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated

from fastapi import Query

from eta.api.problem_details import validation_problem

MAX_PAGE_SIZE = 100
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]
Cursor = Annotated[
    str | None, Query(max_length=512, description="`next_cursor` of the page before.")
]


def parse_ids(field: str, text: str) -> list[str]:
    """The ids of a comma-separated list.

    Raises:
        Refused: 422 for a list that is too long or holds what cannot be printed.
    """
    ids = [part for part in text.split(",") if part]
    if any(not part.isprintable() for part in ids):
        raise validation_problem(
            ["query", field],
            "forbidden_character",
            "an id holds what cannot be printed; leave it out",
        )
    if len(ids) > MAX_PAGE_SIZE:
        raise validation_problem(
            ["query", field],
            "too_long",
            f"the list is too long; send at most {MAX_PAGE_SIZE} entries",
        )
    return ids


def seal_cursor(secret: bytes, tenant: str, last: str) -> str:
    """A cursor behind which a page begins, signed for one tenant."""
    return base64.urlsafe_b64encode(_cursor_mac(secret, tenant, last) + last.encode()).decode()


def open_cursor(secret: bytes, tenant: str, cursor: str | None) -> str:
    """The id after which a page begins.

    Raises:
        Refused: 422 for a cursor that is not ours, or not this tenant's.
    """
    if cursor is None:
        return ""
    try:
        content = base64.urlsafe_b64decode(cursor.encode())
        last = content[16:].decode()
    except ValueError:
        content, last = b"", ""
    if not hmac.compare_digest(content[:16], _cursor_mac(secret, tenant, last)):
        raise validation_problem(
            ["query", "cursor"],
            "cursor",
            "the cursor is none of ours; send next_cursor as it came, or nothing",
        )
    return last


def _cursor_mac(secret: bytes, tenant: str, last: str) -> bytes:
    return hashlib.blake2b(f"{tenant}\n{last}".encode(), key=secret, digest_size=16).digest()

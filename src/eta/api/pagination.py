"""Pages of lists, with cursors that are signed so that callers cannot forge them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated

from fastapi import Query

from eta.api.problem_details import validation_problem
from eta.domain.texts import has_control_characters

MAX_PAGE_SIZE = 100
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]
Cursor = Annotated[
    str | None, Query(max_length=512, description="`next_cursor` of the previous page.")
]
_MAC_BYTES = 16


def parse_ids(field: str, text: str) -> list[str]:
    """The ids of a comma-separated list.

    Raises:
        ProblemError: 422 for a list that is too long or has control characters.
    """
    # Counted first: to look at thousands of ids takes milliseconds.
    parts = text.split(",", MAX_PAGE_SIZE)
    if len(parts) > MAX_PAGE_SIZE:
        raise validation_problem(
            ["query", field],
            "too_long",
            f"too many entries; send at most {MAX_PAGE_SIZE}",
        )
    ids = [part for part in parts if part]
    if any(map(has_control_characters, ids)):
        raise validation_problem(
            ["query", field],
            "forbidden_character",
            "an id has a control character; remove it",
        )
    return ids


def seal_cursor(secret: bytes, tenant: str, last: str) -> str:
    """The cursor of the page after the id ``last``, signed for one tenant."""
    content = _cursor_mac(secret, tenant, last) + last.encode()
    return base64.urlsafe_b64encode(content).decode()


def open_cursor(secret: bytes, tenant: str, cursor: str | None) -> str:
    """The id after which a page begins; empty for the first page.

    Raises:
        ProblemError: 422 for a forged cursor, and for one of another tenant.
    """
    if cursor is None:
        return ""
    try:
        content = base64.urlsafe_b64decode(cursor.encode())
        last = content[_MAC_BYTES:].decode()
    except ValueError:
        content, last = b"", ""
    expected_mac = _cursor_mac(secret, tenant, last)
    if not hmac.compare_digest(content[:_MAC_BYTES], expected_mac):
        raise validation_problem(
            ["query", "cursor"],
            "cursor",
            "invalid cursor; pass next_cursor unchanged or omit it",
        )
    return last


def _cursor_mac(secret: bytes, tenant: str, last: str) -> bytes:
    content = f"{tenant}\n{last}".encode()
    return hashlib.blake2b(content, key=secret, digest_size=_MAC_BYTES).digest()

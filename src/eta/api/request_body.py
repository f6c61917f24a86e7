"""Reads the body of a request within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from fastapi import Request

from eta.api.admission import BodyBytes
from eta.api.problem_details import ProblemError, validation_problem

MAX_BODY_BYTES = 8 * 2**20

#: How much of a rejected body is received and discarded, in bytes and in seconds.
MAX_DRAIN_BYTES, DRAIN_TIMEOUT_SECONDS = 4 * MAX_BODY_BYTES, 2.0

#: Seconds between two parts of rejected bodies, of all that are being discarded: other callers come
#: first.
DRAIN_PAUSE_SECONDS = 0.005

#: Seconds within which a body must arrive.
BODY_TIMEOUT_SECONDS = 30.0

#: Seconds that any body may take, and bytes a second at which it must arrive beyond them.
BODY_GRACE_SECONDS, MIN_BODY_RATE = 5.0, 16 * 2**10

_JSON_TYPE = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_LINES_TYPE = re.compile(
    r"application/(?:x-ndjson|jsonl)(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE
)

#: Longer lengths are too large, and are not converted to a number.
_MAX_LENGTH_DIGITS = 18


def is_json_lines(request: Request) -> bool:
    """Whether the body is declared as JSON Lines."""
    return _LINES_TYPE.fullmatch(_content_type(request)) is not None


async def read_body(request: Request, body_bytes: BodyBytes, *, reads_lines: bool = False) -> bytes:
    """The whole body; with ``reads_lines`` it may also be JSON Lines.

    Its bytes are held before they are read.

    Raises:
        ProblemError: 415 for an encoding or type that is not supported, 413 for a body that is
            too large, 408 for one that is too slow, 422 for an empty one, 429 or 503 if too many
            bytes are held.
    """
    _check_type(request, reads_lines=reads_lines)
    declared = _declared_length(request)
    if declared > MAX_BODY_BYTES:
        await _drain(request)
        raise _too_large()
    body_bytes.hold(declared)
    try:
        content = await _collect(request, body_bytes)
    except TimeoutError:
        raise ProblemError(
            408,
            f"the body did not arrive at {MIN_BODY_RATE} bytes a second"
            f" and within {BODY_TIMEOUT_SECONDS:g} seconds; send it again",
            headers={"Connection": "close"},
        ) from None
    if not content:
        raise validation_problem(["body"], "missing", "empty body; send a JSON object")
    return content


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").strip()


def _check_type(request: Request, *, reads_lines: bool) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip()
    if encoding.lower() != "identity":
        raise ProblemError(
            415,
            "compressed bodies are not supported; send the body uncompressed",
            headers={"Accept-Encoding": "identity"},
        )
    is_json = _JSON_TYPE.fullmatch(_content_type(request))
    if not (is_json or (reads_lines and is_json_lines(request))):
        raise ProblemError(
            415,
            "unsupported media type; send Content-Type: application/json",
            headers={"Accept": "application/json"},
        )


def _declared_length(request: Request) -> int:
    """The declared length; 0 if there is none."""
    content_length = request.headers.get("content-length", "")
    if not content_length.isdecimal():
        return 0
    if len(content_length) > _MAX_LENGTH_DIGITS:
        return MAX_BODY_BYTES + 1
    return int(content_length)


async def _collect(request: Request, body_bytes: BodyBytes) -> bytes:
    """The body.

    Raises:
        TimeoutError: if it is too slow.
    """
    chunks: list[bytes] = []
    size = 0
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout_at(started + BODY_GRACE_SECONDS) as time_limit:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ProblemError(400, "the connection was closed before the body had arrived")
            chunk = message.get("body", b"")
            size += len(chunk)
            await _hold(request, body_bytes, size)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)
            seconds = BODY_GRACE_SECONDS + size / MIN_BODY_RATE
            time_limit.reschedule(started + min(seconds, BODY_TIMEOUT_SECONDS))


async def _hold(request: Request, body_bytes: BodyBytes, size: int) -> None:
    try:
        if size > MAX_BODY_BYTES:
            raise _too_large()
        body_bytes.hold(size)
    except ProblemError:
        await _drain(request)
        raise


class _Drains:
    """How many bodies are being discarded."""

    count = 0


async def _drain(request: Request) -> None:
    """Receives and discards the rest of a body, within bounds.

    A caller that is cut off while it sends never reads the response. The more bodies are discarded
    at once, the slower each is received.
    """
    _Drains.count += 1
    try:
        await _discard(request)
    finally:
        _Drains.count -= 1


async def _discard(request: Request) -> None:
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS):
            while size < MAX_DRAIN_BYTES:
                message = await request.receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                await asyncio.sleep(DRAIN_PAUSE_SECONDS * _Drains.count)


def _too_large() -> ProblemError:
    return ProblemError(
        413,
        f"the body is larger than {MAX_BODY_BYTES} bytes; split it into several requests",
        headers={"Connection": "close"},
    )

"""What all methods of the client share: the key, connections, retries and errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

from urllib3 import BaseHTTPResponse, Retry, connection_from_url
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from eta.client.types import Problem

#: With these statuses the service has done nothing, and a later try may succeed.
_RETRY_STATUSES = frozenset({429, 503})
#: Seconds to wait at most before one retry, whatever Retry-After says.
_MAX_WAIT_SECONDS = 30
_CONNECTIONS = 10


class ProblemError(Exception):
    """An error response; ``problem`` says why, and its ``errors`` say how to fix each field."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(status, problem)
        self.status, self.problem = status, problem

    def __str__(self) -> str:
        texts = [self.problem["detail"]]
        for error in self.problem["errors"]:
            path = ".".join(map(str, error["loc"]))
            texts.append(f"{path}: {error['msg']}")
        return f"{self.status}: {'; '.join(texts)}"


class Unreachable(Exception):
    """No response came in time, or the response did not come from the service."""


class BaseClient:
    """Connections to one service, which are reused and may be shared by threads.

    Args:
        url: where the service is, such as ``https://eta.example``.
        key: the API key; none in demo mode.
        timeout: seconds to wait for a connection, and for each part of a response.
        retries: how often to retry a call: after 429 and 503 when the service says so, and after
            a broken connection if a repeated call cannot be executed twice.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 5.0, retries: int = 3
    ) -> None:
        headers = _authorization(key)
        self._path = (parse_url(url).path or "").rstrip("/")
        self._retry = Retry(
            retries,
            redirect=False,
            allowed_methods=None,
            raise_on_status=False,
            backoff_factor=0.2,
            backoff_jitter=0.2,
            backoff_max=_MAX_WAIT_SECONDS,
            retry_after_max=_MAX_WAIT_SECONDS,
        )
        self._pool = connection_from_url(
            url, timeout=timeout, headers=headers, maxsize=_CONNECTIONS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        idempotency_key: str | None = None,
        statuses: Iterable[int] = (200,),
        is_text: bool = False,
    ) -> Any:
        """The content of a response with one of ``statuses``.

        Raises:
            ProblemError: for a response with another status.
            Unreachable: if there is no response.
        """
        response = self._send(method, path, query, body, idempotency_key, statuses)
        if response.status not in statuses:
            raise ProblemError(response.status, _problem(response, path))
        if response.status == 204:
            return None
        try:
            return response.data.decode() if is_text else response.json()
        except ValueError as error:
            message = f"{method} {path}: the response is not the service's; check the URL"
            raise Unreachable(message) from error

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        body: object,
        idempotency_key: str | None,
        statuses: Iterable[int],
    ) -> BaseHTTPResponse:
        headers = dict(self._pool.headers)
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        parameters = (query or {}).items()
        fields = {name: str(value) for name, value in parameters if value is not None}
        # After a broken connection nobody knows whether the service has executed the request.
        is_repeatable = method == "GET" or bool(idempotency_key)
        options: dict[str, Any] = {
            "fields": fields or None,
            "json": body,
            "headers": headers,
            "retries": self._retries(statuses, is_repeatable=is_repeatable),
        }
        try:
            return self._pool.request(method, self._path + path, **options)
        except HTTPError as error:
            raise Unreachable(f"{method} {path}: {error}") from error

    def _retries(self, statuses: Iterable[int], *, is_repeatable: bool) -> Retry:
        retry_statuses = _RETRY_STATUSES.difference(statuses)
        return self._retry.new(
            # Without Retry-After it is unknown whether the service has executed the request.
            status_forcelist=retry_statuses if is_repeatable else (),
            respect_retry_after_header=retry_statuses == _RETRY_STATUSES,
            read=None if is_repeatable else 0,
        )


def new_key() -> str:
    """An idempotency key, which all tries of one call share."""
    return uuid4().hex


def part(value: str) -> str:
    """A value as one segment of a path."""
    return quote(value, safe="")


def _authorization(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", key):
        # An error raised further down would show the key.
        raise ValueError(
            "the key has a character that no key can have, such as a line break; remove it"
        )
    return {"Authorization": f"Bearer {key}"}


def _problem(response: BaseHTTPResponse, path: str) -> Problem:
    problem: Problem = {
        "type": "about:blank",
        "title": response.reason or "",
        "status": response.status,
        "detail": "rejected by something between this client and the service",
        "instance": path,
        "errors": [],
    }
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        with suppress(ValueError):
            problem.update(response.json())
    return problem

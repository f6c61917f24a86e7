"""What all calls share: the key, the connections, patience, and refusals."""

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

#: With these the service did nothing of what was asked, and may do it later.
_RETRY_STATUSES = frozenset({429, 503})
#: Seconds that one wait takes at most, whatever the answer wishes.
_MAX_WAIT_SECONDS = 30
_CONNECTIONS = 10


class ProblemError(Exception):
    """The service refused; ``problem`` says why, and its ``errors`` name each field and the mend."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(status, problem)
        self.status, self.problem = status, problem

    def __str__(self) -> str:
        errors = [
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in self.problem["errors"]
        ]
        return f"{self.status}: {'; '.join([self.problem['detail'], *errors])}"


class Unreachable(Exception):
    """No answer came in time, or none that is the service's."""


class BaseClient:
    """Connections to one service, which are kept and may be shared by threads.

    Args:
        url: where the service is, such as ``https://eta.example``.
        key: the key; none for the demo.
        timeout: seconds to wait for a connection, and for each part of an answer.
        retries: how often a call is tried again: after 429 and 503 when the service says so, and
            after a broken connection where nothing can be done twice.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 5.0, retries: int = 3
    ) -> None:
        if key is not None and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", key):
            # Further down the refusal would show the key.
            raise ValueError(
                "the key holds what no key can, such as a line break at its end; leave it out"
            )
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
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._pool = connection_from_url(
            url, timeout=timeout, headers=headers, maxsize=_CONNECTIONS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._pool.close()

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        idempotency_key: str | None = None,
        answers: Iterable[int] = (200,),
        is_text: bool = False,
    ) -> Any:
        """The answer.

        Raises:
            Refused: for a status that is not one of ``answers``.
            Unreachable: if there is none.
        """
        retry_statuses = _RETRY_STATUSES.difference(answers)
        try:
            response = self._pool.request(
                method,
                self._path + path,
                fields={
                    name: str(value) for name, value in (query or {}).items() if value is not None
                }
                or None,
                json=body,
                headers={
                    **self._pool.headers,
                    **({"Idempotency-Key": idempotency_key} if idempotency_key else {}),
                },
                retries=self._retry.new(
                    status_forcelist=retry_statuses,
                    respect_retry_after_header=retry_statuses == _RETRY_STATUSES,
                    # When a connection breaks nobody knows how much the service has done.
                    read=None if method == "GET" or idempotency_key else 0,
                ),
            )
        except HTTPError as error:
            raise Unreachable(f"{method} {path}: {error}") from error
        if response.status not in answers:
            raise ProblemError(response.status, _problem(response, path))
        if response.status == 204:
            return None
        try:
            return response.data.decode() if is_text else response.json()
        except ValueError as error:
            raise Unreachable(f"{method} {path}: what answers is not the service") from error


def new_key() -> str:
    """An idempotency key: all tries of a call bear the same."""
    return uuid4().hex


def part(value: str) -> str:
    """A value as one part of a path."""
    return quote(value, safe="")


def _problem(response: BaseHTTPResponse, path: str) -> Problem:
    problem: Problem = {
        "type": "about:blank",
        "title": response.reason or "",
        "status": response.status,
        "detail": "something between here and the service refused",
        "instance": path,
        "errors": [],
    }
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        with suppress(ValueError):
            problem.update(response.json())
    return problem

"""The errors that one response may report."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import BaseModel, Field

#: A response reports only the first errors, and so many bytes of them.
MAX_ERRORS, MAX_ERRORS_BYTES = 100, 48 * 2**10


class FieldError(BaseModel):
    """What is wrong with one field, and how to fix it."""

    loc: list[str | int] = Field(description="The path to the field, starting with `body`.")
    msg: str = Field(description="What is wrong and how to fix it.")
    type: str = Field(description="A stable identifier of the error.")


class ErrorBudget:
    """How many errors a response may still report, and how many bytes of them.

    All parts of a response share one: an answer to an invalid request must not cost more than one
    to a valid request.
    """

    def __init__(self) -> None:
        self._errors_left, self._bytes_left = MAX_ERRORS, MAX_ERRORS_BYTES

    @property
    def is_spent(self) -> bool:
        """Whether no more errors are reported."""
        return self._errors_left <= 0

    def take(self, errors: Iterable[FieldError]) -> list[FieldError]:
        """The first of some errors, as many as the response may still report."""
        taken: list[FieldError] = []
        remaining = iter(errors)
        while not self.is_spent and (error := next(remaining, None)):
            self._errors_left -= 1
            self._bytes_left -= len(json.dumps(error.model_dump()))
            if self._bytes_left < 0:
                self._errors_left = 0
                break
            taken.append(error)
        return taken

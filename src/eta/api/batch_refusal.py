"""Refuses a batch of which nothing can be used and whose errors do not fit into a response."""

from __future__ import annotations

from collections.abc import Sequence

from eta.api.metrics import Metrics, RowKind
from eta.api.problem_details import ProblemError
from eta.api.schemas.common import InvalidItem, unmapped_code_count


def refuse_useless(items: Sequence[object], field: str, metrics: Metrics) -> None:
    """Counts and refuses the items in a field of a request, if there is nothing else to answer.

    Raises:
        ProblemError: 422 with the first errors, if no item is valid and some have to stay without
            their errors.
    """
    invalid = [item for item in items if isinstance(item, InvalidItem)]
    if len(invalid) < len(items) or all(item.errors for item in invalid):
        return
    unmapped_codes = unmapped_code_count(items)
    metrics.count_rows([RowKind.REJECTED] * len(items), unmapped_codes=unmapped_codes)
    errors = [
        error
        for index, item in enumerate(invalid)
        for error in item.errors_at("body", field, index)
    ]
    detail = f"none of the {field} can be used; errors lists the first problems and how to fix them"
    raise ProblemError(422, detail, errors=errors)

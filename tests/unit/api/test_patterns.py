"""No error shows a regular expression: what to send is in words."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from eta.api.problem_details import field_errors
from eta.api.schemas import fields


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (fields.Code, " x ", "without a blank at either end"),
        (fields.TrackingNumber, "!!", "letters, digits, blanks, dots"),
        (fields.IdempotencyKey, "a b", "visible ASCII"),
        (fields.Id, "a\nb", "without control characters"),
        (Annotated[str, StringConstraints(pattern=r"^\d+$")], "x", "as documented"),
    ],
)
def test_an_invalid_format_is_explained_in_words(kind: type, value: str, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    (error,) = field_errors(raised.value.errors())
    assert error.type == "string_pattern_mismatch"
    assert words in error.msg
    assert "^" not in error.msg


def test_every_pattern_of_a_request_has_words() -> None:
    kinds = (
        fields.Code,
        fields.PostalCode,
        fields.TrackingNumber,
        fields.Id,
        fields.IdempotencyKey,
    )
    for kind in kinds:
        schema = json.loads(json.dumps(TypeAdapter(kind).json_schema()))
        assert schema["pattern"] in fields.WORDS_OF_PATTERN

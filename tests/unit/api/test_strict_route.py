"""Strict JSON, the constrained types of fields, and the reading of bodies."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator, MutableMapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from eta.api.problem_details import ProblemError
from eta.api.request_body import MAX_BODY_BYTES, MAX_DRAIN_BYTES
from eta.api.schemas.common import Weight
from eta.api.schemas.fields import Code, Country, EventCodeIn, LocalDate, Number, UtcDatetime
from eta.api.strict_json import MAX_DEPTH, MAX_INTEGER, load
from eta.settings import is_loopback
from support.model_app import KEY, application

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text('abc[]{}"\\é', max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def errors_of(content: bytes | str) -> list[tuple[list[str | int], str]]:
    with pytest.raises(ProblemError) as caught:
        load(content.encode() if isinstance(content, str) else content)
    assert caught.value.status_code == 422
    assert all(";" in error.msg for error in caught.value.errors)
    return [(error.loc, error.type) for error in caught.value.errors]


@given(_json, st.booleans())
def test_valid_json_is_loaded_as_by_the_standard_library(value: Any, ascii_only: bool) -> None:
    assert load(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("content", "loc", "type_"),
    [
        ('{"a": NaN}', ["body", "a"], "finite_number"),
        ('{"a": [1, -Infinity]}', ["body", "a", 1], "finite_number"),
        ("Infinity", ["body"], "finite_number"),
        ('{"a": 1e400}', ["body", "a"], "finite_number"),
        ('{"a": -1e999999999999}', ["body", "a"], "finite_number"),
        ('{"a": 0.' + "1" * 5000 + "}", ["body", "a"], "finite_number"),
        ('{"a": 9223372036854775808}', ["body", "a"], "number_too_large"),
        ('{"a": -9007199254740992}', ["body", "a"], "number_too_large"),
        ('{"a": ' + "9" * 100_000 + "}", ["body", "a"], "number_too_large"),
        ('{"a": {"b": 1, "b": 1}}', ["body", "a", "b"], "duplicate_key"),
        (r'{"a": "\ud800"}', ["body", "a"], "forbidden_character"),
        (r'{"a": "x\uDFFFx"}', ["body", "a"], "forbidden_character"),
        (r'{"a": ["\u0000"]}', ["body", "a", 0], "forbidden_character"),
        (r'{"\u0000": 1}', ["body", "\\x00"], "forbidden_character"),
        (r'{"\udead": 1}', ["body", "\\udead"], "forbidden_character"),
        ("[" * 100_000, ["body"], "too_deep"),
        ('{"a":' * 100_000, ["body"], "too_deep"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), ["body"], "too_deep"),
        ('{"a": "\x00"}', ["body"], "json_invalid"),
        ("{", ["body"], "json_invalid"),
        ("{} {}", ["body"], "json_invalid"),
        ("\ufeff{}", ["body"], "json_invalid"),
        ('{"a": 01}', ["body"], "json_invalid"),
        ("{'a': 1}", ["body"], "json_invalid"),
        (b"\xff", ["body"], "invalid_utf8"),
        (b'{"a": "\xed\xa0\x80"}', ["body"], "invalid_utf8"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_ambiguous_json_is_rejected_with_its_path(
    content: bytes | str, loc: list[str | int], type_: str
) -> None:
    assert errors_of(content) == [(loc, type_)]


def test_all_errors_are_listed_up_to_a_limit() -> None:
    assert [loc[1] for loc, _ in errors_of(r'{"a": NaN, "b": 1e400, "c": "\u0000"}')] == [
        "a",
        "b",
        "c",
    ]
    assert len(errors_of("[" + ",".join(["NaN"] * 5000) + "]")) == 100


@pytest.mark.parametrize(
    "content",
    [
        r'{"a": "[[[{{{\\\"[[["}',
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        r'{"a": "\ud83d\ude00"}',
        '{"a": 9007199254740991, "b": 1e-400}',
    ],
)
def test_brackets_in_texts_and_surrogate_pairs_are_valid(content: str) -> None:
    assert load(content.encode()) == json.loads(content)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-20T10:00:00Z", datetime(2026, 5, 20, 10, tzinfo=UTC)),
        ("2026-05-20t10:00:00.123456789z", datetime(2026, 5, 20, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-05-20T10:00:00.5+14:00", datetime(2026, 5, 19, 20, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-05-20T10:00:00-14:00", datetime(2026, 5, 21, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2100-12-31T23:59:59Z", datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_is_converted_to_utc(text: str, moment: datetime) -> None:
    read = TypeAdapter(UtcDatetime).validate_python(text)
    assert read == moment
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("2026-05-20T10:00:00", "offset_missing"),
        ("0001-01-01T00:00:00", "offset_missing"),
        ("0001-01-01T00:00:00Z", "date_out_of_range"),
        ("9999-12-31T23:59:59Z", "date_out_of_range"),
        ("9999-12-31T23:59:59-01:00", "date_out_of_range"),
        ("1970-01-01T00:00:00+14:00", "date_out_of_range"),
        ("2100-12-31T23:59:59-14:00", "date_out_of_range"),
        ("2026-05-20T24:00:00Z", "datetime_format"),
        ("2026-05-20T23:59:60Z", "datetime_format"),
        ("2026-05-20T10:00:00+15:00", "datetime_format"),
        ("2026-05-20T10:00:00+14:01", "date_out_of_range"),
        ("2026-02-29T10:00:00Z", "date_format"),
        ("2026-05-20 10:00:00Z", "datetime_format"),
        ("2026-05-20T10:00Z", "datetime_format"),
        ("2026-05-20T10:00:00+0200", "datetime_format"),
        ("2026-05-20T10:00:00 02:00", "datetime_format"),
        ("2026-05-20T10:00:00+23:59", "datetime_format"),
        ("2026-05-20T10:00:00Z\n", "datetime_format"),
        ("\uff12\uff10\uff12\uff16-05-20T10:00:00Z", "datetime_format"),
        ("2026-05-20", "datetime_format"),
        (1_700_000_000, "datetime_format"),
        (None, "datetime_format"),
    ],
)
def test_an_invalid_time_is_rejected(value: object, type_: str) -> None:
    assert error_of(UtcDatetime, value) == type_


@given(
    st.text(max_size=30)
    | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", fullmatch=True)
)
def test_any_text_is_a_time_within_range_or_rejected(text: str) -> None:
    try:
        moment = TypeAdapter(UtcDatetime).validate_python(text)
    except ValidationError:
        return
    assert 1970 <= moment.year <= 2100


@pytest.mark.parametrize(
    ("kind", "value", "type_"),
    [
        (LocalDate, "9999-12-31", "date_out_of_range"),
        (LocalDate, "1969-12-31", "date_out_of_range"),
        (LocalDate, "2026-W21-3", "date_format"),
        (LocalDate, "20260520", "date_format"),
        (LocalDate, 20260520, "date_format"),
        (Country, "Grmany", "country_code"),
        (Country, "SU", "country_code"),
        (Country, "", "country_code"),
        (Country, "x" * 5_000, "country_code"),
        (Country, 40, "country_code"),
        (Number, True, "number_type"),
        (Number, "1", "float_type"),
        (Number, float("nan"), "finite_number"),
        (Number, float("inf"), "finite_number"),
        (Code, "", "string_too_short"),
        (Code, " post", "string_pattern_mismatch"),
        (Code, "po\nst", "string_pattern_mismatch"),
        (Code, "x" * 65, "string_too_long"),
        (EventCodeIn, "teleported", "event_code"),
        (EventCodeIn, ["accepted"], "event_code"),
    ],
)
def test_an_invalid_value_is_rejected(kind: Any, value: object, type_: str) -> None:
    assert error_of(kind, value) == type_


def error_of(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value, strict=True)
    (error,) = caught.value.errors()
    return str(error["type"])


def test_valid_values_are_accepted() -> None:
    assert TypeAdapter(LocalDate).validate_python("2024-02-29") == date(2024, 2, 29)
    assert TypeAdapter(Code).validate_python("DHL Express") == "DHL Express"
    assert TypeAdapter(Number).validate_python(3) == 3.0


@pytest.mark.parametrize(
    ("value", "unit", "kg"),
    [(500, "g", 0.5), (2, "kg", 2.0), (1, "lb", 0.45359237), (16, "oz", 0.45359237)],
)
def test_weights_of_any_unit_are_converted_to_kilograms(value: float, unit: Any, kg: float) -> None:
    assert Weight(value=value, unit=unit).kg == pytest.approx(kg, rel=1e-12)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104  # must be rejected
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


class Response:
    """The response of an application, and how many chunks of the body it received."""

    def __init__(self) -> None:
        self.status, self.headers, self.body, self.chunks_requested = 0, {}, b"", 0  # type: ignore[var-annotated]


def call(
    app: FastAPI, chunks: list[bytes], *, breaks_off: bool = False, **headers: str
) -> Response:
    """Sends a body in chunks, as a client without a Content-Length does."""
    response = Response()

    async def receive() -> MutableMapping[str, Any]:
        response.chunks_requested += 1
        index = response.chunks_requested - 1
        return (
            {
                "type": "http.request",
                "body": chunks[index],
                "more_body": breaks_off or index + 1 < len(chunks),
            }
            if index < len(chunks)
            else {"type": "http.disconnect"}
        )

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            response.status, response.headers = (
                message["status"],
                {name.decode(): value.decode() for name, value in message["headers"]},
            )
        else:
            response.body += message.get("body", b"")

    request_headers = {
        "content-type": "application/json",
        "x-api-key": KEY,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/estimates",
        "raw_path": b"/v1/estimates",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in request_headers.items()],
        "client": ("10.0.0.9", 1),
        "server": ("10.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    return response


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """The started application with an empty registry."""
    app = application(tmp_path / "models")
    with TestClient(app):
        yield app


def is_problem(response: Response, status: int) -> bool:
    return (
        response.status == status
        and response.headers["content-type"] == "application/problem+json"
        and json.loads(response.body)["status"] == status
    )


def test_a_body_without_a_length_is_cut_off_at_the_limit(app: FastAPI) -> None:
    chunk = b" " * 2**18
    response = call(app, [chunk] * 1000)
    assert is_problem(response, 413)
    # A caller that is still sending may finish, within bounds, so that it reads the response.
    assert response.chunks_requested == (MAX_BODY_BYTES + MAX_DRAIN_BYTES) // len(chunk) + 1


def test_a_declared_length_beyond_the_limit_is_rejected(app: FastAPI) -> None:
    response = call(app, [b"{}"], content_length=str(MAX_BODY_BYTES + 1))
    assert is_problem(response, 413)
    assert response.chunks_requested == 1


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "identity, gzip", "GZIP"])
def test_a_compressed_body_is_rejected_unread(app: FastAPI, coding: str) -> None:
    response = call(app, [gzip.compress(b" " * 2**24)], content_encoding=coding)
    assert is_problem(response, 415)
    assert response.headers["accept-encoding"] == "identity"
    assert response.chunks_requested == 0


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/problem+json",
    ],
)
def test_only_json_in_utf8_is_accepted(app: FastAPI, kind: str) -> None:
    response = call(app, [b"{}"], content_type=kind)
    assert is_problem(response, 415)
    assert response.chunks_requested == 0


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        'application/json; charset="UTF-8"',
        "application/json;charset=utf-8",
    ],
)
def test_every_spelling_of_the_json_media_type_is_accepted(app: FastAPI, kind: str) -> None:
    assert is_problem(call(app, [b"{}"], content_type=kind, content_encoding="identity"), 422)


def test_a_truncated_body_is_rejected(app: FastAPI) -> None:
    assert is_problem(call(app, [b"{"], breaks_off=True), 400)


def test_a_wrong_key_is_rejected_before_the_body_is_read(app: FastAPI) -> None:
    response = call(app, [b"{}"], x_api_key="another key")
    assert is_problem(response, 401)
    assert response.chunks_requested == 0

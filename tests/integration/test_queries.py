"""The SQL files name the columns of the rows in records.py, in their order."""

from __future__ import annotations

import re

import pytest

from eta.store import queries
from eta.store.records import (
    StoredEvent,
    StoredFlag,
    StoredForecast,
    StoredQuarantinedEvent,
    StoredResponse,
    StoredShipment,
    StoredState,
    StoredVersion,
    TrackingNumberUse,
)

ROWS = {
    "shipments.sql": {
        "shipments_by_shipment_id": StoredShipment,
        "shipments_by_external_id": StoredShipment,
        "shipments_by_number_use_id": StoredShipment,
        "shipments_after": StoredShipment,
        "shipments_after_with_status": StoredShipment,
        "all_shipments": StoredShipment,
        "inactive_shipments": StoredShipment,
        "put_shipment": StoredShipment,
        "versions": StoredVersion,
        "put_version": StoredVersion,
        "number_uses": TrackingNumberUse,
        "put_number_use": TrackingNumberUse,
        "states": StoredState,
        "put_state": StoredState,
    },
    "events.sql": {
        "events": StoredEvent,
        "all_events": StoredEvent,
        "add_event": StoredEvent,
        "quarantined": StoredQuarantinedEvent,
        "add_quarantined": StoredQuarantinedEvent,
    },
    "responses.sql": {
        "forecasts": StoredForecast,
        "add_forecast": StoredForecast,
        "flags": StoredFlag,
        "put_flag": StoredFlag,
        "responses": StoredResponse,
        "put_response": StoredResponse,
    },
}
CASES = [
    (file_name, name, kind) for file_name, kinds in ROWS.items() for name, kind in kinds.items()
]


def names(columns: str) -> list[str]:
    """Returns the names in a list of columns, without the tenant and the table's name."""
    bare = [column.strip().removeprefix("shipments.") for column in columns.split(",")]
    return [name for name in bare if name != "tenant"]


@pytest.mark.parametrize(("file_name", "name", "kind"), CASES, ids=[case[1] for case in CASES])
def test_columns_are_those_of_the_row_in_order(file_name: str, name: str, kind: type) -> None:
    sql = queries.load_queries(file_name)[name]
    fields = list(kind._fields)  # type: ignore[attr-defined]  # a NamedTuple
    if sql.startswith("SELECT"):
        [columns] = re.findall(r"^SELECT (.*?) FROM", sql)
        assert names(columns) == fields
        return
    [columns] = re.findall(r"^INSERT INTO \w+ \((.*?)\)", sql)
    [marks] = re.findall(r"VALUES \(([?, ]+)\)", sql)
    assert columns.startswith("tenant, ")
    assert names(columns) == fields
    assert marks.count("?") == len(fields) + 1
    if "DO UPDATE" in sql:
        [key] = re.findall(r"ON CONFLICT \((.*?)\)", sql)
        updated = re.findall(r"(\w+) = excluded\.(\w+)", sql)
        assert all(column == value for column, value in updated)
        assert [column for column, _ in updated] == [
            field for field in fields if field not in names(key)
        ]


def test_a_file_with_two_queries_of_one_name_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "-- A comment; it ends nothing.\n-- name: one\nSELECT 1\nFROM a;\n-- name: two\nSELECT 2;\n"
    )
    monkeypatch.setattr(queries, "_read", lambda _: text)
    assert dict(queries.load_queries("any.sql")) == {"one": "SELECT 1 FROM a", "two": "SELECT 2"}
    monkeypatch.setattr(queries, "_read", lambda _: text.replace("two", "one"))
    with pytest.raises(ValueError, match="two queries named one"):
        queries.load_queries("any.sql")

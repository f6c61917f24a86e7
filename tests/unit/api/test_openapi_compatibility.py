"""The OpenAPI document breaks no caller of the reference copy; additions are allowed.

``tests/clients/generate.py --reference`` writes the copy. Run it after a release that adds
something callers may rely on, or after a break that the changelog announces.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eta.api.app import create_app
from eta.settings import Settings

REFERENCE = Path(__file__).parents[2] / "golden" / "openapi.json"

#: Limits of a value; a higher lower limit or a lower upper limit rejects what was accepted.
LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")

Schema = dict[str, Any]


class Comparison:
    """Lists what callers of one document can no longer rely on in another one."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old, new
        self._compared: set[tuple[str, bool]] = set()

    def breaking_changes(self) -> list[str]:
        """One line per change."""
        changes: list[str] = []
        for path, operations in self.old["paths"].items():
            for verb, old in operations.items():
                new = self.new["paths"].get(path, {}).get(verb)
                name = f"{verb.upper()} {path}"
                if new is None:
                    changes.append(f"{name}: removed")
                else:
                    changes += self._operation(name, old, new)
        return changes

    def _operation(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{name}: operationId {old['operationId']} is now {new['operationId']}"
        yield from self._parameters(name, old, new)
        if "requestBody" in new:
            old_content = old.get("requestBody", {}).get("content", {})
            new_content = new["requestBody"]["content"]
            yield from self._content(f"{name} request", old_content, new_content, is_request=True)
        for status, response in old["responses"].items():
            where = f"{name} {status}"
            if status not in new["responses"]:
                yield f"{where}: response removed"
                continue
            old_content = response.get("content", {})
            new_content = new["responses"][status].get("content", {})
            yield from self._content(where, old_content, new_content, is_request=False)

    def _parameters(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        old_by_name = {(item["in"], item["name"]): item for item in old.get("parameters", [])}
        new_by_name = {(item["in"], item["name"]): item for item in new.get("parameters", [])}
        for key, parameter in old_by_name.items():
            where = f"{name} {key[0]} {key[1]}"
            if key not in new_by_name:
                yield f"{where}: parameter removed"
                continue
            new_schema = new_by_name[key]["schema"]
            yield from self._schema(where, parameter["schema"], new_schema, is_request=True)
        for key, parameter in new_by_name.items():
            was_required = old_by_name.get(key, {}).get("required", False)
            if parameter.get("required") and not was_required:
                yield f"{name} {key[0]} {key[1]}: parameter is now required"

    def _content(self, where: str, old: Schema, new: Schema, *, is_request: bool) -> Iterator[str]:
        for media_type, content in old.items():
            if media_type not in new:
                yield f"{where}: media type {media_type} removed"
                continue
            old_schema, new_schema = content.get("schema", {}), new[media_type].get("schema", {})
            yield from self._schema(where, old_schema, new_schema, is_request=is_request)

    def _schema(self, where: str, old: Schema, new: Schema, *, is_request: bool) -> Iterator[str]:
        old_options, new_options = options(old), options(new)
        removed, added = (
            old_options.keys() - new_options.keys(),
            new_options.keys() - old_options.keys(),
        )
        if is_request and removed:
            yield f"{where}: no longer accepts {', '.join(sorted(removed))}"
        if not is_request and (added or removed):
            yield f"{where}: {sorted(old_options)} is now {sorted(new_options)}"
        for key in sorted(old_options.keys() & new_options.keys()):
            old_option, new_option = old_options[key], new_options[key]
            if "$ref" in old_option:
                yield from self._component(key, is_request=is_request)
            else:
                yield from self._inline(where, old_option, new_option, is_request=is_request)

    def _component(self, name: str, *, is_request: bool) -> Iterator[str]:
        if (name, is_request) not in self._compared:
            self._compared.add((name, is_request))
            old = self.old["components"]["schemas"][name]
            new = self.new["components"]["schemas"][name]
            yield from self._schema(name, old, new, is_request=is_request)

    def _inline(self, where: str, old: Schema, new: Schema, *, is_request: bool) -> Iterator[str]:
        if is_request:
            yield from narrowed(where, old, new)
            added = set(new.get("required", ())) - set(old.get("required", ()))
            yield from (f"{where}.{name}: field is now required" for name in sorted(added))
        else:
            dropped = set(old.get("required", ())) - set(new.get("required", ()))
            yield from (f"{where}.{name}: field may be missing" for name in sorted(dropped))
            yield from removed_values(where, old, new)
        new_properties = new.get("properties", {})
        for name, schema in old.get("properties", {}).items():
            field = f"{where}.{name}"
            if name not in new_properties:
                yield f"{field}: field removed"
                continue
            yield from self._schema(field, schema, new_properties[name], is_request=is_request)
        for keyword in ("items", "additionalProperties"):
            if isinstance(old.get(keyword), dict) and isinstance(new.get(keyword), dict):
                entry = f"{where}[]"
                yield from self._schema(entry, old[keyword], new[keyword], is_request=is_request)


def options(schema: Schema) -> dict[str, Schema]:
    """The alternatives of a schema by the name of their component, or else by their type."""
    named: dict[str, Schema] = {}
    for option in schema.get("anyOf") or schema.get("oneOf") or [schema]:
        key = option["$ref"].rsplit("/", 1)[1] if "$ref" in option else option.get("type", "any")
        named[str(key)] = option
    return named


def values(schema: Schema) -> set[str] | None:
    """The values that a schema lists, as JSON; None if it lists none."""
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return None if listed is None else {json.dumps(value) for value in listed}


def narrowed(where: str, old: Schema, new: Schema) -> Iterator[str]:
    """What a request may no longer hold."""
    old_values, new_values = values(old), values(new)
    if new_values is not None and (old_values is None or not old_values <= new_values):
        removed = (old_values or {"any value"}) - new_values
        yield f"{where}: no longer accepts {', '.join(sorted(removed))}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where}: pattern is now {new['pattern']}"
    for keyword in LOWER_LIMITS:
        if keyword in new and new[keyword] > old.get(keyword, float("-inf")):
            yield f"{where}: {keyword} is now {new[keyword]}"
    for keyword in UPPER_LIMITS:
        if keyword in new and new[keyword] < old.get(keyword, float("inf")):
            yield f"{where}: {keyword} is now {new[keyword]}"


def removed_values(where: str, old: Schema, new: Schema) -> Iterator[str]:
    """Values that a response no longer has."""
    old_values, new_values = values(old), values(new)
    if old_values and new_values and (removed := old_values - new_values):
        yield f"{where}: no longer {', '.join(sorted(removed))}"


@pytest.fixture(scope="module")
def document() -> Schema:
    return create_app(Settings(models=Path("models"), is_demo=True)).openapi()


def test_the_document_breaks_no_caller_of_the_reference(document: Schema) -> None:
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    assert Comparison(reference, document).breaking_changes() == []


def schema_of(document: Schema, name: str) -> Any:
    return document["components"]["schemas"][name]


def remove_path(document: Schema) -> None:
    del document["paths"]["/v1/models"]


def rename_operation(document: Schema) -> None:
    document["paths"]["/v1/models"]["get"]["operationId"] = "models"


def remove_response_field(document: Schema) -> None:
    del schema_of(document, "Prediction")["properties"]["delay"]


def make_response_field_optional(document: Schema) -> None:
    schema_of(document, "Prediction")["required"].remove("delay")


def make_response_field_nullable(document: Schema) -> None:
    properties = schema_of(document, "Prediction")["properties"]
    properties["status"] = {"anyOf": [properties["status"], {"type": "null"}]}


def require_request_field(document: Schema) -> None:
    schema_of(document, "EstimateRequest")["required"].append("order_time")


def remove_request_field(document: Schema) -> None:
    del schema_of(document, "EstimateRequest")["properties"]["order_time"]


def narrow_request_enum(document: Schema) -> None:
    schema_of(document, "Weight")["properties"]["unit"]["enum"].remove("oz")


def lower_request_limit(document: Schema) -> None:
    schema_of(document, "EstimateRequest")["properties"]["carriers"]["maxItems"] = 10


def narrow_request_type(document: Schema) -> None:
    schema_of(document, "Weight")["properties"]["value"]["type"] = "integer"


def require_parameter(document: Schema) -> None:
    parameters = document["paths"]["/v1/shipments"]["get"]["parameters"]
    parameters[0]["required"] = True


def remove_parameter(document: Schema) -> None:
    del document["paths"]["/v1/shipments"]["get"]["parameters"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (remove_path, "GET /v1/models: removed"),
        (rename_operation, "GET /v1/models: operationId list_models is now models"),
        (remove_response_field, "Prediction.delay: field removed"),
        (make_response_field_optional, "Prediction.delay: field may be missing"),
        (make_response_field_nullable, "Prediction.status: ['string'] is now ['null', 'string']"),
        (require_request_field, "EstimateRequest.order_time: field is now required"),
        (remove_request_field, "EstimateRequest.order_time: field removed"),
        (narrow_request_enum, 'Weight.unit: no longer accepts "oz"'),
        (lower_request_limit, "EstimateRequest.carriers: maxItems is now 10"),
        (narrow_request_type, "Weight.value: no longer accepts number"),
        (require_parameter, "GET /v1/shipments query ids: parameter is now required"),
        (remove_parameter, "GET /v1/shipments query ids: parameter removed"),
    ],
)
def test_a_breaking_change_is_listed(
    document: Schema, change: Callable[[Schema], None], expected: str
) -> None:
    changed = copy.deepcopy(document)
    change(changed)
    assert Comparison(document, changed).breaking_changes() == [expected]


def test_additions_break_nobody(document: Schema) -> None:
    changed = copy.deepcopy(document)
    changed["paths"]["/v2/models"] = changed["paths"]["/v1/models"]
    schema_of(changed, "Prediction")["properties"]["note"] = {"type": "string"}
    schema_of(changed, "Prediction")["required"].append("note")
    schema_of(changed, "EstimateRequest")["properties"]["note"] = {"type": "string"}
    schema_of(changed, "Weight")["properties"]["unit"]["enum"].append("t")
    assert Comparison(document, changed).breaking_changes() == []

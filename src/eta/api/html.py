"""The HTML of pages for people: the landing page, and the reference of the API.

Pages need nothing from elsewhere: no scripts, no fonts, and one style, whose hash their
Content-Security-Policy names.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
h2, h3 { margin-top: 2rem; } code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
  border-bottom: 1px solid #ddd; }
"""
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Headers of a page: only its own style is used, and it cannot be framed or send a form.
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
    "Vary": "Accept",
}
_METHODS = ("get", "post", "patch", "put", "delete")


def landing_page(description: str, version: str, links: Mapping[str, str]) -> str:
    """The page at the root: what this is, and where to go on."""
    entries = [
        f'<li><a href="{path[1:]}">{path}</a>: {escape(text)}</li>' for path, text in links.items()
    ]
    body = [
        "<h1>eta</h1>",
        f"<p>{escape(description)}</p>",
        "<p>A shop asks for the date before the purchase with <code>POST /v1/estimates</code>,"
        " and registers shipments and their events to be warned of late ones.</p>",
        f"<ul>{''.join(entries)}</ul>",
        f"<p>Version {escape(version)}.</p>",
    ]
    return _page("eta", body)


def reference_page(document: Mapping[str, Any]) -> str:
    """The reference of an API: operations with parameters and examples, and all schemas."""
    info = document["info"]
    operations = [
        (f"{method.upper()} {path}", item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    body = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}: HTTP API</h1>",
        f"<p>{escape(info['description'])} The same as a document for machines:"
        ' <a href="openapi.json">/openapi.json</a>.</p>',
        _table(("route", "purpose"), [_overview(name, entry) for name, entry in operations]),
    ]
    body += [_operation(name, entry) for name, entry in operations]
    body.append("<h2>Schemas</h2>")
    schemas = document["components"]["schemas"]
    body += [_schema(name, schema) for name, schema in schemas.items()]
    return _page(f"{info['title']}: HTTP API", body)


def _prose(text: str) -> str:
    """A description, with what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _page(title: str, body: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _overview(name: str, operation: Mapping[str, Any]) -> tuple[str, str]:
    link = f'<a href="#{operation["operationId"]}"><code>{escape(name)}</code></a>'
    return link, _prose(_first_line(operation))


def _first_line(operation: Mapping[str, Any]) -> str:
    return str(operation.get("description", "")).split("\n")[0]


def _operation(name: str, operation: Mapping[str, Any]) -> str:
    parts = [f'<h2 id="{operation["operationId"]}"><code>{escape(name)}</code></h2>']
    parts.append(f"<p>{_prose(operation.get('description', ''))}</p>")
    scope = operation.get("x-scope")
    parts.append(f"<p>Needs a key with the scope <code>{scope}</code>.</p>" if scope else "")
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    if parameters:
        parts.append(_table(("parameter", "in", "type", "meaning"), parameters))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        parts.append(f"<p>Request: {_type(content.get('schema', {}))}</p>")
        for title, example in content.get("examples", {}).items():
            text = json.dumps(example["value"], indent=1, ensure_ascii=False)
            parts.append(f"<p>Example: {escape(title)}</p><pre>{escape(text)}</pre>")
    responses = operation["responses"].items()
    rows = [(f"<code>{status}</code>", *_response(response)) for status, response in responses]
    parts.append(_table(("answer", "type", "meaning"), rows))
    return "\n".join(parts)


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"<code>{escape(parameter['name'])}</code>"
    is_required = " (required)" if parameter.get("required") else ""
    schema = parameter.get("schema", {})
    meaning = parameter.get("description") or schema.get("description", "")
    return name + is_required, parameter["in"], _type(schema), _prose(meaning)


def _response(response: Mapping[str, Any]) -> tuple[str, str]:
    types = [_type(content.get("schema", {})) for content in response.get("content", {}).values()]
    return " or ".join(types), _prose(response["description"])


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(field)}</code>{' (required)' if field in required else ''}",
            _type(part),
            _prose(part.get("description", "")),
        )
        for field, part in schema.get("properties", {}).items()
    ]
    heading = f'<h3 id="schema-{escape(name)}">{escape(name)}</h3>'
    meaning = f"<p>{_prose(schema.get('description', ''))}</p>"
    return heading + meaning + (_table(("field", "type", "meaning"), rows) if rows else "")


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, with links to those that have a name."""
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(_type(part) for part in schema[choice])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    return escape(schema.get("format") or str(schema.get("type", "any")))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"

"""Writes the clients in ``src/eta/client`` from the OpenAPI document, and type-checks the examples.

``make client`` and ``make check`` run it, and install the generators that it needs.

``--check`` writes nothing and fails if the clients differ from what the document gives.
``--reference`` writes the document to ``tests/golden/openapi.json`` instead, with which
``tests/unit/api/test_openapi_compatibility.py`` compares it: run it when a release may break
callers, or has added something that they may rely on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eta.api.app import create_app
from eta.settings import Settings

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "src" / "eta" / "client"
REFERENCE = ROOT / "tests" / "golden" / "openapi.json"
BIN = Path(sys.executable).parent
TOOLS = ROOT / ".venv-clients"
NODE = [str(TOOLS / "bin" / "node")]
HEADER = '"""{} Written by `make client`: change the API instead."""'
TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
FILES = ("types.py", "client.py", "eta.d.ts")
CODEGEN_OPTIONS = (
    "--input-file-type=openapi --output-model-type=typing.TypedDict "
    "--target-python-version=3.11 --enum-field-as-literal=all --no-use-closed-typed-dict "
    "--use-schema-description --use-field-description --use-single-line-docstring "
    "--disable-timestamp --disable-warnings --formatters=builtin"
)
TYPESCRIPT_OPTIONS = "--default-non-nullable=false --root-types --root-types-no-schema-prefix"
TSC_OPTIONS = (
    "--noEmit --strict --target es2022 --lib es2022,dom --module esnext --moduleResolution bundler"
)
CLIENT_IMPORTS = """\
from eta.client import types
from eta.client.calls import BaseClient, new_key, part
"""


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of this version."""
    return create_app(Settings(models=ROOT / "models", is_demo=True)).openapi()


def python_type(schema: dict[str, Any]) -> str:
    """The type of a parameter or a body."""
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        return " | ".join(python_type(option) for option in options)
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"types.{name}"
    return TYPES[schema["type"]]


@dataclass(frozen=True)
class Content:
    """The media type and schema of a body; no media type without a body."""

    media_type: str | None
    schema: dict[str, Any]

    @classmethod
    def of_body(cls, body: dict[str, Any]) -> Content:
        """The first content that has a schema."""
        for media_type, content in body.get("content", {}).items():
            if "schema" in content:
                return cls(media_type, content["schema"])
        return cls(None, {})


@dataclass(frozen=True)
class Operation:
    """One operation of the document, and the parts of the method that calls it."""

    verb: str
    path: str
    facts: dict[str, Any]

    def parameters(self, place: str) -> list[dict[str, Any]]:
        """The parameters in ``path``, ``query`` or ``header``."""
        parameters = self.facts.get("parameters", [])
        return [parameter for parameter in parameters if parameter["in"] == place]

    @property
    def has_idempotency_key(self) -> bool:
        """Whether requests can have an idempotency key."""
        names = [parameter["name"] for parameter in self.parameters("header")]
        return "Idempotency-Key" in names

    @property
    def contents(self) -> dict[int, Content]:
        """The content of each response, by status."""
        responses = self.facts["responses"].items()
        return {int(status): Content.of_body(response) for status, response in responses}

    @property
    def content(self) -> Content:
        """The content of a successful response."""
        contents = self.contents
        return contents[min(contents)]

    @property
    def statuses(self) -> list[int]:
        """The statuses with which the method returns; it raises for the others."""
        content = self.content
        return [
            status
            for status, other in self.contents.items()
            if status < 300 or (content.media_type and other == content)
        ]

    def signature(self) -> str:
        """The parameters and the type of the method."""
        positional = ["self", *map(typed_name, self.parameters("path"))]
        if "requestBody" in self.facts:
            body = Content.of_body(self.facts["requestBody"])
            positional.append(f"body: {python_type(body.schema)}")
        keywords = [optional_name(parameter) for parameter in self.parameters("query")]
        if self.has_idempotency_key:
            keywords.append("idempotency_key: str | None = None")
        if keywords:
            keywords.insert(0, "*")
        returned = python_type(self.content.schema) if self.content.media_type else "None"
        return f"({', '.join(positional + keywords)}) -> {returned}"

    def request_arguments(self) -> Iterable[str]:
        """The arguments with which the method sends its request."""
        yield f'"{self.verb.upper()}"'
        path = re.sub(r"{(\w+)}", r"{part(\1)}", self.path)
        yield f'f"{path}"' if self.parameters("path") else f'"{path}"'
        if "requestBody" in self.facts:
            yield "body=body"
        if query := [parameter["name"] for parameter in self.parameters("query")]:
            pairs = [f'"{name}": {name}' for name in query]
            yield f"query={{{', '.join(pairs)}}}"
        if self.has_idempotency_key:
            yield "idempotency_key=idempotency_key or new_key()"
        if self.statuses != [200]:
            yield f"statuses={tuple(self.statuses)}"
        if self.content.media_type == "text/plain":
            yield "is_text=True"

    def method(self) -> str:
        """The source of the method."""
        name, description = self.facts["operationId"], self.facts["description"]
        arguments = ", ".join(self.request_arguments())
        call = f"self._request({arguments})"
        if self.content.media_type:
            call = f"return {call}"
        return f'    def {name}{self.signature()}:\n        """{description}"""\n        {call}\n'


def typed_name(parameter: dict[str, Any]) -> str:
    """A parameter with its type."""
    return f"{parameter['name']}: {python_type(parameter['schema'])}"


def optional_name(parameter: dict[str, Any]) -> str:
    """A parameter with its type, and None as its default if it is not required."""
    default = "" if parameter.get("required") else " | None = None"
    return typed_name(parameter) + default


def client_module(document: dict[str, Any]) -> str:
    """The source of a module with a method for every operation."""
    methods = [
        Operation(verb, path, facts).method()
        for path, operations in document["paths"].items()
        for verb, facts in operations.items()
    ]
    header = HEADER.format("One method per operation.")
    body = "\n".join(methods)
    return (
        f"{header}\n\n{CLIENT_IMPORTS}\n\n"
        "class Client(BaseClient):\n"
        f'    """The service, one method per operation."""\n\n{body}'
    )


def run(*command: str | Path) -> None:
    """Runs a tool, and exits with its output if it fails."""
    arguments = list(map(str, command))
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{arguments[0]}: {result.stdout}{result.stderr}")


def generate(folder: Path) -> dict[str, bytes]:
    """The content of every file of the clients."""
    document, source = openapi_document(), folder / "openapi.json"
    source.write_text(dumps(document), encoding="utf-8")
    (folder / "client.py").write_text(client_module(document), encoding="utf-8")
    write_types(source, folder / "types.py")
    ruff = BIN / "ruff"
    lint = "--fix --quiet --ignore=E501 --config=pyproject.toml"
    run(ruff, "check", *lint.split(), folder)
    run(ruff, "format", "--quiet", "--config=pyproject.toml", folder)
    write_typescript(source, folder / "eta.d.ts")
    return {name: (folder / name).read_bytes() for name in FILES}


def write_types(source: Path, target: Path) -> None:
    """Writes a TypedDict for each schema."""
    header = HEADER.format("Bodies of requests and responses, as JSON.")
    run(
        TOOLS / "bin" / "datamodel-codegen",
        *CODEGEN_OPTIONS.split(),
        f"--custom-file-header={header}",
        "--input",
        source,
        "--output",
        target,
    )
    # Final types let checkers tell a result from a problem by `"problem" in result`.
    types = target.read_text(encoding="utf-8")
    types = types.replace("\nclass ", "\n@final\nclass ")
    types = types.replace("from typing import ", "from typing import final, ")
    target.write_text(types, encoding="utf-8")


def write_typescript(source: Path, target: Path) -> None:
    """Writes the types for TypeScript."""
    script = TOOLS / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    run(*NODE, script, source, *TYPESCRIPT_OPTIONS.split(), "--output", target)


def check_examples(folder: Path) -> None:
    """Type-checks the examples in ``docs/api.md`` against the generated files."""
    document = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for language in ("python", "ts"):
        (example,) = re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)
        (folder / f"example.{language}").write_text(example, encoding="utf-8")
    run(BIN / "mypy", "--config-file=pyproject.toml", folder / "example.python")
    tsc = TOOLS / "node_modules" / "typescript" / "bin" / "tsc"
    run(*NODE, tsc, *TSC_OPTIONS.split(), folder / "example.ts")


def write_reference() -> None:
    """Writes the reference copy of the document."""
    text = dumps(openapi_document(), indent=1, sort_keys=True)
    REFERENCE.write_text(text + "\n", encoding="utf-8")


def write_clients(*, is_check: bool) -> None:
    """Writes the clients, or exits with the first file that differs."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in generate(folder).items():
            if not is_check:
                (CLIENT / file).write_bytes(content)
            elif (CLIENT / file).read_bytes() != content:
                sys.exit(f"src/eta/client/{file} is out of date: run `make client` and commit it")
        check_examples(folder)


def main() -> None:
    """Writes or checks, as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = parser.add_mutually_exclusive_group()
    options.add_argument("--check", action="store_true", help="check the clients only")
    options.add_argument("--reference", action="store_true", help="write the reference document")
    arguments = parser.parse_args()
    if arguments.reference:
        write_reference()
    else:
        write_clients(is_check=arguments.check)


if __name__ == "__main__":
    main()

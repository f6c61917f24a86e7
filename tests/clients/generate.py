"""Writes the clients in ``src/eta/client`` from the contract; with ``--check`` only says whether they are the contract's. Then their examples are type-checked.

``make client`` and ``make check`` run it, and set up the generators that it needs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eta.api.app import create_app
from eta.settings import Settings

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "src" / "eta" / "client"
HERE = Path(sys.executable).parent
TOOLS = ROOT / ".venv-clients"
NODE = [str(TOOLS / "bin" / "node")]
HEADER = '"""{} Written by `make client`: change the contract instead."""'
TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def contract() -> dict[str, Any]:
    """The contract of the service as it is here."""
    return create_app(Settings(models=ROOT / "models", is_demo=True)).openapi()


def python_type(schema: dict[str, Any]) -> str:
    """The type of a parameter or a body."""
    if "anyOf" in schema:
        return " | ".join(
            python_type(option) for option in schema["anyOf"] if option.get("type") != "null"
        )
    return (
        f"types.{schema['$ref'].rsplit('/', 1)[1]}" if "$ref" in schema else TYPES[schema["type"]]
    )


def content(facts: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The type and schema of what a body or an answer holds."""
    return next(
        (
            (kind, media_type["schema"])
            for kind, media_type in facts.get("content", {}).items()
            if "schema" in media_type
        ),
        (None, {}),
    )


def method(verb: str, path: str, operation: dict[str, Any]) -> str:
    """The method of one operation."""
    parameters = operation.get("parameters", [])
    path_parameters = [parameter for parameter in parameters if parameter["in"] == "path"]
    query = [parameter for parameter in parameters if parameter["in"] == "query"]
    responses = {
        int(status): content(response) for status, response in operation["responses"].items()
    }
    kind, schema = responses[min(responses)]
    answers = [
        status
        for status, response in responses.items()
        if status < 300 or (kind and response == responses[min(responses)])
    ]
    returned = python_type(schema) if kind else "None"
    signature = [
        "self",
        *(
            f"{parameter['name']}: {python_type(parameter['schema'])}"
            for parameter in path_parameters
        ),
    ]
    request_arguments = [
        f'"{verb.upper()}"',
        re.sub(r"{(\w+)}", r"{part(\1)}", f'f"{path}"' if path_parameters else f'"{path}"'),
    ]
    if "requestBody" in operation:
        signature.append(f"body: {python_type(content(operation['requestBody'])[1])}")
        request_arguments.append("body=body")
    keyword_parameters = [
        f"{parameter['name']}: {python_type(parameter['schema'])}{'' if parameter.get('required') else ' | None = None'}"
        for parameter in query
    ]
    if query:
        request_arguments.append(
            "query={"
            + ", ".join(f'"{parameter["name"]}": {parameter["name"]}' for parameter in query)
            + "}"
        )
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        keyword_parameters.append("idempotency_key: str | None = None")
        request_arguments.append("idempotency_key=idempotency_key or new_key()")
    if answers != [200]:
        request_arguments.append(f"answers={tuple(answers)}")
    if kind == "text/plain":
        request_arguments.append("is_text=True")
    return (
        f"    def {operation['operationId']}({', '.join([*signature, *(['*'] if keyword_parameters else []), *keyword_parameters])}) -> {returned}:\n"
        f'        """{operation["description"]}"""\n        {"return " if kind else ""}self._request({", ".join(request_arguments)})\n'
    )


def client(document: dict[str, Any]) -> str:
    """A module with a method for every operation."""
    methods = [
        method(verb, path, operation)
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
    ]
    head = f"{HEADER.format('One method an operation.')}\n\nfrom eta.client import types\nfrom eta.client.calls import BaseClient, new_key, part\n\n\n"
    return (
        f'{head}class Client(BaseClient):\n    """The service, one method an operation."""\n\n'
        + "\n".join(methods)
    )


def run(*command: str | Path) -> None:
    """Runs a tool that must succeed; what it says is shown if it does not."""
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stdout}{done.stderr}")


def generate(folder: Path) -> dict[str, bytes]:
    """The text of every file that is written."""
    document, source = contract(), folder / "openapi.json"
    source.write_text(dumps(document), encoding="utf-8")
    (folder / "client.py").write_text(client(document), encoding="utf-8")
    options = (
        "--input-file-type=openapi --output-model-type=typing.TypedDict --target-python-version=3.11 --enum-field-as-literal=all --no-use-closed-typed-dict "
        "--use-schema-description --use-field-description --use-single-line-docstring --disable-timestamp --disable-warnings --formatters=builtin"
    )
    header = HEADER.format("What is sent and answered, as JSON.")
    run(
        TOOLS / "bin" / "datamodel-codegen",
        *options.split(),
        f"--custom-file-header={header}",
        "--input",
        source,
        "--output",
        folder / "types.py",
    )
    # Of dicts that nothing extends, checkers tell a result from a refusal by `"problem" in result`.
    types = (
        (folder / "types.py")
        .read_text(encoding="utf-8")
        .replace("\nclass ", "\n@final\nclass ")
        .replace("from typing import ", "from typing import final, ")
    )
    (folder / "types.py").write_text(types, encoding="utf-8")
    run(
        HERE / "ruff",
        "check",
        "--fix",
        "--quiet",
        "--ignore=E501",
        "--config=pyproject.toml",
        folder,
    )
    run(HERE / "ruff", "format", "--quiet", "--config=pyproject.toml", folder)
    options = "--default-non-nullable=false --root-types --root-types-no-schema-prefix"
    run(
        *NODE,
        TOOLS / "node_modules" / "openapi-typescript" / "bin" / "cli.js",
        source,
        *options.split(),
        "--output",
        folder / "eta.d.ts",
    )
    return {name: (folder / name).read_bytes() for name in ("types.py", "client.py", "eta.d.ts")}


def check_examples(folder: Path) -> None:
    """Type-checks the examples of the document against what was written."""
    document = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for language in ("python", "ts"):
        (example,) = re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)
        (folder / f"example.{language}").write_text(example, encoding="utf-8")
    run(HERE / "mypy", "--config-file=pyproject.toml", folder / "example.python")
    options = "--noEmit --strict --target es2022 --lib es2022,dom --module esnext --moduleResolution bundler"
    run(
        *NODE,
        TOOLS / "node_modules" / "typescript" / "bin" / "tsc",
        *options.split(),
        folder / "example.ts",
    )


def main(*, is_check: bool) -> None:
    """Writes, or checks."""
    with TemporaryDirectory() as name:
        written = generate(Path(name))
        for file, text in written.items():
            if not is_check:
                (CLIENT / file).write_bytes(text)
            elif (CLIENT / file).read_bytes() != text:
                sys.exit(
                    f"src/eta/client/{file} is not what the contract gives: run `make client` and commit what it writes"
                )
        check_examples(Path(name))


if __name__ == "__main__":
    main(is_check=sys.argv[1:] == ["--check"])

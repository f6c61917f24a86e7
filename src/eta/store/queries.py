"""SQL files of the store: named queries, and the statements of migrations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(file_name: str) -> Mapping[str, str]:
    """Returns the queries of a file in ``sql/`` by name.

    A line ``-- name: NAME`` begins a query, and a semicolon at the end of a line ends it. Other
    lines that begin with ``--`` are comments.
    """
    _, *parts = _NAME.split(_read(file_name))
    names, texts = parts[::2], parts[1::2]
    queries: dict[str, str] = {}
    for name, text in zip(names, texts, strict=True):
        [statement] = _statements(text)
        if name in queries:
            raise ValueError(f"{file_name} has two queries named {name}; rename one")
        queries[name] = " ".join(statement.split())
    return MappingProxyType(queries)


def load_statements(file_name: str) -> tuple[str, ...]:
    """Returns the statements of a file in ``sql/``, in order."""
    return _statements(_read(file_name))


def _read(file_name: str) -> str:
    return (files("eta.store") / "sql" / file_name).read_text(encoding="utf-8")


def _statements(text: str) -> tuple[str, ...]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    parts = "\n".join([*lines, ""]).split(";\n")
    statements = (part.strip() for part in parts)
    return tuple(statement for statement in statements if statement)

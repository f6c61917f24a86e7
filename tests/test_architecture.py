"""The house holds: imports point downward, and the clock and the environment are read at the edges only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "eta"
FLOORS = [
    {"domain"},
    {"calendars", "curves"},
    {"journey"},
    {"forecast", "promise", "delays", "simulation"},
    {"evaluation"},
    {"store", "registry", "ingest", "notify", "engine"},
    {"service", "settings"},
    {"bootstrap"},
    {"api", "cli", "client"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(set(SRC.rglob("*.py")) - {SRC / "__init__.py"})

#: Calls that answer differently from one moment or machine to the next.
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}
#: Where the world may be looked at.
EDGES = {"api", "cli", "bootstrap"}


def module(path: Path) -> str:
    return str(path.relative_to(SRC))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def rooms_imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("eta."))


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_imports_point_downward(path: Path) -> None:
    here = room_of(path)
    assert here in FLOOR, f"new room {here}: give it a floor"
    wrong = {
        room
        for room in rooms_imported(path)
        if room in FLOOR and room != here and FLOOR[room] >= FLOOR[here]
    }
    assert not wrong, f"{here} must not import {sorted(wrong)}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room_of(path) == "domain"], ids=module
)
def test_the_domain_needs_the_standard_library_alone(path: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {
        "eta",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "math",
        "types",
        "typing",
        "__future__",
    }


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room_of(path) not in EDGES], ids=module
)
def test_the_clock_and_the_environment_are_read_at_the_edges_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            assert not (
                isinstance(node.value, ast.Name)
                and node.value.id == "os"
                and node.attr in {"environ", "getenv"}
            ), f"line {node.lineno}: the environment"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # perf_counter measures how long we took; it never tells what day it is.
            assert node.func.attr not in CLOCKS, (
                f"line {node.lineno}: {node.func.attr}() reads the clock"
            )

"""Imports point downward; the clock and the environment are read at the edges only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "eta"
MODULES = sorted(set(SRC.rglob("*.py")) - {SRC / "__init__.py"})

#: Calls whose result depends on when or where they run.
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}
#: Rooms that may read the clock and the environment.
EDGES = {"api", "cli", "bootstrap"}
#: The modules of a room that are in none of its sub-rooms.
TOP = "(top)"


def table_of_rooms() -> Iterator[tuple[int, str, str]]:
    """Floor, room and order of sub-rooms, from the table in CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for line in re.findall(r"^\| \d+ \|.*$", text, flags=re.MULTILINE):
        floor, room, order, _ = (cell.strip() for cell in line.strip("|").split("|"))
        yield int(floor), room.strip("`"), order


FLOOR = {room: floor for floor, room, _ in table_of_rooms()}
#: By room: the level of each sub-room.
LEVELS = {
    room: {
        name: level
        for level, names in enumerate(order.split("<"))
        for name in re.findall(r"`([^`]+)`", names)
    }
    for _, room, order in table_of_rooms()
    if order
}


def module(path: Path) -> str:
    return str(path.relative_to(SRC))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def sub_room_of(parts: tuple[str, ...]) -> str:
    """The sub-room of a module, given its path below the room."""
    return parts[0] if len(parts) > 1 else TOP


def imports_of(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of ours that a module imports, as paths below the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("eta."):
                yield as_module(tuple(name.split(".")[1:]))


def as_module(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Without the imported name, if it is not a module itself."""
    target = SRC.joinpath(*parts)
    is_module = target.is_dir() or target.with_suffix(".py").exists()
    return parts if is_module or len(parts) == 1 else parts[:-1]


def test_every_room_is_in_the_table_and_no_other() -> None:
    assert {room_of(path) for path in MODULES} == set(FLOOR)


@pytest.mark.parametrize("room", sorted(path.name for path in SRC.iterdir() if path.is_dir()))
def test_every_sub_room_is_in_the_table_and_no_other(room: str) -> None:
    parts = [path.relative_to(SRC / room).parts for path in MODULES if room_of(path) == room]
    found = {sub_room_of(below) for below in parts if below != ("__init__.py",)}
    assert found - {TOP} == set(LEVELS.get(room, {})) - {TOP}


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_imports_point_downward(path: Path) -> None:
    here = room_of(path)
    imported = {parts[0] for parts in imports_of(path)} - {here}
    wrong = {room for room in imported if room in FLOOR and FLOOR[room] >= FLOOR[here]}
    assert not wrong, f"{here} must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in LEVELS], ids=module)
def test_imports_between_sub_rooms_point_downward(path: Path) -> None:
    room = room_of(path)
    levels, here = LEVELS[room], sub_room_of(path.relative_to(SRC / room).parts)
    imported = {sub_room_of((*parts[1:], "")) for parts in imports_of(path) if parts[0] == room}
    imported = {name if name in levels else TOP for name in imported} - {here}
    ordered = here in levels
    wrong = {name for name in imported if ordered and levels.get(name, -1) >= levels[here]}
    assert not wrong, f"{room}/{here} must not import {sorted(wrong)}"


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
        *("eta", "collections", "dataclasses", "datetime"),
        *("enum", "json", "math", "re", "types", "typing", "__future__"),
    }


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room_of(path) not in EDGES], ids=module
)
def test_the_clock_and_the_environment_are_read_at_the_edges(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            is_os = isinstance(node.value, ast.Name) and node.value.id == "os"
            is_environment = is_os and node.attr in {"environ", "getenv"}
            assert not is_environment, f"line {node.lineno}: reads the environment"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # perf_counter measures how long we took; it never tells what day it is.
            assert node.func.attr not in CLOCKS, f"line {node.lineno}: reads the clock"

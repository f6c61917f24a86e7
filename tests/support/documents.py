"""What the documents and the help of commands name: command lines, blocks and times."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer

from eta.cli import app

ROOT = Path(__file__).parents[2]
#: The documents that readers follow.
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAM: Any = typer.main.get_command(app)
#: Words in capitals, which stand for what a reader puts in their place.
PLACEHOLDERS = {
    "DATA": "data",
    "OUT": "out",
    "FILE": "file.sqlite",
    "NAME": "tabular",
    "DAY": "2018-05-15",
    "T": "2018-05-15T08:00:00-03:00",
    "VERSION": "newest",
    "OTHER": "newest",
    "EXTERNAL_ID...": "A-1001",
}


class CommandLine(NamedTuple):
    """A command line of the program, and where it stands."""

    where: str
    text: str

    @property
    def arguments(self) -> list[str]:
        """The words after ``eta``, with values in place of placeholders."""
        words = shlex.split(self.text, comments=True)[1:]
        return [PLACEHOLDERS.get(word, word) for word in words]


def blocks(document: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shell_lines(document: Path) -> list[str]:
    """The lines of shell blocks that start a command."""
    return [line for block in blocks(document, "sh") for line in block.splitlines() if line]


def command_lines() -> list[CommandLine]:
    """All command lines of the program in the documents, those within sentences included."""
    lines = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        found = [line for line in shell_lines(document) if line.startswith("eta ")]
        found += re.findall(r"`(eta [a-z][^`\n]*)`", text)
        lines += [CommandLine(document.name, line) for line in dict.fromkeys(found)]
    return lines


def leaf_commands(command: Any = PROGRAM, path: str = "eta") -> Iterator[tuple[str, Any]]:
    """All commands, by their whole names."""
    for name, part in getattr(command, "commands", {}).items():
        yield from leaf_commands(part, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command


def help_examples() -> dict[str, str]:
    """The example at the end of each command's help, by the name of the command."""
    return {path: command.epilog.removeprefix("Example: ") for path, command in leaf_commands()}


def parse(arguments: list[str]) -> None:
    """Parses a command line as the program does, and runs nothing.

    Raises:
        click.UsageError: if the program would refuse it.
    """
    command, path = PROGRAM, "eta"
    rest = list(arguments)
    while hasattr(command, "commands") and rest:
        path = f"{path} {rest[0]}"
        if rest[0] not in command.commands:
            raise AssertionError(f"there is no command {path}")
        command = command.commands[rest.pop(0)]
    if rest or not arguments:
        command.make_context(path, rest).close()

"""Runs commands of the program, in this process or as the installed command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from eta.cli import main

EXECUTABLE = Path(sys.executable).with_name("eta")


class CommandResult(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def environment(models: Path) -> dict[str, str]:
    """The settings of a command: all files lie beside the registry."""
    return {"ETA_HOME": str(models.parent), "ETA_MODELS": str(models)}


def run(*arguments: object, models: Path, **env: str) -> CommandResult:
    """Runs a command in this process, in the folder that holds the registry."""
    return run_in(models.parent, *arguments, **{**environment(models), **env})


def run_in(folder: Path, *arguments: object, **env: str) -> CommandResult:
    """Runs a command in this process, in a folder and with these settings."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        with pytest.raises(SystemExit) as finished:
            main([str(argument) for argument in arguments])
    return CommandResult(int(finished.value.code or 0), out.getvalue(), err.getvalue())


def run_ok(*arguments: object, models: Path) -> str:
    """Runs a command that must not fail, and returns its output."""
    ran = run(*arguments, models=models)
    assert ran.status == 0, ran.err
    return ran.out


def execute(*arguments: object, models: Path, **env: str) -> CommandResult:
    """Runs the installed command."""
    finished = subprocess.run(
        [EXECUTABLE, *map(str, arguments)],
        env={**os.environ, **environment(models), **env},
        cwd=models.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return CommandResult(finished.returncode, finished.stdout, finished.stderr)

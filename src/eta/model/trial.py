"""Tries a model version in a process of its own before this one opens it.

Whatever a version does there, a crash, endless work or too much memory, it does to that process
alone. Versions that passed are noted, so that each is tried once and not at every start.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic

import numba
import numpy as np

from eta.domain.errors import ModelRefused
from eta.stored_values import TRAIN_AGAIN

#: Seconds of processor time that a trial may take. The first one after an installation compiles.
CPU_SECONDS = 60

#: Seconds after which a trial is ended, whatever it waits for.
TIMEOUT_SECONDS = 180.0

#: Bytes of memory that a trial may take in addition to what the program takes by itself.
MEMORY_BYTES = 2 * 2**30

#: Seconds until a refused version is tried again, which double each time: a crash, or too little
#: time or memory, can be the machine's fault.
_FIRST_WAIT_SECONDS, _LAST_WAIT_SECONDS = 10.0, 3_600.0

#: How much a trial gives way to other processes, and that it is ended first if memory runs out.
_NICENESS, _MOST_EXPENDABLE = 5, "1000"
_OTHERS_MAY_WRITE = 0o022


class PassedVersions:
    """The versions that passed a trial with this program, noted as empty files in a folder.

    The folder belongs beside the compiled functions of the program, where nobody may write who may
    not change the program. If others may write there, nothing is read from it.
    """

    def __init__(self, folder: Path, program: str) -> None:
        """The notes in a folder that need not exist, for a program as ``describe_program``."""
        self._folder = folder
        self._program = program

    def has(self, name: str) -> bool:
        """Whether a version passed."""
        try:
            status = self._folder.lstat()
        except OSError:
            return False
        is_private = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE
        return is_private and self._note(name).is_file()

    def add(self, name: str) -> None:
        """Notes that a version passed, if the folder can be written."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._note(name).touch(mode=0o600)

    def _note(self, name: str) -> Path:
        return self._folder / hashlib.sha256(f"{self._program}\n{name}".encode()).hexdigest()


def describe_program(package: Path) -> str:
    """What a trial depends on beside the version: the files of our package, and the libraries."""
    parts = [sys.version, np.__version__, numba.__version__]
    for path in sorted(package.rglob("*.py")):
        status = path.stat()
        parts.append(f"{path} {status.st_mtime_ns} {status.st_size}")
    return "\n".join(parts)


@dataclass(frozen=True)
class _Refusal:
    """Why a version was refused, until when, and how long that is, in seconds."""

    problem: str
    until: float
    wait: float


class VersionTrial:
    """Tries the versions of a registry and remembers what came of it."""

    def __init__(
        self, folder: Path, command: Sequence[str], passed: PassedVersions | None = None
    ) -> None:
        """The trial of versions in a folder.

        Args:
            folder: the registry.
            command: the program of the trial. It gets the folder and the name of a version, and
                prints a JSON object with the ``problem``, null if there is none.
            passed: where to note versions that passed.
        """
        self._folder, self._command, self._passed = folder, command, passed
        self._refusals: dict[str, _Refusal] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = Lock()

    def check(self, name: str) -> None:
        """Tries a version, if it has not passed, or was not refused a short time ago.

        Raises:
            ModelRefused: if it crashes, takes too long or too much memory, or cannot answer.
        """
        if self._passed is not None and self._passed.has(name):
            return
        before = self._refusals.get(name)
        if before is not None and monotonic() < before.until:
            raise ModelRefused(before.problem)
        problem = self._problem(name)
        if problem is None:
            if self._passed is not None:
                self._passed.add(name)
            return
        wait = min(2 * before.wait, _LAST_WAIT_SECONDS) if before else _FIRST_WAIT_SECONDS
        self._refusals[name] = _Refusal(problem, monotonic() + wait, wait)
        raise ModelRefused(problem)

    def close(self) -> None:
        """Ends a trial in progress, and refuses all that come after."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def _problem(self, name: str) -> str | None:
        """What came of a trial; None if the version passed."""
        trial = f"model version {name} was tried in a process of its own and refused"
        try:
            process = self._start(name)
        except OSError as error:
            return f"{trial}: the process could not be started: {error.strerror}"
        if process is None:
            return f"{trial}: the service is being stopped"
        try:
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"{trial}: it took more than {TIMEOUT_SECONDS:.0f} s; {TRAIN_AGAIN}"
        finally:
            self._process = None
        if process.returncode != 0:
            return f"{trial}: {_ending(process.returncode)}; {TRAIN_AGAIN}"
        return _reported_problem(output)

    def _start(self, name: str) -> subprocess.Popen[bytes] | None:
        """The process of a trial; None if there are to be no more."""
        with self._lock:
            if self._is_closed:
                return None
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [*self._command, str(self._folder), name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            return self._process


def _ending(returncode: int) -> str:
    """How a process ended that reported nothing."""
    if returncode == -signal.SIGXCPU:
        return f"it took more than {CPU_SECONDS} s of processor time"
    if returncode == -signal.SIGKILL:
        return "it was killed, as a process is that takes too much memory"
    if returncode < 0:
        return f"it crashed with {signal.Signals(-returncode).name}"
    return f"it ended with status {returncode}"


def _reported_problem(output: bytes) -> str | None:
    """The problem that a trial reported."""
    try:
        problem: str | None = json.loads(output)["problem"]
    except (ValueError, KeyError, TypeError):
        return f"the trial of a model version ended without a report; {TRAIN_AGAIN}"
    return problem


def report(problem: str | None) -> str:
    """What a trial prints."""
    return json.dumps({"problem": problem})


def limit_this_process() -> None:
    """Limits the time and the memory of this process, which tries a version.

    Where a limit is unknown to the system there is none.
    """
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    with suppress(OSError, ValueError):
        Path("/proc/self/oom_score_adj").write_text(_MOST_EXPENDABLE)
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY_BYTES)


def _limit(kind: int, most: int) -> None:
    """Limits a resource; a lower limit that there is already stays."""
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or soft > most:
        resource.setrlimit(kind, (most, hard))

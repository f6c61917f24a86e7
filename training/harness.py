"""What benchmarks and experiments share: data, models, server processes, progress and the verdict.

A script puts this folder on the path and imports the harness first; the harness adds the helpers
of the tests. Only the harness prints: progress on standard error, results on standard output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, sleep
from typing import Any
from urllib.request import urlopen

from eta import bootstrap
from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.datasets.base import Dataset
from eta.delays import DelayPolicy
from eta.domain.access import Scope
from eta.forecast.base import ArrivalModel
from eta.forecast.hazard.model import HazardModel
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle
from eta.model.registry import Registry
from eta.model.train import train_model
from eta.service.analysis.simulate_data import simulate_data
from eta.simulation.scenario import DEFAULT, Scenario

TRAINING = Path(__file__).resolve().parent
sys.path.insert(0, str(TRAINING.parent / "tests"))

#: The simple models that a new one is compared with.
Rivals = Mapping[str, Callable[[], ArrivalModel]]
#: Seconds that a server process has to become ready.
START_TIMEOUT_SECONDS = 60.0


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of options whose help is the module's docstring, as it is written."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


# Data and models.


def real_data(source: str) -> Path | None:
    """The folder of real data under ``$ETA_DATA``; None if there is none."""
    root = os.environ.get("ETA_DATA")
    if not root:
        return None
    folder = Path(root) / source
    return folder if folder.is_dir() else None


def require_real_data(source: str) -> Path:
    """The folder of real data under ``$ETA_DATA``.

    Raises:
        SystemExit: if there is none.
    """
    folder = real_data(source)
    if folder is None:
        raise SystemExit(f"real data is needed; set ETA_DATA to the folder that contains {source}/")
    return folder


def load_data(source: str, folder: Path) -> tuple[Dataset, Timelines]:
    """A data set in the layout of a source, and its timelines."""
    dataset = bootstrap.SOURCES[source](folder, now=datetime.now(UTC))
    return dataset, Timelines.from_frames(dataset.shipments, dataset.events)


def simulate(
    folder: Path, shipments: int, scenario: Scenario = DEFAULT
) -> tuple[Dataset, Timelines]:
    """Simulated parcels, written into a folder, and their timelines."""
    simulate_data(folder, scenario, shipments=shipments, progress=report_progress)
    return load_data("tabular", folder)


def train(
    timelines: Timelines, folder: Path, as_of: datetime, rivals: Rivals | None = None
) -> ModelBundle:
    """The version that is trained as of a moment, saved in a folder and loaded again."""
    registry = Registry(folder)
    version = train_model(
        timelines,
        registry,
        as_of=as_of,
        source="tabular",
        make=HazardModel,
        rivals=rivals or {},
        policy=DelayPolicy(),
        progress=report_progress,
    )
    return ModelBundle.from_version(registry.load(version), HazardModel, PUBLIC_HOLIDAYS)


# Server processes.


@dataclass(frozen=True)
class Server:
    """A server process that is ready, and the seconds that its start took."""

    port: int
    process: subprocess.Popen[bytes]
    start_seconds: float

    @property
    def address(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"


def api_keys(**tenant_keys: str) -> str:
    """The value of ``ETA_API_KEYS`` for a key of each named tenant, with all scopes."""
    scopes = "+".join(Scope)
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in tenant_keys.items()}
    return ",".join(f"{digest}:{tenant}:{scopes}" for tenant, digest in digests.items())


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def start_server(
    env: Mapping[str, str],
    command: Sequence[str] | None = None,
    *,
    ready_path: str = "/readyz",
    cwd: Path | None = None,
) -> Server:
    """Starts ``eta serve``, or another command that takes ``--port``, and waits until it is ready.

    Raises:
        SystemExit: if it does not become ready in time.
    """
    port = free_port()
    eta = str(Path(sys.executable).with_name("eta"))
    arguments = [*(command or (eta, "serve")), "--port", str(port)]
    started = perf_counter()
    process = subprocess.Popen(  # noqa: S603  # our own command
        arguments, env={**os.environ, **env}, cwd=cwd, stderr=subprocess.DEVNULL
    )
    while perf_counter() - started < START_TIMEOUT_SECONDS and process.poll() is None:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}{ready_path}"):
            return Server(port, process, perf_counter() - started)
        sleep(0.02)
    process.kill()
    raise SystemExit(f"the server did not start: {arguments}")


@contextmanager
def running_server(
    env: Mapping[str, str],
    command: Sequence[str] | None = None,
    *,
    ready_path: str = "/readyz",
    cwd: Path | None = None,
) -> Iterator[Server]:
    """The same, terminated at the end."""
    server = start_server(env, command, ready_path=ready_path, cwd=cwd)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=20)


@contextmanager
def cores_of_their_own(server: int) -> Iterator[bool]:
    """Puts the server on the first core, and this process and its children on the last one.

    Yields whether there are two cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    for task in Path(f"/proc/{server}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores[:1])
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield len(cores) > 1
    finally:
        os.sched_setaffinity(0, cores)


# Output.


def report_progress(what: str, done: int | None = None, total: int | None = None) -> None:
    """Progress on standard error: a counter in place, or a line of its own."""
    if done is None:
        print(what, file=sys.stderr, flush=True)  # noqa: T201  # progress
    else:
        counter = f"\r{done}/{total} {what:60s}"
        print(counter, end="", file=sys.stderr, flush=True)  # noqa: T201  # progress


def print_line(text: str) -> None:
    """A line of a table on standard output."""
    print(text)  # noqa: T201  # the table


def print_figures(**figures: Any) -> None:
    """The figures of a benchmark, or of an experiment without a claim, as the last line."""
    print(json.dumps(figures))  # noqa: T201  # the figures


def print_verdict(proof: str, *, ok: bool, **figures: Any) -> int:
    """Prints ``{"proof": ..., "ok": ...}`` as the last line.

    Returns:
        The exit code: 0 if the claim holds, 1 if not.
    """
    print_figures(proof=proof, ok=ok, **figures)
    return 0 if ok else 1

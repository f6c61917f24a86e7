"""Claim: no damaged version stops the service, however right its digests are.

Versions are damaged at random, and all digests are computed again: indices, shapes, types, numbers,
JSON, manifests, links, pipes, sizes. Each is tried as the service tries it, in a process of its own
with the same limits. It must be refused with a reason that names it, or answer in order. Then a
server starts beside all of them, is told to serve some, and must go on answering, to the byte, from
the version that it serves.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.cli.try_version import problem_of
from eta.files import write_atomically
from eta.model.registry import Registry
from eta.model.trial import limit_this_process, report
from support.damaged_versions import damaged, save_rich_model
from support.model_app import KEY

WITH_KEY = {"X-API-Key": KEY}
REQUEST_BODY = {
    "carriers": [{"carrier_code": "post"}, {"carrier_code": "other"}],
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "8"},
    "order_time": "2026-05-20T11:30:00+02:00",
}
#: Seconds after which a trial counts as hung, and within which a server must have noticed.
HUNG_SECONDS, NOTICED_SECONDS = 120.0, 120.0


@dataclass
class Trials:
    """What became of the damaged versions."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0

    def record(self, kind: str, name: str, problem: str | None, seconds: float) -> None:
        """Counts a version; a problem that does not name it is no reason."""
        self.by_kind[kind.split()[0]] += 1
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        if problem is None:
            self.outcomes["answers"] += 1
        elif problem in ("crashed", "hung"):
            self.outcomes[problem] += 1
            harness.print_line(f"{problem}: {kind} {name}")
        elif name in problem:
            self.outcomes["refused"] += 1
            self.refused.append(name)
        else:
            self.outcomes["unnamed"] += 1
            harness.print_line(f"unnamed: {kind}: {problem}")


def main() -> int:
    """Tries, serves and promotes damaged versions, and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--versions", type=int, default=2_000)
    parser.add_argument("--promotions", type=int, default=60, help="of a running server")
    parser.add_argument("--starts", type=int, default=6, help="and `eta models promote`, each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="100 versions, for development")
    args = parser.parse_args()
    if args.small:
        args.versions, args.promotions, args.starts = 100, 4, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "models"
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        sound = save_rich_model(folder)
        Registry(folder).promote(sound)
        rng = random.Random(args.seed)  # noqa: S311  # the same versions in each run
        trials = try_versions(folder, sound, args.versions, rng)
        chosen = rng.sample(trials.refused, min(args.promotions, len(trials.refused)))
        running = serve_beside(folder, sound, chosen)
        commands, starts = promote_and_start(folder, sound, chosen[: args.starts])
    outcomes = {each: trials.outcomes[each] for each in ("refused", "answers", "crashed", "hung")}
    is_sound = not (trials.outcomes["crashed"] + trials.outcomes["hung"])
    return harness.print_verdict(
        "models",
        ok=is_sound
        and not trials.outcomes["unnamed"]
        and running["unchanged"] == len(chosen) == running["noticed"]
        and commands == starts == len(chosen[: args.starts]),
        versions=args.versions,
        **outcomes,
        unnamed=trials.outcomes["unnamed"],
        kinds=len(trials.by_kind),
        slowest_trial_seconds=round(trials.slowest_seconds, 1),
        server=running,
        promotions_refused=commands,
        starts_with_the_sound_version=starts,
    )


def try_versions(folder: Path, sound: str, count: int, rng: random.Random) -> Trials:
    """Writes damaged versions beside the sound one and tries each."""
    version, trials = Registry(folder).load(sound), Trials()
    # Compiled once, so that each trial starts with what the program has.
    if problem := problem_of(folder, sound):
        raise SystemExit(f"the sound version is refused: {problem}")
    for number in range(count):
        target = damaged(version, rng)
        name = target.write(folder)
        started = perf_counter()
        problem = try_in_process(folder, name)
        trials.record(target.kind, name, problem, perf_counter() - started)
        harness.report_progress("versions tried", number + 1, count)
    return trials


def try_in_process(folder: Path, name: str) -> str | None:
    """The problem of a version, as a process like this one finds it within the limits."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        limit_this_process()
        os.write(writer, report(problem_of(folder, name)).encode()[:4_000])
        os._exit(0)
    os.close(writer)
    is_done, _, _ = select.select([reader], [], [], HUNG_SECONDS)
    if not is_done:
        os.kill(child, signal.SIGKILL)
    content = os.read(reader, 5_000) if is_done else b""
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if not is_done:
        return "hung"
    if status or not content:
        return "crashed"
    problem: str | None = json.loads(content)["problem"]
    return problem


def serve_beside(folder: Path, sound: str, chosen: Sequence[str]) -> dict[str, float]:
    """What a server does beside all damaged versions, and when it is told to serve some."""
    with serving(folder) as (server, client):
        before = answer(client)
        listed = client.get("/v1/models").json()["results"]
        unchanged = noticed = 0
        slowest = 0.0
        for number, name in enumerate(chosen):
            started = perf_counter()
            mark_promoted(folder, [sound, name])
            noticed += notices(client, name)
            slowest = max(slowest, perf_counter() - started)
            unchanged += answer(client) == before and is_served(client, sound)
            harness.report_progress("versions promoted", number + 1, len(chosen))
        mark_promoted(folder, [sound])
        start_seconds = server.start_seconds
    return {
        "start_seconds": round(start_seconds, 1),
        "listed": len(listed),
        "unchanged": unchanged,
        "noticed": noticed,
        "slowest_notice_seconds": round(slowest, 1),
    }


def promote_and_start(folder: Path, sound: str, chosen: Sequence[str]) -> tuple[int, int]:
    """How many promotions the command refused, and how many starts served the sound version.

    A start is of a server whose promoted version is a damaged one beside the sound one alone.
    """
    commands = starts = 0
    for name in chosen:
        eta = str(Path(sys.executable).with_name("eta"))
        arguments = [eta, "models", "promote", name]
        env = {**os.environ, "ETA_MODELS": str(folder)}
        ran = subprocess.run(arguments, env=env, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
        is_refused = ran.returncode == 2 and name in "".join(ran.stderr.split())
        commands += is_refused and Registry(folder).promoted() == sound
        with tempfile.TemporaryDirectory() as alone:
            for each in (sound, name):
                (folder / each).rename(Path(alone) / each)
            mark_promoted(Path(alone), [name])
            with serving(Path(alone)) as (_, client):
                starts += is_served(client, sound) and notices(client, name)
            for each in (sound, name):
                (Path(alone) / each).rename(folder / each)
        harness.report_progress("starts", starts, len(chosen))
    return commands, starts


@contextmanager
def serving(folder: Path) -> Iterator[tuple[harness.Server, httpx2.Client]]:
    """A server process over a registry, and a client of it."""
    env: Mapping[str, str] = {
        "ETA_MODELS": str(folder),
        "ETA_DATABASE_URL": "memory:",
        "ETA_API_KEYS": harness.api_keys(default=KEY),
    }
    with (
        harness.running_server(env) as server,
        httpx2.Client(base_url=server.address, headers=WITH_KEY, timeout=30) as client,
    ):
        yield server, client


def answer(client: httpx2.Client) -> str:
    """The answer to the one question, as it is sent."""
    return client.post("/v1/estimates", json=REQUEST_BODY).raise_for_status().text


def is_served(client: httpx2.Client, name: str) -> bool:
    """Whether a version is the active one."""
    return bool(client.get("/readyz").json()["model_version"] == name)


def notices(client: httpx2.Client, name: str) -> bool:
    """Whether the server soon says why it does not serve the version that it is told to."""
    deadline = perf_counter() + NOTICED_SECONDS
    while perf_counter() < deadline:
        readiness = client.get("/readyz").json()
        is_named = any(name in problem for problem in readiness["details"])
        if readiness["promoted"] == name and is_named:
            return True
        sleep(0.1)
    return False


def mark_promoted(folder: Path, history: list[str]) -> None:
    """Promotes without any check, as somebody does who may write to the registry."""
    write_atomically(folder / "promoted.json", json.dumps({"history": history}).encode())


if __name__ == "__main__":
    sys.exit(main())

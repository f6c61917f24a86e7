"""Claim: our tests fail when the program is wrong.

Bugs of one line (``planted_bugs.toml``) are planted one by one in a copy of the source, and the
test that is named for each must fail. Before, all these tests pass on a copy without a bug.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

EXPERIMENTS = Path(__file__).resolve().parent
ROOT = EXPERIMENTS.parents[1]
#: Exit codes of pytest.
PASSED, FAILED = 0, 1
#: Seconds that a test may take; a bug may make it wait for ever.
TIMEOUT_SECONDS = 300
WORKERS = 2


@dataclass(frozen=True)
class Bug:
    """One line to replace in a file of ``src/eta``, and the test that must notice it."""

    name: str
    kind: str
    file: str
    old: str
    new: str
    test: str


def main() -> int:
    """Plants all bugs and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", default="", help="plant the bugs whose name holds this text")
    args = parser.parse_args()
    began = perf_counter()
    bugs = [bug for bug in read_bugs() if args.only in bug.name]
    for bug in bugs:
        replaced(bug, ROOT / "src")
    with tempfile.TemporaryDirectory() as name:
        passes = try_tests(copy_source(Path(name)), sorted({bug.test for bug in bugs})) == PASSED
    harness.report_progress(f"without a bug the tests {'pass' if passes else 'FAIL'}")
    uncaught = plant_all(bugs)
    for bug in uncaught:
        harness.print_line(f"not caught: {bug.name} ({bug.file}) by {bug.test}")
    return harness.print_verdict(
        "planted",
        ok=passes and not uncaught,
        bugs=len(bugs),
        caught=len(bugs) - len(uncaught),
        kinds=dict(sorted(Counter(bug.kind for bug in bugs).items())),
        tests_pass_without=passes,
        seconds=round(perf_counter() - began, 1),
    )


def read_bugs() -> list[Bug]:
    """The bugs of the list."""
    text = (EXPERIMENTS / "planted_bugs.toml").read_text(encoding="utf-8")
    return [Bug(**entry) for entry in tomllib.loads(text)["bug"]]


def plant_all(bugs: list[Bug]) -> list[Bug]:
    """Plants each bug in a copy of its own; returns those whose test does not fail."""
    uncaught = []
    with ThreadPoolExecutor(WORKERS) as pool:
        running = {pool.submit(is_caught, bug): bug for bug in bugs}
        for done, future in enumerate(as_completed(running), start=1):
            if not future.result():
                uncaught.append(running[future])
            harness.report_progress(running[future].name, done, len(bugs))
    return uncaught


def is_caught(bug: Bug) -> bool:
    """Whether the bug's test fails on a source with the bug."""
    with tempfile.TemporaryDirectory() as name:
        source = copy_source(Path(name))
        plant(bug, source)
        return try_tests(source, [bug.test]) == FAILED


def copy_source(folder: Path) -> Path:
    """A copy of the source, with its compiled functions."""
    return Path(shutil.copytree(ROOT / "src", folder / "src"))


def plant(bug: Bug, source: Path) -> None:
    """Replaces the line in a copy."""
    (source / "eta" / bug.file).write_text(replaced(bug, source), encoding="utf-8")


def replaced(bug: Bug, source: Path) -> str:
    """The text of the file with the bug.

    Raises:
        ValueError: if the file does not hold the line exactly once.
    """
    text = (source / "eta" / bug.file).read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.file} does not hold {bug.old!r} once; correct the list of bugs")
    return text.replace(bug.old, bug.new)


def try_tests(source: Path, tests: list[str]) -> int:
    """The exit code of pytest on a source."""
    path = os.pathsep.join([str(source), str(ROOT / "tests")])
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-o", f"timeout={TIMEOUT_SECONDS}"]
    done = subprocess.run(  # noqa: S603  # our own tests
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

"""A version is tried in a process of its own: whatever it does there, it is refused and no more."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from time import monotonic

import pytest

from eta.domain.errors import ModelRefused
from eta.model import trial
from eta.model.trial import PassedVersions, VersionTrial

NAME = "2026.05.10-0123456789ab"
PASSES = "print('{\"problem\": null}')"


def scripted(folder: Path, script: str, passed: PassedVersions | None = None) -> VersionTrial:
    """A trial by a script of ours; the folder and the name of the version are its arguments."""
    return VersionTrial(folder, (sys.executable, "-I", "-S", "-c", script), passed)


def counting(folder: Path, script: str) -> str:
    """The script, which notes each run in a file."""
    return f"open({str(folder / 'runs')!r}, 'a').write('x')\n{script}"


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text())


def test_a_version_passes_if_the_trial_reports_no_problem(tmp_path: Path) -> None:
    scripted(tmp_path, PASSES).check(NAME)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", "it crashed with SIGSEGV"),
        ("import os; os.abort()", "it crashed with SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "it was killed"),
        ("import os; os.kill(os.getpid(), 24)", "s of processor time"),
        ("raise SystemExit(3)", "it ended with status 3"),
        ("import ctypes; ctypes.string_at(0)", "it crashed with SIGSEGV"),
        ("", "without a report"),
        ("print('[]')", "without a report"),
        ("print('{')", "without a report"),
        ('print(\'{"problem": "its arrays are wrong"}\')', "its arrays are wrong"),
    ],
)
def test_a_version_is_refused_with_a_reason(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(ModelRefused, match=reason):
        scripted(tmp_path, script).check(NAME)


def test_a_trial_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TIMEOUT_SECONDS", 0.3)
    started = monotonic()
    with pytest.raises(ModelRefused, match="took more than"):
        scripted(tmp_path, "import time; time.sleep(60)").check(NAME)
    assert monotonic() - started < 10


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("while True: pass", "of processor time"),
        ("import os\nx = bytearray(3 * 2**30)", "status 1"),
    ],
)
def test_time_and_memory_are_limited(tmp_path: Path, script: str, reason: str) -> None:
    source = str(Path(trial.__file__).parents[2])
    limited = f"import sys\nsys.path.insert(0, {source!r})\nfrom eta.model import trial\n"
    limited += f"trial.CPU_SECONDS = 1\ntrial.limit_this_process()\n{script}"
    with pytest.raises(ModelRefused, match=reason):
        VersionTrial(tmp_path, (sys.executable, "-c", limited)).check(NAME)


def test_lower_limits_of_the_machine_stay(tmp_path: Path) -> None:
    source = str(Path(trial.__file__).parents[2])
    script = f"""
import resource, sys
sys.path.insert(0, {source!r})
from eta.model import trial
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
trial.limit_this_process()
assert resource.getrlimit(resource.RLIMIT_CPU) == (30, 30)
{PASSES}
"""
    VersionTrial(tmp_path, (sys.executable, "-c", script)).check(NAME)


def test_a_program_that_cannot_start_refuses_the_version(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="could not be started: No such file"):
        VersionTrial(tmp_path, (str(tmp_path / "nothing"),)).check(NAME)


def test_a_refused_version_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = scripted(tmp_path, counting(tmp_path, "raise SystemExit(1)"))
    for _ in range(3):
        with pytest.raises(ModelRefused, match="status 1"):
            tried.check(NAME)
    assert runs(tmp_path) == 1
    later = monotonic() + 11
    monkeypatch.setattr(trial, "monotonic", lambda: later)
    for _ in range(2):
        with pytest.raises(ModelRefused):
            tried.check(NAME)
    assert runs(tmp_path) == 2


def test_a_version_that_passed_is_tried_once(tmp_path: Path) -> None:
    passed = PassedVersions(tmp_path / "passed", "program 1")
    for _ in range(2):
        scripted(tmp_path, counting(tmp_path, PASSES), passed).check(NAME)
    assert runs(tmp_path) == 1
    # Another program, and another version, are tried.
    others = PassedVersions(tmp_path / "passed", "program 2")
    scripted(tmp_path, counting(tmp_path, PASSES), others).check(NAME)
    scripted(tmp_path, counting(tmp_path, PASSES), passed).check("2026.05.10-ffffffffffff")
    assert runs(tmp_path) == 3


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_notes_that_others_may_write_count_for_nothing(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "passed"
    passed = PassedVersions(folder, "program")
    passed.add(NAME)
    assert passed.has(NAME)
    folder.chmod(mode)
    assert not passed.has(NAME)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "passed").write_text("a file")
    passed = PassedVersions(tmp_path / "passed", "program")
    passed.add(NAME)
    assert not passed.has(NAME)


def test_a_trial_in_progress_ends_when_the_service_stops(tmp_path: Path) -> None:
    tried = scripted(tmp_path, counting(tmp_path, "import time; time.sleep(60)"))
    reasons: list[str] = []

    def check() -> None:
        try:
            tried.check(NAME)
        except ModelRefused as error:
            reasons.append(str(error))

    thread = threading.Thread(target=check)
    thread.start()
    while not (tmp_path / "runs").exists():
        threading.Event().wait(0.01)
    tried.close()
    thread.join(timeout=10)
    assert "it was killed" in reasons[0]
    with pytest.raises(ModelRefused, match="being stopped"):
        tried.check("2026.05.10-ffffffffffff")

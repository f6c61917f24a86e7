"""What cannot become active is among the problems, with the command that fixes it."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eta import bootstrap
from eta.model.fallback import FALLBACK_FILE
from eta.model.hot_swap import ActiveModel
from eta.model.registry import FORMAT, MANIFEST, Registry
from eta.settings import Settings

THROUGH = datetime(2026, 5, 1, tzinfo=UTC)
COMMAND = "train again with `eta train DATA`"


def refreshed(folder: Path) -> ActiveModel:
    loader = bootstrap.model_loader(Settings(models=folder), lambda _: None)
    loader.refresh()
    return loader.current


def old_version(folder: Path) -> str:
    """Writes a sound version in the format before ours."""
    registry = Registry(folder)
    saved = folder / registry.save({"data": {"source": "test"}}, {}, THROUGH)
    manifest = json.loads((saved / MANIFEST).read_bytes())
    content = json.dumps({**manifest, "format": FORMAT - 1}).encode()
    name = f"2026.05.01-{hashlib.sha256(content).hexdigest()[:12]}"
    (saved / MANIFEST).write_bytes(content)
    saved.rename(folder / name)
    return name


@pytest.mark.parametrize("is_promoted", [False, True])
def test_a_version_of_an_older_format_is_a_problem(tmp_path: Path, is_promoted: bool) -> None:
    name = old_version(tmp_path)
    if is_promoted:
        (tmp_path / "promoted.json").write_text(json.dumps({"history": [name]}))
    current = refreshed(tmp_path)
    assert current.is_degraded
    assert current.problems == (
        f"model version {name}: format {FORMAT - 1} is not ours: this program reads format "
        f"{FORMAT}; {COMMAND}",
    )


def test_a_fallback_of_an_older_format_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / FALLBACK_FILE
    Registry(tmp_path).save_sidecar(FALLBACK_FILE, {})
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    current = refreshed(tmp_path)
    assert current.fallback is None
    assert current.problems[1] == (
        f"{path}: format 1 is not ours: this program reads format 2; {COMMAND}"
    )


def test_a_fallback_under_its_old_name_is_a_problem_until_replaced(tmp_path: Path) -> None:
    old = tmp_path / "lane_medians.json"
    old.write_text("{}")
    (_, problem) = refreshed(tmp_path).problems
    assert str(old) in problem
    assert COMMAND in problem
    assert FALLBACK_FILE in problem
    (tmp_path / FALLBACK_FILE).write_text("{}")
    assert not any(str(old) in problem for problem in refreshed(tmp_path).problems)

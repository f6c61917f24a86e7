"""The list of bugs that an experiment plants fits the source and the tests."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIST = ROOT / "training" / "experiments" / "planted_bugs.toml"
BUGS = tomllib.loads(LIST.read_text(encoding="utf-8"))["bug"]


def test_there_are_many_bugs_of_many_kinds() -> None:
    assert len(BUGS) >= 25
    assert len({bug["kind"] for bug in BUGS}) >= 8


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug["name"])
def test_a_bug_changes_one_line_and_its_test_exists(bug: Mapping[str, str]) -> None:
    source = (ROOT / "src" / "eta" / bug["file"]).read_text(encoding="utf-8")
    assert source.count(bug["old"]) == 1
    assert bug["old"] != bug["new"]
    file, name = bug["test"].split("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)

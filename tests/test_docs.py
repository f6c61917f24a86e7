"""The reference documents agree with the code: commands, settings, columns, codes, defaults."""

import ast
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from eta import bootstrap, settings
from eta.cli import app
from eta.datasets.base import QUARANTINE_COLUMNS
from eta.delays import DelayPolicy
from eta.domain import vocabulary
from eta.domain.vocabulary import (
    PHASE_OF,
    STATUS_OF,
    DelayState,
    EventCode,
    Phase,
    ReasonCode,
    ReasonParty,
    Status,
    TimezoneSource,
)
from eta.evaluation import coverage, summary
from eta.evaluation import oracle_comparison as truth_check
from eta.evaluation.metrics import PINBALL_LEVELS
from eta.forecast.hazard.model import HazardModel
from eta.forecast.support import SUPPORT_LEVELS
from eta.journey.snapshots import MOMENTS
from eta.quality.findings import QualityThresholds
from eta.service.analysis import backtest as backtest_models
from eta.service.scoring import score_dataset as score_parcels

ROOT = Path(__file__).parents[1]
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "model": HazardModel().get_params(),
    "delays": asdict(DelayPolicy()),
    "quality": asdict(QualityThresholds()),
}
ROLES: Mapping[str, Collection[EventCode]] = {
    "hand-over": vocabulary.HANDOVER_CODES,
    "facility": vocabulary.FACILITY_CODES,
    "arrival": vocabulary.ARRIVAL_CODES,
    "final": vocabulary.FINAL_CODES,
    "abandoned": vocabulary.ABANDONED_CODES,
    "exception": vocabulary.EXCEPTION_CODES,
}


def sections(document: str) -> dict[str, str]:
    """The text under each heading, without that of lower headings."""
    _, *parts = re.split(
        r"^#+ (.+)$", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {
        heading.replace("`", ""): text
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


GLOSSARY, COMMANDS, DEPENDENCIES = (
    sections(f"docs/{name}.md") for name in ("glossary", "commands", "dependencies")
)


def rows(section: str) -> list[list[str]]:
    """The cells, without backticks, of table rows that start with a code."""
    return [
        [cell.strip(" `") for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]


def first_cells(section: str) -> list[str]:
    return [cells[0] for cells in rows(section)]


def codes(section: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", section))


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, part in getattr(command, "commands", {}).items():
        yield from commands(part, f"{path} {name}")


def strings(nodes: Iterable[ast.expr | None]) -> set[str]:
    """The constant strings among expressions."""
    values = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {value for value in values if isinstance(value, str)}


def keys(module: ModuleType) -> set[str]:
    """The columns and figures that a module spells out.

    They are keys of dicts, ``x["key"] = ...``, ``for key in ("a", "b"): x[key] = ...``, and
    tuples that are called keys.
    """
    nodes = list(ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))))
    assigned = [
        node.slice
        for node in nodes
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    ]
    names = {node.id for node in assigned if isinstance(node, ast.Name)}
    found = strings(assigned)
    for node in nodes:
        if isinstance(node, ast.Dict):
            found |= strings(node.keys)
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            is_key = isinstance(node.target, ast.Name) and node.target.id in names
            found |= strings(node.iter.elts) if is_key else set()
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            target = node.targets[0]
            is_keys = isinstance(target, ast.Name) and target.id.endswith("_KEYS")
            found |= strings(node.value.elts) if is_keys else set()
    return found


@pytest.mark.parametrize(
    ("path", "command"),
    [pytest.param(*case, id=case[0]) for case in commands(typer.main.get_command(app), "eta")],
)
def test_every_command_and_option_is_documented_and_no_other(path: str, command: Any) -> None:
    options = {
        name for parameter in command.params for name in parameter.opts if name.startswith("--")
    }
    assert {
        cell.split()[0] for cell in first_cells(COMMANDS[path]) if cell.startswith("--")
    } == options


def test_every_name_in_the_environment_is_documented_and_no_other() -> None:
    assert set(first_cells(COMMANDS["Environment"])) == set(settings.SETTING_DESCRIPTIONS)


def test_every_column_of_a_score_is_documented_and_no_other() -> None:
    assert set(first_cells(COMMANDS["Columns of a score"])) == keys(score_parcels)


def test_every_figure_of_a_backtest_is_documented() -> None:
    documented = {
        code
        for heading in ("Figures of a backtest", "Ranges that do not hold", "Against the truth")
        for code in codes(COMMANDS[heading])
    }
    of_ranges = {
        f"{figure}_{coverage_range.name}"
        for figure in ("coverage_censored", "low", "high", "holds")
        for coverage_range in coverage.RANGES
    }
    of_levels = {f"pinball_{level * 100:.0f}_days" for level in PINBALL_LEVELS}
    written = keys(summary) | keys(backtest_models) | keys(coverage) | keys(truth_check)
    # Columns of the evaluation that are no figures.
    written = {name for name in written if not name.startswith("held_")}
    assert written | of_ranges | of_levels | {*MOMENTS, *summary.SEGMENTS} <= documented


def test_every_model_and_source_is_documented_and_no_other() -> None:
    assert set(first_cells(COMMANDS["Models to compare"])) == set(bootstrap.models({}))
    assert {
        heading.removeprefix("Source ") for heading in COMMANDS if heading.startswith("Source ")
    } == set(bootstrap.SOURCES)


def test_the_columns_of_the_quarantine_are_documented() -> None:
    assert (
        tuple(first_cells(COMMANDS["Quarantine"])[: len(QUARANTINE_COLUMNS)]) == QUARANTINE_COLUMNS
    )


@pytest.mark.parametrize("section", DEFAULTS)
def test_every_setting_is_documented_with_its_default(section: str) -> None:
    documented = {cells[0]: cells[1] for cells in rows(COMMANDS[f"Section [{section}]"])}
    assert documented == {name: json.dumps(value) for name, value in DEFAULTS[section].items()}


def test_the_example_configuration_holds_exactly_the_defaults() -> None:
    assert tomllib.loads((ROOT / "training" / "train.toml").read_text(encoding="utf-8")) == DEFAULTS


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Status", Status),
        ("Phases", Phase),
        ("Reason codes", ReasonCode),
        ("Reason parties", ReasonParty),
        ("Delay states", DelayState),
        ("Time zone sources", TimezoneSource),
    ],
)
def test_every_word_of_the_vocabulary_is_in_the_glossary_and_no_other(
    heading: str, words: type[StrEnum]
) -> None:
    assert sorted(first_cells(GLOSSARY[heading])) == sorted(words)


def test_the_glossary_says_what_each_event_code_sets_and_counts_as() -> None:
    expected = [
        [
            code,
            STATUS_OF.get(code, "-"),
            PHASE_OF.get(code, "-"),
            ", ".join(role for role, members in ROLES.items() if code in members) or "-",
        ]
        for code in EventCode
    ]
    assert rows(GLOSSARY["Event codes"]) == expected


def test_the_glossary_lists_the_moments_and_the_support_ladder() -> None:
    assert first_cells(GLOSSARY["Moments"]) == [*MOMENTS, summary.IN_FLIGHT_UNION]
    assert tuple(first_cells(GLOSSARY["Support levels"])) == SUPPORT_LEVELS


def test_every_dependency_is_explained_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    optional = [
        requirement
        for extra in project["project"]["optional-dependencies"].values()
        for requirement in extra
    ]
    of_node = json.loads((ROOT / "tests" / "clients" / "package.json").read_text(encoding="utf-8"))[
        "devDependencies"
    ]
    wanted = {
        "Runtime": [*project["project"]["dependencies"], *optional],
        "Development": groups["dev"],
        "Clients": [*groups["clients"], *of_node],
        "Peers": groups["peers"],
    }
    for heading, requirements in wanted.items():
        names = {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
        assert set(first_cells(DEPENDENCIES[heading])) == names

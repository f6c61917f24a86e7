"""Configuration files: training settings and the promise policy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import ValidationError

from eta.configuration import (
    ModelSection,
    TrainingConfiguration,
    read_promise_policy,
    read_training_configuration,
)
from eta.delays import DelayPolicy
from eta.domain.errors import InvalidSetting
from eta.forecast.hazard.model import HazardModel
from eta.promise import PromiseCosts, PromisePolicy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_training_file_defaults_are_those_of_the_model_and_the_delays() -> None:
    configuration = TrainingConfiguration.from_toml("")
    assert configuration.model.model_dump() == HazardModel().get_params()
    assert asdict(configuration.delay_policy) == asdict(DelayPolicy())


def test_training_file_changes_the_values_it_names(file: Path) -> None:
    file.write_text("[model]\ntrees = 7\nridge = 3\n[delays]\nrisk_at = 0.2\n", encoding="utf-8")
    parameters, policy = read_training_configuration("--config", str(file))
    assert parameters == {**HazardModel().get_params(), "trees": 7, "ridge": 3.0}
    assert policy == DelayPolicy(risk_at=0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = 3", "[model] must be a section; write [model] on a line above its settings"),
        ("[model.deep]\na = 1", "[deep] of [model] is unknown; check the spelling or remove it; "),
        ("[model]\nuses_promise = 1", "uses_promise of [model] must be true or false"),
        ("[model]\ncap = 1" + "0" * 400, "cap of [model] must be a number, such as 0.5"),
        ("[model]\nfollows_drift = true", "follows_drift of [model] is now tracks_drift; rename"),
        ('"a\\nb" = 1', "'a\\nb' is unknown; check the spelling or remove it; "),
        (
            "[delays]\nsilence_level = 0.2",
            "[delays] silence_level: 0.2 ",
        ),
    ],
)
def test_wrong_training_file_is_one_line_with_file_field_and_fix(
    text: str, message: str, file: Path
) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSetting) as error:
        read_training_configuration("--config", str(file))
    assert str(error.value).startswith(f"--config names {file}: {message}")
    assert "\n" not in str(error.value)


def test_configuration_is_frozen_and_refuses_other_fields() -> None:
    section = ModelSection()
    with pytest.raises(ValidationError):
        section.trees = 3
    with pytest.raises(ValidationError):
        ModelSection.model_validate({"tres": 3})


def test_promise_policy_file_is_read(file: Path) -> None:
    file.write_text(
        'version = "2026-11"\non_time_rate = 0.95\n[bounds]\nearliest_days = 1\nlatest_days = 30\n',
        encoding="utf-8",
    )
    assert read_promise_policy("--policy", str(file)) == PromisePolicy(
        version="2026-11", on_time_rate=0.95, earliest_days=1, latest_days=30
    )
    file.write_text('version = "1"\n[costs]\nlate = 10\nday = 0.5\n', encoding="utf-8")
    costs = read_promise_policy("--policy", str(file)).costs
    assert costs == PromiseCosts(late=10.0, day=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("on_time_rate = 0.9", 'version is missing; add it, such as version = "2026-11"'),
        ('version = ""\non_time_rate = 0.9', "version must be a text of 1 to 64 characters"),
        ("version = 1\non_time_rate = 0.9", "version must be a text of 1 to 64 characters"),
        ('version = "1"', "both on_time_rate and costs, or neither"),
        (
            'version = "1"\non_time_rate = 0.9\n[costs]\nlate = 1',
            "both on_time_rate and costs, or neither",
        ),
        ('version = "1"\non_time_rate = 1.5', "0.5 to 0.99"),
        ('version = "1"\non_time_rate = nan', "0.5 to 0.99"),
        ('version = "1"\non_time_rate = "high"', "on_time_rate must be a number, such as 0.9"),
        (
            'version = "1"\nrate = 0.9',
            "rate is unknown; check the spelling or remove it;"
            " allowed are version, on_time_rate, [bounds], [costs]",
        ),
        ('version = "1"\n[costs]\nday = 1', "late or late_day above 0"),
        ('version = "1"\n[costs]\nlate = -1', "out of range"),
        ('version = "1"\n[costs]\nlate = inf', "out of range"),
        (
            'version = "1"\non_time_rate = 0.9\n[bounds]\nearliest_days = 9\nlatest_days = 3',
            "earliest_days <= latest_days",
        ),
        (
            'version = "1"\non_time_rate = 0.9\n[bounds]\nlatest_days = 2.5',
            "latest_days of [bounds] must be a whole number, such as 30",
        ),
        (
            'version = "1"\non_time_rate = 0.9\n[bounds]\nearliest_days = true',
            "earliest_days of [bounds] must be a whole number",
        ),
        ('version = "1"\non_time_rate = 0.9\nbounds = 3', "[bounds] must be a section"),
        ("version = ", "it is not TOML"),
    ],
)
def test_wrong_policy_file_is_one_line_with_file_field_and_fix(
    text: str, message: str, file: Path
) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSetting) as error:
        read_promise_policy("--policy", str(file))
    assert str(error.value).startswith(f"--policy names {file}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)

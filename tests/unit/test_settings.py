from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.domain.errors import InvalidSetting
from eta.settings import SETTING_DESCRIPTIONS, Settings


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"ETA_MODELS": ""},
        {
            "ETA_DATA": "/data",
            "HOME": "/root",
            "META_MODELS": "elsewhere",
            "eta_models": "elsewhere",
        },
    ],
)
def test_registry_and_database_have_defaults(
    env: dict[str, str],
) -> None:
    assert Settings.from_env(env) == Settings(
        models=Path("models"), database_url="sqlite:eta.sqlite"
    )


def test_environment_sets_the_registry_folder() -> None:
    assert Settings.from_env({"ETA_MODELS": "/srv/models"}).models == Path("/srv/models")


@pytest.mark.parametrize("name", ["ETA_MODLES", "ETA_", "ETA_models"])
def test_misspelt_name_is_rejected_with_the_known_names(name: str) -> None:
    with pytest.raises(
        InvalidSetting, match=f"{name} is unknown; .* allowed are {', '.join(SETTING_DESCRIPTIONS)}"
    ):
        Settings.from_env({"ETA_MODELS": "models", name: "x"})


def test_former_name_is_rejected_with_the_new_one() -> None:
    with pytest.raises(
        InvalidSetting, match=r"^ETA_KEEP_DAYS is now ETA_RETENTION_DAYS; rename it$"
    ):
        Settings.from_env({"ETA_KEEP_DAYS": "30"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ETA_RETENTION_DAYS", "0", "ETA_RETENTION_DAYS is not a number of days; "),
        ("ETA_RETENTION_DAYS", "1.5", "ETA_RETENTION_DAYS is not a number of days; "),
        ("ETA_RETENTION_DAYS", "36501", "ETA_RETENTION_DAYS is not a number of days; "),
        ("ETA_MAX_MODEL_AGE_DAYS", "0", "ETA_MAX_MODEL_AGE_DAYS is not a number of days; "),
        ("ETA_MAX_MODEL_AGE_DAYS", "-60", "ETA_MAX_MODEL_AGE_DAYS is not a number of days; "),
        ("ETA_MAX_MODEL_AGE_DAYS", "two", "ETA_MAX_MODEL_AGE_DAYS is not a number of days; "),
        ("ETA_RATE_LIMIT", "0/second", "ETA_RATE_LIMIT is not a rate; "),
        ("ETA_RATE_LIMIT", "1/week", "ETA_RATE_LIMIT is not a rate; "),
        ("ETA_DEMO", "yes", "ETA_DEMO must be 0 or 1"),
        ("ETA_API_KEYS", "secret", "ETA_API_KEYS holds an entry without a SHA-256 digest; "),
        (
            "ETA_API_KEYS",
            f"{'0' * 64}::read,{'0' * 64}::read",
            "ETA_API_KEYS holds a key twice; ",
        ),
        ("ETA_API_KEYS", f"{'0' * 64}:shop:all", "ETA_API_KEYS names the scope 'all'; "),
    ],
)
def test_invalid_value_is_rejected_with_its_name(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        Settings.from_env({name: text})
    assert str(error.value).startswith(message)


def test_settings_are_frozen_and_refuse_other_fields() -> None:
    settings = Settings.from_env({})
    with pytest.raises(ValidationError):
        settings.rate_limit = "1/day"
    with pytest.raises(ValidationError):
        Settings.model_validate({"models": "models", "model": "models"})


def test_environment_sets_the_calendar_file(tmp_path: Path) -> None:
    file = tmp_path / "calendar.toml"
    file.write_text(
        'version = "2026-11"\n[[places]]\ncountry = "AT"\nclosed = [2026-11-16]\n', encoding="utf-8"
    )
    holidays = Settings.from_env({"ETA_CALENDAR": str(file)}).holidays
    assert holidays.version == "2026-11"
    assert np.datetime64("2026-11-16") in holidays.dates("AT", "9", 2026, 2026)
    assert Settings.from_env({"ETA_CALENDAR": ""}).holidays == PUBLIC_HOLIDAYS


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory; name a TOML file that can be read"),
        (
            b"version = 1",
            "the calendar has no version; write one of 1 to 64 characters,"
            ' such as version = "2026-11"',
        ),
        (b"version = ", "the calendar is not valid TOML: Invalid value (at end of document)"),
        (b"\xff", "it is not text; write it in UTF-8"),
    ],
)
def test_invalid_calendar_file_is_rejected_in_one_line_with_its_name(
    content: bytes | None, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "calendar.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSetting) as error:
        Settings.from_env({"ETA_CALENDAR": str(file)})
    assert str(error.value) == f"ETA_CALENDAR names {file}: {problem}"


def test_folder_is_rejected_as_calendar_file(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidSetting,
        match=r"^ETA_CALENDAR names .*: Is a directory; name a TOML file that can be read$",
    ):
        Settings.from_env({"ETA_CALENDAR": str(tmp_path)})


def test_the_maximum_age_of_a_model_is_60_days_unless_set() -> None:
    assert Settings.from_env({}).max_model_age_days == 60
    assert Settings.from_env({"ETA_MAX_MODEL_AGE_DAYS": "400"}).max_model_age_days == 400

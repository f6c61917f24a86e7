from pathlib import Path

import numpy as np
import pytest

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
def test_the_registry_is_in_the_folder_models_unless_the_environment_says_otherwise(
    env: dict[str, str],
) -> None:
    assert Settings.from_env(env) == Settings(
        models=Path("models"), database_url="sqlite:eta.sqlite"
    )


def test_the_environment_names_the_folder_of_the_registry() -> None:
    assert Settings.from_env({"ETA_MODELS": "/srv/models"}).models == Path("/srv/models")


@pytest.mark.parametrize("name", ["ETA_MODLES", "ETA_", "ETA_models"])
def test_a_misspelt_name_is_refused_and_the_right_ones_are_named(name: str) -> None:
    with pytest.raises(
        InvalidSetting, match=f"{name} is no setting; there are {', '.join(SETTING_DESCRIPTIONS)}"
    ):
        Settings.from_env({"ETA_MODELS": "models", name: "x"})


def test_the_environment_names_the_calendar_file(tmp_path: Path) -> None:
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
            'the calendar has no version; write one of 1 to 64 characters, such as version = "2026-11"',
        ),
        (b"version = ", "the calendar is no TOML: Invalid value (at end of document)"),
        (b"\xff", "it is no text; write it in UTF-8"),
    ],
)
def test_a_calendar_file_that_cannot_be_used_is_refused_in_one_line_that_names_it(
    content: bytes | None, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "calendar.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({"ETA_CALENDAR": str(file)})
    assert str(refused.value) == f"ETA_CALENDAR names {file}: {problem}"


def test_a_folder_is_no_calendar_file(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidSetting,
        match=r"^ETA_CALENDAR names .*: Is a directory; name a TOML file that can be read$",
    ):
        Settings.from_env({"ETA_CALENDAR": str(tmp_path)})

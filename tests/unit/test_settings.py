from pathlib import Path

import pytest

from eta.domain.errors import InvalidSetting
from eta.settings import NAMES, Settings


@pytest.mark.parametrize("env", [{}, {"ETA_MODELS": ""}, {"ETA_DATA": "/data", "HOME": "/root", "META_MODELS": "elsewhere", "eta_models": "elsewhere"}])
def test_the_registry_is_in_the_folder_models_unless_the_environment_says_otherwise(env: dict[str, str]) -> None:
    assert Settings.from_env(env) == Settings(models=Path("models"), database_url="sqlite:eta.sqlite")


def test_the_environment_names_the_folder_of_the_registry() -> None:
    assert Settings.from_env({"ETA_MODELS": "/srv/models"}).models == Path("/srv/models")


@pytest.mark.parametrize("name", ["ETA_MODLES", "ETA_", "ETA_models"])
def test_a_misspelt_name_is_refused_and_the_right_ones_are_named(name: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{name} is no setting; there are {', '.join(NAMES)}"):
        Settings.from_env({"ETA_MODELS": "models", name: "x"})

"""Settings, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eta.domain.errors import InvalidSetting

#: Every name of ours that the environment may hold, with what it means.
NAMES: Mapping[str, str] = {
    "ETA_MODELS": "folder of the model registry (default: models)",
    "ETA_DATA": "folder of real data sets; read by tests and examples, never by the program itself",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment decides."""

    models: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Settings of an environment.

        Raises:
            InvalidSetting: for a name that starts with ``ETA_`` and is none of ours, so that no misspelling is silent.
        """
        unknown = sorted(name for name in env if name.startswith("ETA_") and name not in NAMES)
        if unknown:
            raise InvalidSetting(f"{unknown[0]} is no setting; there are {', '.join(NAMES)}")
        return cls(models=Path(env.get("ETA_MODELS") or "models"))

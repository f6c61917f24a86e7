"""The configuration files that people write: training settings and the promise policy."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from eta.delays import DelayPolicy
from eta.domain.errors import FileRejected, InvalidSetting, InvalidValue
from eta.files import read_regular
from eta.forecast.hazard.model import HazardModel
from eta.promise import PromiseCosts, PromisePolicy
from eta.quality.findings import QualityThresholds

#: Former names of settings and what they are called now, in the environment and in files.
#: Delete this table at the first release.
RENAMED_SETTINGS: Mapping[str, str] = {
    "ETA_KEEP_DAYS": "ETA_RETENTION_DAYS",
    "follows_drift": "tracks_drift",
    "keeps_censored": "includes_censored",
}

#: What a value must be, by the type of pydantic's error.
_EXPECTED: Mapping[str, str] = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a section",
    "string_too_long": "a text of 1 to 64 characters",
    "string_too_short": "a text of 1 to 64 characters",
    "string_type": "a text of 1 to 64 characters",
}

_PARAMETERS = HazardModel().get_params()

#: Size of the largest file of settings.
_MAX_BYTES = 1 << 20
T = TypeVar("T")


class Section(BaseModel):
    """A file or a section of it; refuses unknown names and converts nothing but 1 to 1.0."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The values of a TOML file.

        Raises:
            InvalidSetting: if it is not TOML, or if a value is unknown, missing or of another type.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise InvalidSetting(f"it is not TOML: {error}") from None
        except ValidationError as error:
            raise InvalidSetting(_problem(cls, error)) from None


class ModelSection(Section):
    """The section ``[model]``: parameters of ``eta``."""

    trees: int = _PARAMETERS["trees"]
    structure_rate: float = _PARAMETERS["structure_rate"]
    leaves: int = _PARAMETERS["leaves"]
    leaf_rows: int = _PARAMETERS["leaf_rows"]
    leaf_rate: float = _PARAMETERS["leaf_rate"]
    ridge: float = _PARAMETERS["ridge"]
    cap: float = _PARAMETERS["cap"]
    smoothing_bins: float = _PARAMETERS["smoothing_bins"]
    label_prior: float = _PARAMETERS["label_prior"]
    uses_promise: bool = _PARAMETERS["uses_promise"]
    tracks_drift: bool = _PARAMETERS["tracks_drift"]
    includes_censored: bool = _PARAMETERS["includes_censored"]
    seed: int = _PARAMETERS["seed"]


class DelaysSection(Section):
    """The section ``[delays]``: when a delay flag is raised and withdrawn."""

    raise_at: float = DelayPolicy.raise_at
    clear_at: float = DelayPolicy.clear_at
    risk_at: float = DelayPolicy.risk_at
    stalled_at: float = DelayPolicy.stalled_at
    silence_level: float = DelayPolicy.silence_level


class QualitySection(Section):
    """The section ``[quality]``: the largest shares with which a model is trained."""

    max_rejected_share: float = QualityThresholds.max_rejected_share
    max_delivered_before_order_share: float = QualityThresholds.max_delivered_before_order_share
    max_never_delivered_share: float = QualityThresholds.max_never_delivered_share


class TrainingConfiguration(Section):
    """The file that ``--config`` names."""

    model: ModelSection = ModelSection()
    delays: DelaysSection = DelaysSection()
    quality: QualitySection = QualitySection()

    @property
    def delay_policy(self) -> DelayPolicy:
        """The delay policy.

        Raises:
            InvalidSetting: if its thresholds are out of order.
        """
        try:
            return DelayPolicy(**self.delays.model_dump())
        except InvalidValue as error:
            raise InvalidSetting(f"[delays] {error}") from None

    @property
    def quality_thresholds(self) -> QualityThresholds:
        """The thresholds of data quality.

        Raises:
            InvalidSetting: if one is no share.
        """
        try:
            return QualityThresholds(**self.quality.model_dump())
        except InvalidValue as error:
            raise InvalidSetting(f"[quality] {error}") from None


class BoundsSection(Section):
    """The section ``[bounds]``: fewest and most days to promise."""

    earliest_days: int = PromisePolicy.earliest_days
    latest_days: Annotated[int | None, Field(examples=[30])] = PromisePolicy.latest_days


class CostsSection(Section):
    """The section ``[costs]``: costs in any one unit."""

    late: float = PromiseCosts.late
    late_day: float = PromiseCosts.late_day
    day: float = PromiseCosts.day


class PromiseConfiguration(Section):
    """The file of a promise policy."""

    version: Annotated[str, Field(min_length=1, max_length=64, examples=["2026-11"])]
    on_time_rate: Annotated[float | None, Field(examples=[0.9])] = None
    bounds: BoundsSection = BoundsSection()
    costs: CostsSection = CostsSection()

    @property
    def policy(self) -> PromisePolicy:
        """The promise policy.

        Raises:
            InvalidSetting: if a number is out of range.
        """
        has_costs = bool(self.costs.model_fields_set)
        return PromisePolicy(
            version=self.version,
            on_time_rate=self.on_time_rate,
            costs=PromiseCosts(**self.costs.model_dump()) if has_costs else None,
            earliest_days=self.bounds.earliest_days,
            latest_days=self.bounds.latest_days,
        )


def read_training_configuration(setting: str, path: str) -> tuple[dict[str, Any], DelayPolicy]:
    """Parameters of ``eta`` and the delay policy, from the file that a setting names.

    Raises:
        InvalidSetting: if the file cannot be read or holds a wrong value.
    """

    def parse(text: str) -> tuple[dict[str, Any], DelayPolicy]:
        configuration = TrainingConfiguration.from_toml(text)
        return configuration.model.model_dump(), configuration.delay_policy

    return read_file(setting, path, parse)


def read_quality_thresholds(setting: str, path: str) -> QualityThresholds:
    """The thresholds of data quality, from the file that a setting names.

    Raises:
        InvalidSetting: if the file cannot be read or holds a wrong value.
    """
    return read_file(
        setting, path, lambda text: TrainingConfiguration.from_toml(text).quality_thresholds
    )


def read_promise_policy(setting: str, path: str) -> PromisePolicy:
    """The promise policy in the file that a setting names.

    Raises:
        InvalidSetting: if the file cannot be read or holds a wrong value.
    """
    return read_file(setting, path, lambda text: PromiseConfiguration.from_toml(text).policy)


def read_file(setting: str, path: str, parse: Callable[[str], T]) -> T:
    """The parsed content of the file that a setting or an option names.

    Raises:
        InvalidSetting: if the file cannot be read, or if ``parse`` refuses its text.
    """
    where = f"{setting} names {path}"
    try:
        text = read_regular(Path(path), max_bytes=_MAX_BYTES).decode()
    except FileRejected as error:
        problem = f"{error.problem}; name a TOML file that can be read"
        raise InvalidSetting(f"{where}: {problem}") from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"{where}: it is not text; write it in UTF-8") from None
    try:
        return parse(text)
    except InvalidSetting as error:
        raise InvalidSetting(f"{where}: {error}") from None


def _problem(file: type[Section], error: ValidationError) -> str:
    """The first problem of a file, in one line that names the field, its section and the fix."""
    details = error.errors(include_url=False)[0]
    kind, location = details["type"], [str(part) for part in details["loc"]]
    *sections, name = location
    # The class of the section with this path; of the file itself for an empty path.
    section = file
    for section_name in sections:
        section = cast("type[Section]", section.model_fields[section_name].annotation)
    if kind == "extra_forbidden":
        return _unknown(section, sections, name, is_section=isinstance(details["input"], dict))
    field = section.model_fields[name]
    label = _label(sections, f"[{name}]" if _is_section(field) else name)
    if kind == "missing":
        return f"{label} is missing; add it, such as {name} = {_example(field)}"
    expected = f"{label} must be {_EXPECTED[kind]}"
    if _is_section(field):
        return f"{expected}; write [{name}] on a line above its settings"
    return f"{expected}, such as {_example(field)}"


def _unknown(section: type[Section], sections: list[str], name: str, *, is_section: bool) -> str:
    printable = name if name.isprintable() else repr(name)
    label = _label(sections, f"[{printable}]" if is_section else printable)
    if name in RENAMED_SETTINGS:
        return f"{label} is now {RENAMED_SETTINGS[name]}; rename it"
    names = [
        f"[{name}]" if _is_section(field) else name for name, field in section.model_fields.items()
    ]
    return f"{label} is unknown; check the spelling or remove it; allowed are {', '.join(names)}"


def _label(sections: list[str], name: str) -> str:
    return f"{name} of [{'.'.join(sections)}]" if sections else name


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def _example(field: FieldInfo) -> str:
    """A value that the field may have, as TOML."""
    return json.dumps(field.examples[0] if field.examples else field.default)

"""Other libraries' distributions of the time left, each an ``ArrivalModel`` on eta's matrix.

All but SurvivalBoost learn from parcels that arrived and give 13 quantiles. Each runs on one thread
with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import lightgbm
import numpy as np
import xgboost
from catboost import CatBoostRegressor
from crepes import ConformalPredictiveSystem
from hazardous import SurvivalBoost
from mapie.regression import ConformalizedQuantileRegressor
from numpy.typing import NDArray
from quantile_forest import RandomForestQuantileRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from eta.curves import Curves
from eta.forecast.base import HORIZON_DAYS
from eta.forecast.baselines.boosted import QUANTILE_LEVELS
from eta.forecast.design_matrix import Design
from eta.forecast.target_encoding import FOLDS
from eta.journey.examples import Examples
from eta.journey.features import Features

LEVELS = np.array(QUANTILE_LEVELS)
LABEL_PRIOR = 20.0
SEED = 0
#: Rows that a slow peer's tree sees at most, so that a fit takes no more than about two minutes.
MAX_ROWS = 60_000


@dataclass
class Peer:
    """What all peers share; their fields are their parameters."""

    #: Rows to learn from at most, drawn without regard to what came of them; None for all.
    max_rows: int | None = field(default=None, kw_only=True)

    refits_daily: ClassVar[bool] = False
    #: The package, as it is installed.
    library: ClassVar[str]
    #: ``max_rows`` where it is judged.
    affordable_rows: ClassVar[int | None] = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, as given."""
        del deep  # nothing is nested
        return asdict(self)

    def fit(self, examples: Examples) -> Self:
        """Learns from examples at all kinds of moments."""
        self.design, rows = Design.fit(examples, LABEL_PRIOR)
        selected = self._usable_rows(examples)
        if self.max_rows is not None and len(selected) > self.max_rows:
            selected = np.sort(
                np.random.default_rng(SEED).choice(selected, self.max_rows, replace=False)
            )
        self._fit(rows[selected], examples.take(selected))
        return self

    def predict_curves(self, features: Features) -> Curves:
        """The curves of the time left, (N,)."""
        return self._curves(self.design.rows(features))

    def _fit(self, rows: NDArray[np.float32], examples: Examples) -> None:
        """Learns from rows (M, F) and what came of them."""
        raise NotImplementedError

    def _curves(self, rows: NDArray[np.float32]) -> Curves:
        """The curves of the time left for rows (N, F)."""
        raise NotImplementedError

    def _usable_rows(self, examples: Examples) -> NDArray[np.int64]:
        return np.flatnonzero(examples.event_observed)


class QuantilePeer(Peer):
    """A peer that gives the quantiles of the days left at ``LEVELS``."""

    def _fit(self, rows: NDArray[np.float32], examples: Examples) -> None:
        """Learns the days left; the longest of them ends the upper tail."""
        self.max_hours = float(examples.duration_hours.max())
        self._fit_days(rows, examples.duration_hours / 24.0)

    def _curves(self, rows: NDArray[np.float32]) -> Curves:
        """Sorted quantiles, linear between them."""
        return Curves.from_quantiles(
            LEVELS, 24.0 * np.sort(self._quantiles(rows), axis=1), max_hours=self.max_hours
        )

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        """Learns from rows (M, F) and the days they had left."""
        raise NotImplementedError

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The quantiles (N, 13) in days, crossing or not."""
        raise NotImplementedError


@dataclass
class Boosters(QuantilePeer):
    """LightGBM's regressors, for the peers made of them."""

    trees: int = 200
    rate: float = 0.05
    leaves: int = 31
    leaf_rows: int = 60
    ridge: float = 1.0
    column_share: float = 1.0

    def booster(self, **objective: Any) -> lightgbm.LGBMRegressor:
        """A regressor yet to be fitted."""
        return lightgbm.LGBMRegressor(
            **objective,
            n_estimators=self.trees,
            learning_rate=self.rate,
            num_leaves=self.leaves,
            min_child_samples=self.leaf_rows,
            reg_lambda=self.ridge,
            colsample_bytree=self.column_share,
            random_state=SEED,
            deterministic=True,
            force_row_wise=True,
            n_jobs=1,
            verbosity=-1,
        )


@dataclass
class LightGBMQuantiles(Boosters):
    """LightGBM's quantile loss: a booster for each level."""

    library: ClassVar[str] = "lightgbm"

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        self.models = [
            self.booster(objective="quantile", alpha=level).fit(rows, days)
            for level in QUANTILE_LEVELS
        ]

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.column_stack([model.predict(rows) for model in self.models])


@dataclass
class CatBoostQuantiles(QuantilePeer):
    """CatBoost's MultiQuantile loss: one symmetric tree for all quantiles."""

    library: ClassVar[str] = "catboost"
    affordable_rows: ClassVar[int | None] = MAX_ROWS
    iterations: int = 300
    rate: float = 0.1
    depth: int = 6
    ridge: float = 3.0

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        self.model = CatBoostRegressor(
            loss_function="MultiQuantile:alpha="
            + ",".join(str(level) for level in QUANTILE_LEVELS),
            iterations=self.iterations,
            learning_rate=self.rate,
            depth=self.depth,
            l2_leaf_reg=self.ridge,
            random_seed=SEED,
            thread_count=1,
            allow_writing_files=False,
            verbose=False,
        ).fit(rows, days)

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(self.model.predict(rows, thread_count=1))


@dataclass
class XGBoostQuantiles(QuantilePeer):
    """XGBoost's ``reg:quantileerror`` with all levels at once: a tree for each level and round."""

    library: ClassVar[str] = "xgboost-cpu"
    affordable_rows: ClassVar[int | None] = MAX_ROWS
    rounds: int = 150
    rate: float = 0.1
    leaves: int = 31
    leaf_weight: float = 20.0
    ridge: float = 1.0
    column_share: float = 1.0

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        self.model = xgboost.XGBRegressor(
            objective="reg:quantileerror",
            quantile_alpha=LEVELS,
            n_estimators=self.rounds,
            learning_rate=self.rate,
            grow_policy="lossguide",
            max_leaves=self.leaves,
            max_depth=0,
            min_child_weight=self.leaf_weight,
            reg_lambda=self.ridge,
            colsample_bytree=self.column_share,
            tree_method="hist",
            random_state=SEED,
            n_jobs=1,
        ).fit(rows, days)

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(self.model.predict(rows), dtype=np.float64)


@dataclass
class HistogramQuantiles(QuantilePeer):
    """scikit-learn's HistGradientBoostingRegressor, one for each level."""

    library: ClassVar[str] = "scikit-learn"
    affordable_rows: ClassVar[int | None] = MAX_ROWS
    trees: int = 150
    rate: float = 0.1
    leaves: int = 31
    leaf_rows: int = 60
    ridge: float = 0.0

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        self.models = [
            HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                max_iter=self.trees,
                learning_rate=self.rate,
                max_leaf_nodes=self.leaves,
                min_samples_leaf=self.leaf_rows,
                l2_regularization=self.ridge,
                early_stopping=False,
                random_state=SEED,
            ).fit(rows, days)
            for level in QUANTILE_LEVELS
        ]

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.column_stack([model.predict(rows) for model in self.models])


@dataclass
class ForestQuantiles(QuantilePeer):
    """quantile-forest: quantiles of the training rows that share leaves (Meinshausen 2006)."""

    library: ClassVar[str] = "quantile-forest"
    trees: int = 50
    leaf_rows: int = 20
    column_share: float = 0.5
    row_share: float = 0.5

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        self.model = RandomForestQuantileRegressor(
            n_estimators=self.trees,
            min_samples_leaf=self.leaf_rows,
            max_features=self.column_share,
            max_samples=self.row_share,
            # Use every row of a leaf: by default one is drawn, which is coarse with few trees.
            max_samples_leaf=None,
            n_jobs=1,
            random_state=SEED,
        ).fit(_without_gaps(rows), days)

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(self.model.predict(_without_gaps(rows), quantiles=list(QUANTILE_LEVELS)))


def _without_gaps(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows with what is not known below all that is: this library takes no NaN."""
    return np.where(np.isnan(rows), np.float32(-1000.0), rows)


@dataclass
class Calibrated(Boosters):
    """Learns from four fifths of the parcels and calibrates on the rest."""

    def _fit(self, rows: NDArray[np.float32], examples: Examples) -> None:
        self.held_out = examples.parcel % np.uint64(FOLDS) == 0
        super()._fit(rows, examples)


@dataclass
class ConformalDistribution(Calibrated):
    """crepes: a conformal predictive system around LightGBM's median (Boström et al. 2021).

    With ``is_scaled`` errors are measured in units of their expected size, which a second booster
    learns.
    """

    library: ClassVar[str] = "crepes"
    bins: int = 10
    is_scaled: bool = True

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        held_out, fitted = self.held_out, ~self.held_out
        self.median = self.booster(objective="l1").fit(rows[fitted], days[fitted])
        if self.is_scaled:
            self.size = self.booster(objective="l2").fit(
                rows[fitted], np.abs(days[fitted] - self._median(rows[fitted]))
            )
        forecast = self._median(rows[held_out])
        self.edges = np.unique(np.quantile(forecast, np.linspace(0.0, 1.0, self.bins + 1)[1:-1]))
        self.system = ConformalPredictiveSystem().fit(
            days[held_out] - forecast, **self._groups(rows[held_out], forecast), seed=SEED
        )

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        forecast = self._median(rows)
        percentiles = self.system.predict_percentiles(
            forecast,
            **self._groups(rows, forecast),
            higher_percentiles=(100.0 * LEVELS).tolist(),
            y_min=0.0,
        )
        return np.asarray(percentiles, dtype=np.float64)

    def _median(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(self.median.predict(rows), dtype=np.float64)

    def _groups(
        self, rows: NDArray[np.float32], forecast: NDArray[np.float64]
    ) -> dict[str, NDArray[Any]]:
        size = (
            {"sigmas": np.maximum(np.asarray(self.size.predict(rows)), 0.1)}
            if self.is_scaled
            else {}
        )
        return {**size, "bins": np.digitize(forecast, self.edges)}


@dataclass
class ConformalQuantiles(Calibrated):
    """MAPIE: conformalised quantile regression of LightGBM (Romano et al. 2019), range by range."""

    library: ClassVar[str] = "mapie"

    def _fit_days(self, rows: NDArray[np.float32], days: NDArray[np.float64]) -> None:
        held_out, fitted = self.held_out, ~self.held_out
        models = [
            self.booster(objective="quantile", alpha=level).fit(rows[fitted], days[fitted])
            for level in QUANTILE_LEVELS
        ]
        middle = len(models) // 2
        self.median = models[middle]
        self.ranges = [
            ConformalizedQuantileRegressor(
                [low, high, self.median], confidence_level=round(1.0 - 2.0 * level, 9), prefit=True
            ).conformalize(rows[held_out], days[held_out])
            for level, low, high in zip(
                QUANTILE_LEVELS[:middle], models[:middle], models[:middle:-1], strict=True
            )
        ]

    def _quantiles(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        ends = [conformal.predict_interval(rows)[1][:, :, 0] for conformal in self.ranges]
        return np.column_stack(
            [
                *(end[:, 0] for end in ends),
                self.median.predict(rows),
                *(end[:, 1] for end in reversed(ends)),
            ]
        )


class _SeededSurvivalBoost(SurvivalBoost):
    """SurvivalBoost, whose trees draw their own rows without a seed."""

    def _build_base_estimator(self) -> HistGradientBoostingClassifier:
        return super()._build_base_estimator().set_params(random_state=self.random_state)


@dataclass
class SurvivalDistribution(Peer):
    """hazardous: SurvivalBoost (Alberge et al. 2025), with open parcels and a finite horizon."""

    library: ClassVar[str] = "hazardous"
    # A row is seen at up to three horizons.
    affordable_rows: ClassVar[int | None] = MAX_ROWS // 3
    iterations: int = 100
    rate: float = 0.1
    leaves: int = 31
    leaf_rows: int = 50
    horizons: int = 3
    censoring: str = "kaplan-meier"

    #: Hours at which it predicts.
    GRID: ClassVar[NDArray[np.float64]] = 24.0 * np.concatenate(
        [
            np.arange(0.0, 8.0, 0.5),
            np.arange(8.0, 16.0),
            np.arange(16.0, 31.0, 2.0),
            [37, 44, 51, 60],
        ]
    )

    def _fit(self, rows: NDArray[np.float32], examples: Examples) -> None:
        self.edges = [
            np.unique(np.nanquantile(column, np.linspace(0.0, 1.0, 250)))
            if np.isfinite(column).any()
            else np.zeros(0)
            for column in rows.T
        ]
        hours = np.minimum(examples.duration_hours, 24.0 * HORIZON_DAYS)
        self.model = _SeededSurvivalBoost(
            n_iter=self.iterations,
            learning_rate=self.rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.leaf_rows,
            n_horizons_per_observation=self.horizons,
            ipcw_strategy=self.censoring,
            show_progressbar=False,
            random_state=SEED,
        ).fit(
            self._binned(rows),
            {
                "event": (examples.event_observed & (examples.duration_hours <= hours)).astype(
                    np.int64
                ),
                "duration": hours,
            },
            times=self.GRID,
        )

    def _curves(self, rows: NDArray[np.float32]) -> Curves:
        arrived = 1.0 - self.model.predict_survival_function(self._binned(rows), times=self.GRID)
        arrived[:, 0] = 0.0
        return Curves.from_grid(
            self.GRID, np.clip(np.maximum.accumulate(arrived, axis=1), 0.0, 1.0)
        )

    def _binned(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows, binned once: with weights the library bins them again for every tree."""
        bins = [
            np.where(np.isnan(column), np.nan, np.digitize(column, edges))
            for column, edges in zip(rows.T, self.edges, strict=True)
        ]
        return np.column_stack(bins).astype(np.float32)

    def _usable_rows(self, examples: Examples) -> NDArray[np.int64]:
        return np.arange(len(examples))


#: The peers, by the name they go by in reports.
PEERS: Mapping[str, type[Peer]] = {
    "LightGBM quantiles": LightGBMQuantiles,
    "CatBoost MultiQuantile": CatBoostQuantiles,
    "XGBoost quantiles": XGBoostQuantiles,
    "scikit-learn quantiles": HistogramQuantiles,
    "quantile forest": ForestQuantiles,
    "conformal distribution (crepes)": ConformalDistribution,
    "conformal quantiles (MAPIE)": ConformalQuantiles,
    "SurvivalBoost": SurvivalDistribution,
}

_BOOSTERS: Mapping[str, Sequence[Any]] = {
    "trees": (100, 200, 300),
    "rate": (0.03, 0.05, 0.08, 0.12),
    "leaves": (7, 15, 31, 63),
    "leaf_rows": (30, 60, 120, 240),
    "ridge": (0.0, 1.0, 10.0),
    "column_share": (0.5, 0.8, 1.0),
}
#: What trials are drawn from.
SPACES: Mapping[type[Peer], Mapping[str, Sequence[Any]]] = {
    LightGBMQuantiles: _BOOSTERS,
    CatBoostQuantiles: {
        "iterations": (150, 300, 450),
        "rate": (0.05, 0.1, 0.2),
        "depth": (4, 6, 7),
        "ridge": (1.0, 3.0, 10.0),
    },
    XGBoostQuantiles: {
        "rounds": (100, 150, 250),
        "rate": (0.03, 0.05, 0.1, 0.15),
        "leaves": (7, 15, 31, 63),
        "leaf_weight": (20.0, 60.0, 180.0),
        "ridge": (0.0, 1.0, 10.0),
        "column_share": (0.5, 0.8, 1.0),
    },
    HistogramQuantiles: {
        "trees": (100, 150, 250),
        "rate": (0.03, 0.05, 0.1, 0.15),
        "leaves": (7, 15, 31, 63),
        "leaf_rows": (30, 60, 120, 240),
        "ridge": (0.0, 1.0, 10.0),
    },
    ForestQuantiles: {
        "trees": (50, 100),
        "leaf_rows": (5, 10, 20, 40, 80),
        "column_share": (0.2, 0.33, 0.5, 0.8),
        "row_share": (0.2, 0.4, 0.6, 0.8),
    },
    ConformalDistribution: {**_BOOSTERS, "bins": (1, 5, 10, 20), "is_scaled": (True, False)},
    ConformalQuantiles: _BOOSTERS,
    SurvivalDistribution: {
        "iterations": (60, 100, 150),
        "rate": (0.05, 0.1, 0.2),
        "leaves": (15, 31, 63),
        "leaf_rows": (50, 100, 200),
        "horizons": (1, 3),
        "censoring": ("kaplan-meier",),
    },
}

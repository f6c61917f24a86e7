"""Of the customers that a delay flag warns, how many get their parcel late.

Simulates the default scenario and trains a model as of one day. Then the first parcels that are
ordered afterwards are evaluated every six hours from their order on. A customer is warned if a flag
is raised at one of these moments. Late are parcels whose first attempt came after the promised day,
or never came.

Prints one JSON object. ``thresholds`` has the figures by ``stalled_at``: ``any`` raises a flag for
every parcel that is stalled, ``none`` for no stalled parcel as such. Late parcels are warned in
advance if their flag was raised before the promised day was over. The default of
``DelayPolicy.stalled_at`` was chosen with ``--choose``, on another seed and an earlier period.
Simulated results.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness
import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import to_instant
from eta.delays import DelayPolicy
from eta.domain.vocabulary import DelayState
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines, promise_ends
from eta.model.bundle import ModelBundle
from eta.service.scoring.open_forecasts import OpenForecasts, forecast_open
from eta.simulation.scenario import DEFAULT

SHIPMENTS, FOLLOWED = 20_000, 200
CHOOSE_SEED, CHOOSE_FOLLOWED = 7, 2_000
CHOOSE_AS_OF, AS_OF = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC)
STEP = np.timedelta64(6, "h")
STEPS = 60 * 4
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
#: The precision must reach this share of that without a flag for silence.
CLAIM = 0.9


def main() -> int:
    """Runs the experiment and prints its verdict."""
    options = harness.parser(__doc__)
    options.add_argument("--choose", action="store_true", help="the data of the choice")
    is_choice = options.parse_args().choose
    scenario = replace(DEFAULT, seed=CHOOSE_SEED) if is_choice else DEFAULT
    as_of = CHOOSE_AS_OF if is_choice else AS_OF
    with tempfile.TemporaryDirectory() as name:
        _, timelines = harness.simulate(Path(name) / "data", SHIPMENTS, scenario)
        served = harness.train(timelines, Path(name) / "models", as_of)
    rows = _followed(timelines, as_of, CHOOSE_FOLLOWED if is_choice else FOLLOWED)
    forecasts = _evaluate(timelines, served, rows)
    late = _late(timelines)
    figures: dict[str, Any] = {}
    for name, threshold in {"any": 0.0, "none": np.inf, **{str(t): t for t in THRESHOLDS}}.items():
        figures[name] = _figures(forecasts, threshold, late, rows)
    default = figures[str(DelayPolicy.stalled_at)]
    ok = default["precision"] >= CLAIM * figures["none"]["precision"]
    return harness.print_verdict(
        "delay_flags",
        ok=ok,
        simulated=True,
        first_day=as_of.date().isoformat(),
        parcels=len(rows),
        late=int(late[rows].sum()),
        stalled_at=DelayPolicy.stalled_at,
        thresholds=figures,
    )


def _followed(timelines: Timelines, as_of: datetime, count: int) -> NDArray[np.int64]:
    """The first parcels that were ordered from a moment on."""
    end = timelines.received_at.max()
    ordered_at = fold(timelines, AsOfPairs.all_at(timelines, end)).ordered_at
    in_order = np.argsort(ordered_at, kind="stable")
    return in_order[ordered_at[in_order] >= to_instant(as_of)][:count]


def _late(timelines: Timelines) -> NDArray[np.bool_]:
    """Which parcels came after the promised day, or never."""
    pairs = AsOfPairs.all_at(timelines, timelines.received_at.max())
    arrived_at = fold(timelines, pairs).arrived_at
    return np.isnat(arrived_at) | (arrived_at >= promise_ends(timelines, pairs.row))


def _evaluate(
    timelines: Timelines, served: ModelBundle, rows: NDArray[np.int64]
) -> list[OpenForecasts]:
    """The forecasts every six hours of the parcels in flight then."""
    ordered_at = fold(
        timelines, AsOfPairs(rows, np.full(len(rows), timelines.received_at.max()))
    ).ordered_at
    forecasts = []
    for step in range(STEPS):
        harness.report_progress("evaluated", step, STEPS)
        pairs = AsOfPairs(rows, ordered_at + (step + 1) * STEP)
        states = fold(timelines, pairs)
        in_flight = np.flatnonzero(states.is_open)
        if not len(in_flight):
            break
        at, of = pairs.take(in_flight), states.take(in_flight)
        forecasts.append(forecast_open(timelines, served, at, of, DelayPolicy()))
    return forecasts


def _figures(
    forecasts: list[OpenForecasts],
    stalled_at: float,
    late: NDArray[np.bool_],
    rows: NDArray[np.int64],
) -> dict[str, Any]:
    """How many are warned if a stalled parcel has a flag from this P(late) on."""
    warned, in_advance = np.zeros(len(late), dtype=bool), np.zeros(len(late), dtype=bool)
    for forecast in forecasts:
        delays = forecast.delays
        is_overdue = delays.state == DelayState.OVERDUE.value
        is_stalled = delays.state == DelayState.STALLED.value
        is_early = delays.is_expected_late | (is_stalled & (delays.probability >= stalled_at))
        in_advance[forecast.moments.row[is_early]] = True
        warned[forecast.moments.row[is_early | is_overdue]] = True
    hits, count = int((warned & late).sum()), int(warned.sum())
    return {
        "warned": count,
        "late": hits,
        "late_and_warned_in_advance": int((in_advance & late).sum()),
        "precision": round(hits / count, 3) if count else None,
        "recall": round(hits / int(late[rows].sum()), 3),
    }


if __name__ == "__main__":
    sys.exit(main())

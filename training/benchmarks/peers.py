"""Compares `eta` with other libraries on real orders: same matrix, folds and scores, each tuned.

Claim: no peer is better than `eta`, at purchase or in flight, by more than chance. Every peer is
    tried with its defaults and
with nine draws from its space, fitted as of September 2017 and judged on September and October by
CRPS at purchase plus in flight; the best is then refitted monthly and judged on January to June
2018, as `eta` is. Differences are of the same moments, delivered parcels, with 95 % intervals over
weeks. Seconds are of one CPU and include making the matrix.

Finished parts are stored in a folder and reused, unless their inputs have changed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peer_models import LABEL_PRIOR, PEERS, SPACES, Peer
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta import bootstrap
from eta.calendars.local_time import midnight, to_instant
from eta.curves import Curves
from eta.evaluation.backtest import Refit, replay
from eta.evaluation.confidence_intervals import week_bootstrap
from eta.evaluation.summary import HEADLINE_METRIC
from eta.forecast.base import ArrivalModel
from eta.forecast.design_matrix import Design
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.snapshots import IN_FLIGHT, PURCHASE, evaluation_snapshots, training_snapshots

SOURCE, REFERENCE = "olist", "eta"
TRIALS, SEED = 10, 20171101
#: Rows a trial learns from at most.
TRIAL_ROWS = 40_000
#: First day judged, day after the last, and the day whose knowledge says what came true.
TUNING = ("2017-09-01", "2017-11-01", "2018-01-01")
MONTHS = tuple((f"2018-{month:02d}-01", f"2018-{month + 1:02d}-01") for month in range(1, 7))
GROUPS: Mapping[str, tuple[str, ...]] = {"purchase": (PURCHASE,), "in_flight": IN_FLIGHT}
KEYS = ("shipment_id", "moment", "week", "arrived")
SECONDS = ("fit_seconds", "predict_seconds_per_1000")
SCORES = ("error_days", "crps_days", "crps_censored_days", "covered_80", "covered_90")

PACKAGE = Path(bootstrap.__file__).parent
JUDGE = ("curves.py", "evaluation/metrics.py")
#: What only `eta` rests on: a peer's results outlive its changes.
ETA_SOURCES = ("calendars", "evaluation", "forecast", "journey", "promise.py")


class Orders:
    """The orders, and what past days knew of them."""

    def __init__(self, folder: Path) -> None:
        dataset, self.timelines = harness.load_data(SOURCE, folder)
        self.zone = dataset.zone

    def midnight(self, day: str) -> datetime:
        """The first instant of a day."""
        return midnight(date.fromisoformat(day), self.zone)

    @cache  # noqa: B019  # there is one, for the whole run
    def digest(self, first: str, end: str, outcomes_day: str | None) -> str:
        """A hash of all that a model fitted on the first day sees, and of what it is judged on."""
        start, until = to_instant(self.midnight(first)), to_instant(self.midnight(end))
        training = examples(
            training_snapshots(self.timelines, start), Outcomes.at(self.timelines, start)
        )
        truth = Outcomes.at(
            self.timelines,
            self.timelines.received_at.max()
            if outcomes_day is None
            else to_instant(self.midnight(outcomes_day)),
        )
        judged = examples(evaluation_snapshots(self.timelines, start, until), truth)
        design, rows = Design.fit(training, LABEL_PRIOR)
        return hash_of(rows, *outcomes(training), design.rows(judged.features), *outcomes(judged))


def main() -> int:
    """Runs what is not yet done and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--results", type=Path, default=Path(".cache/peers"), help="folder of what is finished"
    )
    parser.add_argument("--peers", default=",".join(PEERS), help="which, comma-separated")
    parser.add_argument("--tune-only", action="store_true", help="stop before any day of 2018")
    args = parser.parse_args()
    orders = Orders(harness.require_real_data(SOURCE))
    names = [name.strip() for name in args.peers.split(",")]
    # Some libraries use all cores whatever their settings, and warn and log for every range of
    # every trial.
    logging.disable(logging.INFO)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trials = {
            name: [trial(orders, args.results, name, number) for number in range(TRIALS)]
            for name in names
        }
        best = {
            name: min(tried, key=lambda result: result["crps_days"])
            for name, tried in trials.items()
        }
        print_trials(trials)
        if args.tune_only:
            return harness.print_verdict(
                "peers",
                ok=True,
                stage="tuning",
                peers={name: {**best[name], "trials": tried} for name, tried in trials.items()},
            )
        judged = {REFERENCE: judge(orders, args.results, REFERENCE, None)}
        judged |= {
            name: judge(orders, args.results, name, best[name]["parameters"]) for name in names
        }
    rows = {name: figures(table) for name, table in judged.items()}
    differences = {
        name: {moment: compare(judged[REFERENCE], judged[name], moment) for moment in GROUPS}
        for name in names
    }
    print_rows(rows, differences)
    worse = [
        f"{name} {moment} {metric}"
        for name, by in differences.items()
        for moment, differences_by_metric in by.items()
        for metric, gap in differences_by_metric.items()
        if gap["low"] > 0
    ]
    chosen = {
        name: {
            "library": library(PEERS[name]),
            "parameters": best[name]["parameters"],
            "differences": differences[name],
            **rows[name],
        }
        for name in names
    }
    return harness.print_verdict(
        "peers", ok=not worse, better_than_eta=worse, eta=rows[REFERENCE], peers=chosen
    )


def trial(orders: Orders, results: Path, name: str, number: int) -> dict[str, Any]:
    """The score of one set of parameters on 2017; the first are the defaults."""
    kind, (first, end, outcomes_day) = PEERS[name], TUNING
    rows = (
        TRIAL_ROWS
        if kind.affordable_rows is None
        else min(TRIAL_ROWS, kind.affordable_rows * 2 // 3)
    )
    rng = np.random.default_rng([SEED, number, *name.encode()])
    drawn = (
        {}
        if number == 0
        else {key: values[rng.integers(len(values))] for key, values in SPACES[kind].items()}
    )
    parameters = kind(**drawn, max_rows=rows).get_params()
    trial_hash = hash_of(recipe(kind), parameters, orders.digest(first, end, outcomes_day))
    path = results / "tuning" / f"{slug(name)}-{number}-{trial_hash}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    harness.report_progress(f"tuning {name}, trial {number + 1} of {TRIALS}")
    table = run(orders, partial(kind, **parameters), first, end, outcomes_day)
    parts = {moment: scores["crps_days"] for moment, scores in figures(table)["moments"].items()}
    result = {
        "parameters": parameters,
        "crps_days": sum(parts.values()),
        **{f"crps_days_{moment}": value for moment, value in parts.items()},
    }
    result |= {key: float(table[key].iloc[0]) for key in SECONDS}
    write_whole(path, lambda at: at.write_text(json.dumps(result), encoding="utf-8"))
    return result


def judge(
    orders: Orders, results: Path, name: str, tuned: Mapping[str, Any] | None
) -> pd.DataFrame:
    """Every moment of 2018 with what the model's forecast was worth, refitted monthly."""
    make: Callable[[], ArrivalModel]
    if tuned is None:
        # What it learns from day to day must not end with the month.
        make, rests_on, periods = (
            bootstrap.models({})[name],
            code(*ETA_SOURCES),
            [(MONTHS[0][0], MONTHS[-1][1])],
        )
    else:
        kind = PEERS[name]
        parameters = {**tuned, "max_rows": kind.affordable_rows}
        make, rests_on, periods = (
            partial(kind, **parameters),
            hash_of(recipe(kind), parameters),
            list(MONTHS),
        )
    done = []
    for first, end in periods:
        month_hash = hash_of(rests_on, code(*JUDGE), orders.digest(first, end, None))
        path = results / "judged" / f"{slug(name)}-{first[:7]}-{month_hash}.parquet"
        if not path.is_file():
            harness.report_progress(f"judging {name} from {first}")
            write_whole(path, run(orders, make, first, end, None).to_parquet)
        done.append(pd.read_parquet(path))
    # One replay lists the moments of all months kind by kind, six replays month by month.
    return pd.concat(done).sort_values(["moment", "shipment_id"], ignore_index=True)


def run(
    orders: Orders, make: Callable[[], ArrivalModel], first: str, end: str, outcomes_day: str | None
) -> pd.DataFrame:
    """Fits monthly and forecasts until ``end``: one row a moment.

    Each row has the median CPU seconds of a fit and of 1,000 forecasts.
    """
    clock: dict[str, list[float]] = {"fit": [], "predict_curves": []}

    def timed() -> ArrivalModel:
        model = make()
        for verb, seconds in clock.items():
            setattr(model, verb, partial(taking, seconds, getattr(model, verb)))
        return model

    replayed = replay(
        orders.timelines,
        {"model": timed},
        start=orders.midnight(first),
        end=orders.midnight(end),
        zone=orders.zone,
        refit=Refit.NEVER if outcomes_day else Refit.MONTH,
        known_through=None if outcomes_day is None else to_instant(orders.midnight(outcomes_day)),
        warm_up_months=0,
    )
    judged, forecasts = replayed.judged, replayed.forecasts["model"]
    table = pd.concat(
        [judged[list(KEYS)].astype({"moment": str}), forecasts[list(SCORES)].astype(np.float64)],
        axis=1,
    )
    return table.assign(
        run=first,
        fit_seconds=np.median(clock["fit"]),
        predict_seconds_per_1000=np.median(clock["predict_curves"]) * 1000.0,
    )


def taking(seconds: list[float], act: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What the model answers, and its CPU time noted: of a fit, or of one of many answers."""
    began = time.process_time()
    answer = act(*given, **named)
    seconds.append(
        (time.process_time() - began) / (len(answer) if isinstance(answer, Curves) else 1)
    )
    return answer


def figures(table: pd.DataFrame) -> dict[str, Any]:
    """Means over delivered parcels by moment, and median seconds a fit and 1,000 moments."""
    moments = {}
    for moment, kinds in GROUPS.items():
        part = table[table["moment"].isin(kinds)]
        delivered = part[part["arrived"]]
        means = {
            name: float(delivered[name].mean())
            for name in ("crps_days", "covered_80", "covered_90")
        }
        moments[moment] = {
            "n": len(delivered),
            "mae_days": float(delivered["error_days"].abs().mean()),
            **means,
            "crps_censored_days": float(part["crps_censored_days"].mean()),
        }
    return {"moments": moments, **table.groupby("run")[list(SECONDS)].first().median().to_dict()}


def compare(
    eta_scores: pd.DataFrame, peer_scores: pd.DataFrame, moment: str
) -> dict[str, dict[str, float]]:
    """`eta`'s mean score minus the other's, below 0 is better, with its interval over weeks.

    ``crps_censored_days`` compares all parcels, the other metrics the delivered ones.
    """
    if not eta_scores[list(KEYS)].equals(peer_scores[list(KEYS)]):
        raise RuntimeError("two models were judged on different moments")
    at_moment = eta_scores["moment"].isin(GROUPS[moment])
    differences = {}
    columns = {"mae_days": "error_days", "crps_days": "crps_days", HEADLINE_METRIC: HEADLINE_METRIC}
    for metric, column in columns.items():
        rows = at_moment if metric == HEADLINE_METRIC else at_moment & eta_scores["arrived"]
        gap = (eta_scores[column].abs() - peer_scores[column].abs())[rows]
        weeks = gap.groupby(eta_scores["week"][rows]).agg(["sum", "count"])
        low, high = week_bootstrap(
            weeks["sum"].to_numpy(), weeks["count"].to_numpy(dtype=np.float64), 0
        )
        differences[metric] = {"mean": float(gap.mean()), "low": float(low), "high": float(high)}
    return differences


def print_trials(trials: Mapping[str, list[dict[str, Any]]]) -> None:
    """The best trial of each peer beside its defaults."""
    table = Table(
        "peer",
        "CRPS, defaults",
        "CRPS, best",
        "at purchase",
        "in flight",
        "fit s",
        "best parameters",
        title="Tuning, September and October 2017, days",
    )
    for name, tried in trials.items():
        best = min(tried, key=lambda result: result["crps_days"])
        parameters = ", ".join(f"{key}={value}" for key, value in best["parameters"].items())
        seconds = np.median([result["fit_seconds"] for result in tried])
        sums = (
            f"{value:.3f}"
            for value in (
                tried[0]["crps_days"],
                best["crps_days"],
                best["crps_days_purchase"],
                best["crps_days_in_flight"],
            )
        )
        table.add_row(name, *sums, f"{seconds:.1f}", parameters)
    Console(stderr=True, width=180).print(table)


def print_rows(
    rows: Mapping[str, dict[str, Any]], differences: Mapping[str, dict[str, Any]]
) -> None:
    """Scores of all, and `eta` minus each peer with intervals."""
    for moment in GROUPS:
        table = Table(
            *(
                "model",
                "MAE",
                "CRPS",
                "CRPS, all",
                "80 %",
                "90 %",
                "eta - peer, MAE",
                "eta - peer, CRPS",
                "eta - peer, CRPS, all",
                "rows at most",
                "fit s",
                "1,000 moments s",
            ),
            title=f"{moment}, {MONTHS[0][0]} until {MONTHS[-1][1]}, days; below 0 eta is better",
        )
        for name, model_figures in rows.items():
            scores = model_figures["moments"][moment]
            gaps = (
                ["-", "-", "-"]
                if name == REFERENCE
                else [
                    format_difference(differences[name][moment][metric])
                    for metric in ("mae_days", "crps_days", HEADLINE_METRIC)
                ]
            )
            max_rows = PEERS[name].affordable_rows if name in PEERS else None
            means = (
                f"{scores[key]:.3f}"
                for key in (
                    "mae_days",
                    "crps_days",
                    "crps_censored_days",
                    "covered_80",
                    "covered_90",
                )
            )
            seconds = (
                f"{model_figures['fit_seconds']:.1f}",
                f"{model_figures['predict_seconds_per_1000']:.3f}",
            )
            table.add_row(
                name, *means, *gaps, "all" if max_rows is None else f"{max_rows:,}", *seconds
            )
        Console(stderr=True, width=180).print(table)


def format_difference(gap: Mapping[str, float]) -> str:
    """A difference with its interval."""
    return f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"


def recipe(kind: type[Peer]) -> str:
    """What a peer is: its code and the version of its library."""
    sources = [
        inspect.getsource(base) for base in kind.__mro__ if base.__module__ == Peer.__module__
    ]
    return "\n".join([library(kind), *sources])


def library(kind: type[Peer]) -> str:
    """A peer's library with its version."""
    return f"{kind.library} {importlib.metadata.version(kind.library)}"


def code(*parts: str) -> str:
    """A hash of modules and rooms of the package."""
    files = [
        file
        for part in parts
        for file in (
            [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
        )
    ]
    return hash_of(*(file.read_text(encoding="utf-8") for file in files))


def outcomes(judged: Examples) -> tuple[np.ndarray, ...]:
    """What came of examples, as arrays."""
    return (
        judged.parcel,
        judged.duration_hours,
        judged.event_observed,
        judged.moment.astype(np.str_),
    )


def hash_of(*parts: Any) -> str:
    """The same 16 hexadecimal digits for the same arrays, texts and parameters."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(
            np.ascontiguousarray(part).tobytes()
            if isinstance(part, np.ndarray)
            else json.dumps(part, sort_keys=True).encode()
        )
    return digest.hexdigest()[:16]


def slug(name: str) -> str:
    """A name fit for a file."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    write(unfinished)
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())

"""Simulated shipments sent over HTTP late, twice and out of order, against the batch path."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic_core import to_json
from rich.progress import track

from eta.api.app import create_app
from eta.api.schemas.common import to_prediction
from eta.calendars.local_time import to_instant
from eta.datasets.tabular import read_tabular
from eta.delays import DelayPolicy
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.support import Support
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import PlaceEffectHistory
from eta.journey.snapshots import training_snapshots
from eta.journey.state import PHASES, STATUSES, AsOfPairs, fold
from eta.journey.timelines import EVENT_CODES, Timelines
from eta.model.bundle import to_files
from eta.model.registry import Registry
from eta.service.analysis.simulate_data import simulate_data
from eta.service.scoring.assessment import AssessmentOptions
from eta.service.scoring.score_shipments import score_timelines
from eta.service.storage.export import export_store
from eta.settings import Settings
from eta.simulation.scenario import DEFAULT
from eta.stage_durations import StageDurations
from eta.store.records import StoredState
from support.store import Clock

SHIPMENTS, MOMENTS, SAMPLED_SHIPMENTS = 20_000, 100, 25
TENANT = "default"
_TIMES = (
    "ordered_at",
    "approved_at",
    "handed_over_at",
    "last_scan_at",
    "arrived_at",
    "abandoned_at",
)


@dataclass(frozen=True)
class Observation:
    """States by shipment at a moment, and the forecasts of some shipments as JSON."""

    as_of: datetime
    states: dict[str, tuple[Any, ...]]
    forecast_as_of: datetime
    forecasts: dict[str, dict[str, Any]]


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Pushes the shipments and compares."""
    shipments = max(int(SHIPMENTS * scale), 500)
    simulate_data(folder / "data", DEFAULT, shipments=shipments)
    dataset = read_tabular(folder / "data", now=datetime.now(UTC))
    _train(folder / "models", dataset.shipments, dataset.events)
    clock = Clock(dataset.events["received_at"].min().to_pydatetime())
    app = create_app(
        Settings(
            models=folder / "models",
            database_url=f"sqlite:{folder / 'eta.sqlite'}",
            is_demo=True,
            rate_limit="1000000/second",
        ),
        clock=clock,
    )
    with _serving(app) as address, httpx2.Client(base_url=address, timeout=60) as client:
        pushed_events, observations = _push(
            client, app, clock, dataset.shipments, dataset.events, MOMENTS
        )
        recorded = app.state.resources.store.read(lambda session: export_store(session, TENANT))
        current = app.state.resources.model_loader.current
    timelines = Timelines.from_frames(recorded.shipments, recorded.events)
    states_equal = sum(
        _states_agree(timelines, moment) for moment in track(observations, "comparing states")
    )
    forecasts = [
        _forecasts_agree(recorded.shipments, recorded.events, moment, current)
        for moment in track(observations, "comparing forecasts")
    ]
    return {
        "ok": states_equal == len(observations)
        and all(equal == compared for equal, compared in forecasts),
        "stream_shipments": shipments,
        "stream_events_sent": pushed_events,
        "stream_events_stored": len(recorded.events),
        "moments": len(observations),
        "states_equal": states_equal,
        "states_compared": sum(len(moment.states) for moment in observations),
        "forecasts_equal": sum(equal for equal, _ in forecasts),
        "forecasts_compared": sum(compared for _, compared in forecasts),
    }


def _train(models: Path, shipments: pd.DataFrame, events: pd.DataFrame) -> None:
    """A small model of what was known half-way."""
    timelines = Timelines.from_frames(shipments, events)
    as_of = events["received_at"].quantile(0.5).to_pydatetime()
    instant = to_instant(as_of)
    training_examples = examples(
        training_snapshots(timelines, instant), Outcomes.at(timelines, instant)
    )
    model = HazardModel(trees=30).fit(training_examples)
    durations = StageDurations.fit(
        timelines, fold(timelines, AsOfPairs.all_at(timelines, instant)), instant, level=0.95
    )
    facts, files = to_files(
        model,
        PlaceEffectHistory.from_timelines(timelines).at(instant),
        durations,
        Support.fit(training_examples),
        HandlingTimes(),
        ArrivalCorrelation(),
    )
    data = {
        "source": "simulated",
        "sha256": timelines.digest(instant),
        "examples": len(training_examples),
    }
    registry = Registry(models)
    registry.promote(registry.save({**facts, "data": data, "check": None}, files, as_of))


@contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    """The application behind a socket of this process, whose clock we hold."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _push(
    client: httpx2.Client,
    app: FastAPI,
    clock: Clock,
    shipments: pd.DataFrame,
    events: pd.DataFrame,
    moments: int,
) -> tuple[int, list[Observation]]:
    rng = random.Random(5)  # noqa: S311  # a seed is the point
    messages = _messages(shipments, events, rng)
    stops = set(rng.sample(range(len(messages)), moments))
    registered, observations, batch, pushed_events = (
        list[str](),
        list[Observation](),
        list[dict[str, Any]](),
        0,
    )

    def flush() -> None:
        nonlocal pushed_events
        if batch:
            answered = client.post("/v1/events", json={"events": batch})
            answered.raise_for_status()
            refused = [entry for entry in answered.json()["results"] if "problem" in entry]
            if refused:
                raise RuntimeError(f"refused: {refused[0]}")
            pushed_events += len(batch)
            batch.clear()

    size = rng.randrange(1, 400)
    for number, (at, shipment, event) in enumerate(track(messages, "pushing")):
        # Each event is sent at its time, or a little later with others.
        if event is None or len(batch) >= size:
            flush()
            size = rng.randrange(1, 400)
        clock.now = max(clock.now, at)
        if event is None:
            client.post("/v1/shipments", json=shipment).raise_for_status()
            registered.append(shipment["external_id"])
        else:
            batch.append(event)
        if number in stops:
            flush()
            observations.append(
                _observe(
                    client, app, rng.sample(registered, min(SAMPLED_SHIPMENTS, len(registered)))
                )
            )
    flush()
    return pushed_events, observations


def _messages(
    shipments: pd.DataFrame, events: pd.DataFrame, rng: random.Random
) -> list[tuple[datetime, dict[str, Any], dict[str, Any] | None]]:
    """What is sent, and when: orders, and events up to a day late, a tenth of them twice."""
    messages: list[tuple[datetime, dict[str, Any], dict[str, Any] | None]] = []
    rows = {row["shipment_id"]: row for row in shipments.to_dict("records")}
    for number, row in enumerate(rows.values()):
        row["tracking_number"] = f"{number:08d}" if isinstance(row["carrier"], str) else None
    for event in events.to_dict("records"):
        row = rows[event["shipment_id"]]
        received = event["received_at"].to_pydatetime(warn=False)
        if event["event_code"] == "order_created":
            messages.append((received, _shipment(row, event["occurred_at"]), None))
            continue
        by_number = row["tracking_number"] and rng.random() < 0.7
        named = (
            {"carrier_code": row["carrier"], "tracking_number": row["tracking_number"]}
            if by_number
            else {"external_id": row["shipment_id"]}
        )
        scan = {
            **named,
            "event_code": event["event_code"],
            "occurred_at": event["occurred_at"].isoformat(),
            "place": _text(event["place"]),
        }
        body = {name: value for name, value in scan.items() if value is not None}
        messages.append((received + timedelta(hours=24 * rng.random()), row, body))
        if rng.random() < 0.1:
            messages.append((received + timedelta(hours=96 * rng.random()), row, body))
    # Whoever names a shipment by the shop's own number has registered it before.
    ordered = {body["external_id"]: at for at, body, event in messages if event is None}
    return sorted(
        (
            (
                max(at, ordered[event["external_id"]]) if event and "external_id" in event else at,
                body,
                event,
            )
            for at, body, event in messages
        ),
        key=lambda message: (message[0], message[2] is not None),
    )


def _shipment(row: dict[str, Any], ordered_at: pd.Timestamp) -> dict[str, Any]:
    ends = {
        f"{end}_address": {
            api_name: _text(row[f"{end}_{column}"])
            for api_name, column in (
                ("country", "country"),
                ("state", "region"),
                ("postal_code", "postcode"),
            )
        }
        for end in ("origin", "destination")
    }
    body = {
        "external_id": row["shipment_id"],
        "carrier_code": _text(row["carrier"]),
        "service_code": _text(row["service_level"]),
        "tracking_number": row["tracking_number"],
        "order_time": ordered_at.isoformat(),
        "weight": None if pd.isna(row["weight_kg"]) else {"value": row["weight_kg"], "unit": "kg"},
        "order_promised_delivery_date": None
        if pd.isna(row["promised_on"])
        else str(row["promised_on"])[:10],
        **ends,
    }
    return {name: value for name, value in body.items() if value is not None}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _observe(client: httpx2.Client, app: FastAPI, external_ids: list[str]) -> Observation:
    """The stored states and the forecasts, now."""
    store = app.state.resources.store
    safe_now = store.safe_now()
    with store.snapshot() as session:
        shipments = {
            shipment.shipment_id: shipment.external_id for shipment in session.all_shipments(TENANT)
        }
        states = {
            str(shipments[state.shipment_id]): _comparable(state)
            for state in session.states(TENANT, shipments)
        }
    answered = client.get("/v1/shipments", params={"external_ids": ",".join(external_ids)})
    answered.raise_for_status()
    body = answered.json()
    return Observation(
        safe_now,
        states,
        datetime.fromisoformat(body["as_of"]),
        {shipment["external_id"]: shipment["forecast"] for shipment in body["results"]},
    )


def _comparable(state: StoredState) -> tuple[Any, ...]:
    times = tuple(getattr(state, name) for name in _TIMES)
    return (
        state.status,
        state.phase,
        bool(state.is_open),
        state.last_code,
        state.place,
        state.place_code,
        times,
        state.scan_count,
        state.exception_count,
    )


def _states_agree(timelines: Timelines, observation: Observation) -> bool:
    """The states of the batch path for that moment equal those that were stored then."""
    states = fold(timelines, AsOfPairs.all_at(timelines, to_instant(observation.as_of)))
    columns = [getattr(states, name).astype("datetime64[us]") for name in _TIMES]
    times = [
        [None if np.isnat(time) else int(time.astype(np.int64)) for time in column]
        for column in columns
    ]
    places, codes = states.place.texts(), (*EVENT_CODES, None)
    for row, name in enumerate(timelines.shipment_id):
        if not states.scan_count[row] or name not in observation.states:
            if states.scan_count[row] and name not in observation.states:
                # Sent for a number that nobody had registered: in the log, not yet a
                # shipment.
                continue
            if name in observation.states:
                return False
            continue
        batch = (
            STATUSES[states.status[row]].value,
            PHASES[states.phase[row]].value,
            bool(states.is_open[row]),
            codes[states.last_code[row]],
            places[row],
            codes[states.place_code[row]],
            tuple(column[row] for column in times),
            int(states.scan_count[row]),
            int(states.exception_count[row]),
        )
        if batch != observation.states[name]:
            return False
    return True


def _forecasts_agree(
    shipments: pd.DataFrame, events: pd.DataFrame, observation: Observation, current: Any
) -> tuple[int, int]:
    """How many forecasts equal those of the batch path, and how many there are."""
    ids = list(observation.forecasts)
    timelines = Timelines.from_frames(
        shipments[shipments["shipment_id"].isin(ids)], events[events["shipment_id"].isin(ids)]
    )
    answers = score_timelines(
        timelines,
        current.served,
        observation.forecast_as_of.astimezone(UTC),
        policy=DelayPolicy(),
        options=AssessmentOptions(),
    )
    carriers, services = (
        timelines.texts["carrier"].texts(),
        timelines.texts["service_level"].texts(),
    )
    batch = {
        name: json.loads(
            to_json(to_prediction(answer, current, AssessmentOptions(), carrier, service))
        )
        for name, answer, carrier, service in zip(
            timelines.shipment_id, answers, carriers, services, strict=True
        )
    }
    return sum(batch[name] == forecasts for name, forecasts in observation.forecasts.items()), len(
        observation.forecasts
    )

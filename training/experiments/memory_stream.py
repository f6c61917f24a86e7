"""Simulated shipments pushed through HTTP late, twice and in disorder; what is told meanwhile must equal the batch path, to the last bit."""

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
from eta.api.schemas.common import to_fields
from eta.calendars.local_time import to_instant
from eta.datasets.tabular import read_tabular
from eta.delays import DelayPolicy
from eta.forecast.handling_time import Handling
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import Dependence
from eta.forecast.support import Support
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import HabitHistory
from eta.journey.snapshots import snapshots_to_learn
from eta.journey.state import PHASES, STATUSES, Moments, fold
from eta.journey.timelines import EVENT_CODES, Timelines
from eta.model.bundle import pack
from eta.model.registry import Registry
from eta.service.analysis.simulate_data import simulate_parcels
from eta.service.scoring.assessment import Terms
from eta.service.scoring.score_shipments import score_timelines
from eta.service.storage.export import export_store
from eta.settings import Settings
from eta.simulation.scenario import DEFAULT
from eta.stage_durations import StageLaws
from eta.store.records import StoredState
from support.store import Clock

SHIPMENTS, MOMENTS, ASKED = 20_000, 100, 25
TENANT = "default"
_TIMES = (
    "ordered_at",
    "approved_at",
    "handed_over_at",
    "last_scan_at",
    "arrived_at",
    "given_up_at",
)


@dataclass(frozen=True)
class Seen:
    """What the service knew and said at a moment: states by shipment, and the forecasts of some shipments as JSON."""

    as_of: datetime
    states: dict[str, tuple[Any, ...]]
    told_as_of: datetime
    told: dict[str, dict[str, Any]]


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Pushes the shipments and compares."""
    shipments = max(int(SHIPMENTS * scale), 500)
    simulate_parcels(folder / "data", DEFAULT, shipments=shipments)
    imported = read_tabular(folder / "data")
    _learn(folder / "models", imported.shipments, imported.events)
    clock = Clock(imported.events["received_at"].min().to_pydatetime())
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
        sent, seen = _push(client, app, clock, imported.shipments, imported.events, MOMENTS)
        recorded = app.state.store.read(lambda session: export_store(session, TENANT))
        current = app.state.serving.current
    timelines = Timelines.from_frames(recorded.shipments, recorded.events)
    states_equal = sum(
        _states_agree(timelines, moment) for moment in track(seen, "comparing states")
    )
    forecasts = [
        _forecasts_agree(recorded.shipments, recorded.events, moment, current)
        for moment in track(seen, "comparing forecasts")
    ]
    return {
        "ok": states_equal == len(seen) and all(equal == asked for equal, asked in forecasts),
        "stream_shipments": shipments,
        "stream_events_sent": sent,
        "stream_events_stored": len(recorded.events),
        "moments": len(seen),
        "states_equal": states_equal,
        "states_compared": sum(len(moment.states) for moment in seen),
        "forecasts_equal": sum(equal for equal, _ in forecasts),
        "forecasts_compared": sum(asked for _, asked in forecasts),
    }


def _learn(models: Path, shipments: pd.DataFrame, events: pd.DataFrame) -> None:
    """A small model of what was known half-way."""
    timelines = Timelines.from_frames(shipments, events)
    as_of = events["received_at"].quantile(0.5).to_pydatetime()
    instant = to_instant(as_of)
    lessons = examples(snapshots_to_learn(timelines, instant), Outcomes.at(timelines, instant))
    model = HazardModel(trees=30).fit(lessons)
    laws = StageLaws.learn(
        timelines, fold(timelines, Moments.all_at(timelines, instant)), instant, level=0.95
    )
    facts, files = pack(
        model,
        HabitHistory.of_all(timelines).at(instant),
        laws,
        Support.learn(lessons),
        Handling(),
        Dependence(),
    )
    data = {"source": "simulated", "sha256": timelines.digest(instant), "examples": len(lessons)}
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
) -> tuple[int, list[Seen]]:
    chance = random.Random(5)  # noqa: S311  # a seed is the point
    to_tell = _told(shipments, events, chance)
    stops = set(chance.sample(range(len(to_tell)), moments))
    registered, seen, batch, sent = list[str](), list[Seen](), list[dict[str, Any]](), 0

    def flush() -> None:
        nonlocal sent
        if batch:
            answered = client.post("/v1/events", json={"events": batch})
            answered.raise_for_status()
            refused = [entry for entry in answered.json()["results"] if "problem" in entry]
            if refused:
                raise RuntimeError(f"refused: {refused[0]}")
            sent += len(batch)
            batch.clear()

    size = chance.randrange(1, 400)
    for number, (at, shipment, event) in enumerate(track(to_tell, "pushing")):
        # What is told is told at its time, or a little later with others.
        if event is None or len(batch) >= size:
            flush()
            size = chance.randrange(1, 400)
        clock.now = max(clock.now, at)
        if event is None:
            client.post("/v1/shipments", json=shipment).raise_for_status()
            registered.append(shipment["external_id"])
        else:
            batch.append(event)
        if number in stops:
            flush()
            seen.append(_look(client, app, chance.sample(registered, min(ASKED, len(registered)))))
    flush()
    return sent, seen


def _told(
    shipments: pd.DataFrame, events: pd.DataFrame, chance: random.Random
) -> list[tuple[datetime, dict[str, Any], dict[str, Any] | None]]:
    """What is sent, and when: orders, and scans up to a day later than they were received, a tenth of them again."""
    told: list[tuple[datetime, dict[str, Any], dict[str, Any] | None]] = []
    rows = {row["shipment_id"]: row for row in shipments.to_dict("records")}
    for number, row in enumerate(rows.values()):
        row["tracking_number"] = f"{number:08d}" if isinstance(row["carrier"], str) else None
    for event in events.to_dict("records"):
        row = rows[event["shipment_id"]]
        received = event["received_at"].to_pydatetime(warn=False)
        if event["event_code"] == "order_created":
            told.append((received, _shipment(row, event["occurred_at"]), None))
            continue
        by_number = row["tracking_number"] and chance.random() < 0.7
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
        sent = {name: value for name, value in scan.items() if value is not None}
        told.append((received + timedelta(hours=24 * chance.random()), row, sent))
        if chance.random() < 0.1:
            told.append((received + timedelta(hours=96 * chance.random()), row, sent))
    # Whoever names a shipment by the shop's own number has registered it before.
    ordered = {sent["external_id"]: at for at, sent, event in told if event is None}
    return sorted(
        (
            (
                max(at, ordered[event["external_id"]]) if event and "external_id" in event else at,
                sent,
                event,
            )
            for at, sent, event in told
        ),
        key=lambda each: (each[0], each[2] is not None),
    )


def _shipment(row: dict[str, Any], ordered_at: pd.Timestamp) -> dict[str, Any]:
    ends = {
        f"{end}_address": {
            theirs: _text(row[f"{end}_{ours}"])
            for theirs, ours in (
                ("country", "country"),
                ("state", "region"),
                ("postal_code", "postcode"),
            )
        }
        for end in ("origin", "destination")
    }
    sent = {
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
    return {name: value for name, value in sent.items() if value is not None}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _look(client: httpx2.Client, app: FastAPI, external_ids: list[str]) -> Seen:
    """What is stored, and what is told, now."""
    store = app.state.store
    as_of = store.as_of()
    with store.snapshot() as session:
        shipments = {each.shipment_id: each.external_id for each in session.all_shipments(TENANT)}
        states = {
            str(shipments[state.shipment_id]): _comparable(state)
            for state in session.states(TENANT, shipments)
        }
    answered = client.get("/v1/shipments", params={"external_ids": ",".join(external_ids)})
    answered.raise_for_status()
    told = answered.json()
    return Seen(
        as_of,
        states,
        datetime.fromisoformat(told["as_of"]),
        {each["external_id"]: each["forecast"] for each in told["results"]},
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


def _states_agree(timelines: Timelines, seen: Seen) -> bool:
    """The states that the batch path folds from the whole log for that moment are those that were stored then."""
    states = fold(timelines, Moments.all_at(timelines, to_instant(seen.as_of)))
    columns = [getattr(states, name).astype("datetime64[us]") for name in _TIMES]
    times = [
        [None if np.isnat(time) else int(time.astype(np.int64)) for time in column]
        for column in columns
    ]
    places, codes = states.place.texts(), (*EVENT_CODES, None)
    for row, name in enumerate(timelines.shipment_id):
        if not states.is_known[row] or name not in seen.states:
            if states.is_known[row] and name not in seen.states:
                # Told of by a number that nobody had registered: known to the log, not yet a
                # shipment.
                continue
            if name in seen.states:
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
        if batch != seen.states[name]:
            return False
    return True


def _forecasts_agree(
    shipments: pd.DataFrame, events: pd.DataFrame, seen: Seen, current: Any
) -> tuple[int, int]:
    """How many forecasts that were told are those of the batch path, and how many were told."""
    ids = list(seen.told)
    timelines = Timelines.from_frames(
        shipments[shipments["shipment_id"].isin(ids)], events[events["shipment_id"].isin(ids)]
    )
    answers = score_timelines(
        timelines,
        current.served,
        seen.told_as_of.astimezone(UTC),
        policy=DelayPolicy(),
        terms=Terms(),
    )
    carriers, services = (
        timelines.texts["carrier"].texts(),
        timelines.texts["service_level"].texts(),
    )
    batch = {
        name: json.loads(to_json(to_fields(answer, current, Terms(), carrier, service)))
        for name, answer, carrier, service in zip(
            timelines.shipment_id, answers, carriers, services, strict=True
        )
    }
    return sum(batch[name] == told for name, told in seen.told.items()), len(seen.told)

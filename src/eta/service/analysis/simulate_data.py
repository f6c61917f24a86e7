"""Writes simulated parcels into a folder that every command reads, with the truth beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from eta import __version__
from eta.files import write_atomically
from eta.simulation.scenario import Scenario
from eta.simulation.simulate import Progress, Simulated, simulate
from eta.simulation.truth import EVENTS_FILE, SCENARIO_FILE, SHIPMENTS_FILE, parquet


def simulate_data(
    folder: Path,
    scenario: Scenario,
    *,
    shipments: int,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Simulates parcels into a folder and returns figures of what was written.

    Each file is written whole or not at all. The scenario file is last and marks the folder as
    complete.
    """
    scenario_file = folder / SCENARIO_FILE
    simulated = simulate(scenario, shipments=shipments, seed=seed, progress=progress)
    files = {
        SHIPMENTS_FILE: parquet(simulated.shipments),
        EVENTS_FILE: parquet(simulated.events),
        **simulated.truth.files(),
    }
    # The scenario file of an earlier run does not describe the new files.
    scenario_file.unlink(missing_ok=True)
    for number, (name, content) in enumerate(files.items()):
        progress(f"writing {name}", number, len(files))
        write_atomically(folder / name, content)
    figures = _figures(simulated, scenario, scenario.seed if seed is None else seed)
    write_atomically(scenario_file, json.dumps(figures, indent=1, allow_nan=False).encode() + b"\n")
    progress("written", len(files), len(files))
    return figures


def _figures(simulated: Simulated, scenario: Scenario, seed: int) -> dict[str, Any]:
    shipments, journeys = simulated.shipments, simulated.truth.journeys
    is_cross_border = shipments["origin_country"] != shipments["destination_country"]
    has_wrong_number = journeys["wrong_number"].notna()
    figures: dict[str, Any] = {"simulated": True, "eta_version": __version__}
    figures["scenario"] = scenario.to_json()
    figures["seed"] = seed
    figures["shipments"] = len(shipments)
    figures["events"] = len(simulated.events)
    figures["cross_border_share"] = float(np.mean(is_cross_border))
    figures["misrouted_share"] = float(journeys["is_misrouted"].mean())
    figures["lost_share"] = float(journeys["is_lost"].mean())
    figures["wrong_number_share"] = float(has_wrong_number.mean())
    return figures


def holds_simulated_data(folder: Path) -> bool:
    """Whether the folder holds simulated parcels."""
    return (folder / SCENARIO_FILE).is_file()


def is_simulated(folder: Path, scenario: Scenario, shipments: int) -> bool:
    """Whether the folder holds exactly these parcels, with the scenario's seed."""
    try:
        figures = json.loads((folder / SCENARIO_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    expected = {
        "eta_version": __version__,
        "scenario": scenario.to_json(),
        "seed": scenario.seed,
        "shipments": shipments,
    }
    return {name: figures.get(name) for name in expected} == expected

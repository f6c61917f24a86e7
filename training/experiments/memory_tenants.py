"""Two tenants' requests, interleaved: each is answered as if it were alone, and nobody is let in without the right key."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.progress import track

from support.tenants import count_differing_answers, count_unauthorized

RUNS, STEPS = 40, 60


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Runs many random sequences, and asks for everything without a key, with a wrong one and with one that lacks the scope."""
    runs = max(int(RUNS * scale), 2)
    differing = 0
    for seed in track(range(runs), "two tenants"):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            differing += count_differing_answers(Path(name), seed, STEPS)
    attempts, opened = count_unauthorized(folder)
    return {
        "ok": differing == opened == 0 and attempts > 0,
        "tenant_requests": runs * STEPS,
        "tenant_crossed": differing,
        "keyless": attempts,
        "keyless_let_in": opened,
    }

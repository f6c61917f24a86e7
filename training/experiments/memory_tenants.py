"""Two tenants' interleaved requests are answered as if alone, and only with the right key."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.progress import track

from support.tenants import count_differing_answers, count_unauthorized

RUNS, STEPS = 40, 60


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Runs random sequences, and every operation with no, a wrong and an insufficient key."""
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

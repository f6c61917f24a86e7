"""Claim: no acknowledged event is lost or duplicated, whatever process or disk fails.

Seven experiments, each against the product as it is installed:

* stream: simulated shipments pushed through HTTP late, twice and in disorder; at random moments the
  states and forecasts must equal, to the last bit, those of the batch path for the same
  moment, computed afterwards from the log.
* kills: `kill -9` of a server under load, again and again, on SQLite and PostgreSQL; what was
  acknowledged must be there once.
* commits: the connection to PostgreSQL is cut at COMMIT, before it or between it and its answer, at
  random moments; no write may be lost or recorded twice, and each caller must be answered rightly.
* cuts: power cuts on a disk that loses, tears and reorders what was not synced; the control,
  synchronous = NORMAL, must lose.
* crashes: the process dies at each single write to the disk, of one ingestion and of one migration.
* full: a full disk rejects writes, answers reads, and accepts writes again once there is space.
* tenants: two tenants' requests interleaved; each must be answered as if it were alone, and nobody
  without the right key.

The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness
import memory_commits
import memory_crashes
import memory_kills
import memory_stream
import memory_tenants

PARTS = {
    "stream": memory_stream.run,
    "kills": memory_kills.run,
    "commits": memory_commits.run,
    "cuts": memory_crashes.run_cuts,
    "crashes": memory_crashes.run_crashes,
    "full": memory_crashes.run_full,
    "tenants": memory_tenants.run,
}


def main() -> int:
    """Runs the experiments and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="which experiments, comma-separated"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the claim; less is quicker")
    args = parser.parse_args()
    started, verdict = perf_counter(), dict[str, Any](ok=True)
    for part in args.parts.split(","):
        with tempfile.TemporaryDirectory() as name:
            figures = PARTS[part](Path(name), args.scale)
        harness.report_progress(f"{part} {json.dumps(figures)}")
        is_part_ok = bool(figures.pop("ok"))
        verdict |= figures
        verdict["ok"] &= is_part_ok
    verdict["seconds"] = round(perf_counter() - started)
    return harness.print_verdict("memory", **verdict)


if __name__ == "__main__":
    sys.exit(main())

"""The memory of commands."""

from __future__ import annotations

import subprocess
import sys

#: Fills and frees memory as bodies do, and prints the resident megabytes that stay.
PROGRAM = """
from pathlib import Path
from eta.cli.memory import give_back_bodies

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

give_back_bodies()
before, kept = resident(), []
bodies = []
for _ in range(1500):
    bodies.append(b"x" * 65_536)
    kept.append(b"x" * (600 + len(kept) % 9))
del bodies
print(resident() - before)
"""


def test_the_memory_of_large_bodies_is_given_back() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # ours
    assert float(done.stdout) < 20

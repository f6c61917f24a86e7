"""``eta repair``."""

from __future__ import annotations

from typing import Annotated

import typer

from eta import bootstrap
from eta.calendars.local_time import from_microseconds
from eta.cli.inputs import load_settings
from eta.cli.tables import out
from eta.domain.errors import InvalidValue
from eta.service.storage.repair_clock import repair_clock
from eta.store.stamps import WrongStamps

Clock = Annotated[
    bool, typer.Option("--clock", help="Repair the times at which rows were recorded.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


def repair(clock: Clock = False, dry_run: DryRun = False) -> None:
    """Correct the times that a wrong clock has left in the store.

    Check the machine's clock first, and stop every `eta serve`.
    """
    if not clock:
        raise InvalidValue("--clock", "it is not said what to repair", "add --clock")
    now = bootstrap.wall_clock()
    engine = bootstrap.store_engine(load_settings("store"))
    wrong = repair_clock(engine, now, dry_run=dry_run)
    out.print(f"the clock shows {now.isoformat(timespec='seconds')}")
    for name, count in wrong.counts.items():
        out.print(f"{count:>9,}  {name}")
    out.print(_summary(wrong, "would move" if dry_run else "moved"))


def _summary(wrong: WrongStamps, verb: str) -> str:
    if not wrong.moves:
        return f"{verb} the last commit to now" if wrong.is_clock_wrong else "no time is later"
    before, after = sorted(wrong.moves), sorted(wrong.moves.values())
    ends = [from_microseconds(time).isoformat() for time in (before[0], before[-1], after[0])]
    return f"{verb} {len(before):,} times of {ends[0]} to {ends[1]}, in their order, to {ends[2]}"

"""Sets stamps right that a wrong clock has left in the future."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

from eta.calendars.local_time import microseconds
from eta.store.engine import Engine, translate_outages
from eta.store.migrations import migrate
from eta.store.stamps import WrongStamps, find_wrong_stamps, move_stamps


def repair_clock(engine: Engine, now: datetime, *, dry_run: bool) -> WrongStamps:
    """Moves stamps that are later than ``now`` in one transaction; only finds them if ``dry_run``.

    Raises:
        StoreLocked: if another process writes to the store.
        StoreUnavailable, StoreRejected: if it cannot be used.
    """
    instant = microseconds(now)
    with closing(engine), translate_outages(engine), closing(engine.writer()) as connection:
        migrate(connection, engine)
        connection.begin(writes=True)
        try:
            wrong = find_wrong_stamps(connection, instant)
            if not dry_run:
                move_stamps(connection, wrong, instant)
                connection.commit()
        finally:
            connection.rollback()
    return wrong

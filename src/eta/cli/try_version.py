"""The process that tries a model version before another one opens it.

``python -m eta.cli.try_version FOLDER NAME`` is for the program itself, so it is no command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from eta import bootstrap
from eta.domain.errors import EtaError
from eta.model.registry import Registry
from eta.model.trial import MEMORY_BYTES, limit_this_process, report
from eta.service.estimates.warm_up import warm_up
from eta.settings import Settings


def main(arguments: Sequence[str]) -> None:
    """Tries a version and prints what is wrong with it."""
    folder, name = Path(arguments[0]), arguments[1]
    limit_this_process()
    sys.stdout.write(report(problem_of(folder, name)))


def problem_of(folder: Path, name: str) -> str | None:
    """What is wrong with a version that is opened and answers every kind of question."""
    try:
        version = Registry(folder).load(name)
        served = bootstrap.load_model(version, Settings(models=folder))
        warm_up(served, version.data_through)
    except EtaError as error:
        return str(error)
    except MemoryError:
        return f"model version {name} takes more than {MEMORY_BYTES // 2**20:,} MiB of memory"
    except Exception as error:  # noqa: BLE001  # whatever it is, the version is refused
        return f"model version {name} cannot predict: {type(error).__name__}"
    return None


if __name__ == "__main__":
    main(sys.argv[1:])

"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eta import bootstrap
from eta.evaluation.backtest import Refit

NEWEST_VERSION = "newest"
SOURCE = bootstrap.DEFAULT_SOURCE

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder of the data, or `store:` for the shipments that the service has recorded.",
        show_default=False,
    ),
]
OneTenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="With `store:`, learn from this tenant alone."),
]
AllTenants = Annotated[
    bool, typer.Option("--all-tenants", help="With `store:`, learn from all tenants together.")
]
Folder = Annotated[
    Path, typer.Argument(metavar="OUT", help="Folder to write to.", show_default=False)
]
Source = Annotated[str, typer.Option(help=f"Layout of the data: {', '.join(bootstrap.SOURCES)}.")]
Quarantine = Annotated[
    Path | None,
    typer.Option(
        help="File for rejected rows, written only if there are any;"
        " default: quarantine.csv in ETA_HOME."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with [model], [delays] and [quality]; see training/train.toml."),
]
AcceptClock = Annotated[
    bool,
    typer.Option(
        "--accept-clock",
        help="Write after a long idle time too: you have checked the clock.",
    ),
]
Jobs = Annotated[int, typer.Option(metavar="N", min=1, help="Processes to use.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the same figures to this file.")
]
Version = Annotated[
    str, typer.Argument(help=f"Name of a version, or {NEWEST_VERSION}.", show_default=False)
]
RefitEvery = Annotated[Refit, typer.Option(help="How often `eta` is fitted again.")]

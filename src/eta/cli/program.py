"""The program ``eta``: its commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from eta import __version__
from eta.cli.backtest import backtest
from eta.cli.models import compare, list_models, promote, rollback, show
from eta.cli.promise import simulate_policy
from eta.cli.repair import repair
from eta.cli.score import score
from eta.cli.serve import serve
from eta.cli.simulate import demo, simulate
from eta.cli.store import backup, erase, export, ingest, key, restore
from eta.cli.tables import err, out
from eta.cli.train import train, update
from eta.domain.errors import EtaError


class _Command(NamedTuple):
    """A command, the users it is for, and an example that works once the demo has run."""

    run: Callable[..., None]
    users: str
    example: str


_FIRST, _CHECKOUT = "First look", "Checkout and notifier"
_ANALYSTS, _OPERATIONS = "Analysts", "Operations"

#: Commands by the group they belong to, in the order of help; None for the program itself.
_COMMANDS: dict[str | None, dict[str, _Command]] = {
    None: {
        "demo": _Command(demo, _FIRST, "--picture forecast.png"),
        "simulate": _Command(simulate, _FIRST, "parcels --shipments 20000"),
        "serve": _Command(serve, _CHECKOUT, "--demo --port 8000"),
        "score": _Command(score, _CHECKOUT, "models/demo --as-of 2025-11-27 --out flags.csv"),
        "train": _Command(train, _ANALYSTS, "models/demo --as-of 2025-11-27"),
        "update": _Command(update, _ANALYSTS, "models/demo --as-of 2025-12-05"),
        "backtest": _Command(backtest, _ANALYSTS, "models/demo --from 2025-12-01 --to 2025-12-07"),
        "ingest": _Command(ingest, _OPERATIONS, "models/demo --tenant shop"),
        "export": _Command(export, _OPERATIONS, "exported --tenant shop"),
        "backup": _Command(backup, _OPERATIONS, "all.sqlite"),
        "restore": _Command(restore, _OPERATIONS, "all.sqlite"),
        "erase": _Command(erase, _OPERATIONS, "sim0000000 --tenant shop"),
        "repair": _Command(repair, _OPERATIONS, "--clock --dry-run"),
        "key": _Command(key, _OPERATIONS, "--tenant shop --scope ingest --scope read"),
    },
    "models": {
        "list": _Command(list_models, _ANALYSTS, "--json versions.json"),
        "show": _Command(show, _ANALYSTS, "newest"),
        "compare": _Command(compare, _ANALYSTS, "newest newest"),
        "promote": _Command(promote, _ANALYSTS, "newest"),
        "rollback": _Command(rollback, _ANALYSTS, ""),
    },
    "promise": {
        "simulate": _Command(
            simulate_policy,
            _ANALYSTS,
            "models/demo --from 2025-11-01 --to 2025-11-30",
        ),
    },
}
_GROUP_HELP = {
    None: "Delivery dates that people can trust.",
    "models": "List, compare, promote and roll back model versions.",
    "promise": "Try promise policies on past orders.",
}
_STATUS_FORESEEN = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command line.

    Every foreseen error is one line on standard error, and the exit status is 2.
    """
    try:
        app(args=arguments, prog_name="eta", standalone_mode=True)
        return
    except EtaError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'file'}: {error.strerror}"
    err.print(f"[red]error:[/] {escape(message)}")
    sys.exit(_STATUS_FORESEEN)


def _print_version(value: bool) -> None:
    if value:
        out.print(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """The options of the program itself; ``_print_version`` handles the only one."""


def _group(name: str | None, **options: Any) -> typer.Typer:
    group = typer.Typer(
        name=name or "eta",
        help=_GROUP_HELP[name],
        no_args_is_help=True,
        rich_markup_mode="markdown",
        **options,
    )
    path = "eta" if name is None else f"eta {name}"
    for command_name, command in _COMMANDS[name].items():
        example = f"Example: {path} {command_name} {command.example}".rstrip()
        add = group.command(command_name, rich_help_panel=command.users, epilog=example)
        add(command.run)
    return group


app = _group(None, add_completion=False, pretty_exceptions_enable=False)
app.callback(help=_GROUP_HELP[None])(_root)
app.add_typer(_group("models"), rich_help_panel=_ANALYSTS)
app.add_typer(_group("promise"), rich_help_panel=_ANALYSTS)

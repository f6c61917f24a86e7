"""The program ``eta``: its commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from eta import __version__
from eta.cli.backtest import backtest
from eta.cli.models import compare, list_models, promote, rollback, show
from eta.cli.promise import simulate_policy
from eta.cli.score import score
from eta.cli.serve import serve
from eta.cli.simulate import demo, simulate
from eta.cli.store import backup, erase, export, ingest, key, restore
from eta.cli.tables import err, out
from eta.cli.train import train, update
from eta.domain.errors import EtaError

#: Commands by the group they belong to; None for the program itself.
_COMMANDS: dict[str | None, dict[str, Callable[..., None]]] = {
    None: {
        "demo": demo,
        "simulate": simulate,
        "train": train,
        "update": update,
        "backtest": backtest,
        "score": score,
        "serve": serve,
        "ingest": ingest,
        "export": export,
        "backup": backup,
        "restore": restore,
        "erase": erase,
        "key": key,
    },
    "models": {
        "list": list_models,
        "show": show,
        "promote": promote,
        "rollback": rollback,
        "compare": compare,
    },
    "promise": {"simulate": simulate_policy},
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
        rich_markup_mode=None,
        **options,
    )
    for command_name, command in _COMMANDS[name].items():
        group.command(command_name)(command)
    return group


app = _group(None, add_completion=False, pretty_exceptions_enable=False)
app.callback(help=_GROUP_HELP[None])(_root)
app.add_typer(_group("models"))
app.add_typer(_group("promise"))

"""The command `firstspike`: a table of its subcommands, one module each. What is slow to import is imported when it is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from .check import check_command
from .data import data_command
from .doctor import backends_command, doctor_command
from .emulate import emulate_command
from .evaluate import eval_command
from .look import plot_command, profile_command
from .train import train_command

EXAMPLES = """Examples:

firstspike train examples/mnist-mlp.toml --set epochs=5

firstspike eval runs/mnist-mlp

firstspike emulate runs/mnist-mlp --profile loihi-like

firstspike doctor"""

app = typer.Typer(
    name="firstspike",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Time-to-first-spike spiking neural networks: train, measure, run on emulated chips.",
    epilog=EXAMPLES,
)


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        typer.echo(f"firstspike {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


TRAIN, CHIP, ABOUT = "Train and measure", "Emulated chips", "Data and installation"
app.command("train", rich_help_panel=TRAIN)(train_command)
app.command("eval", rich_help_panel=TRAIN)(eval_command)
app.command("plot", rich_help_panel=TRAIN)(plot_command)
app.command("profile", rich_help_panel=TRAIN)(profile_command)
app.command("check", rich_help_panel=CHIP)(check_command)
app.command("emulate", rich_help_panel=CHIP)(emulate_command)
app.command("data", rich_help_panel=ABOUT)(data_command)
app.command("doctor", rich_help_panel=ABOUT)(doctor_command)
app.command("backends", rich_help_panel=ABOUT)(backends_command)

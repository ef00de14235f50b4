"""The command `firstspike`: its subcommands, one module per section of the help. Slow imports wait until they are needed."""

from __future__ import annotations

from typing import Annotated

import typer

from .about import data_command, doctor_command
from .chips import check_command, emulate_command
from .convert import convert_command
from .train import eval_command, plot_command, profile_command, train_command

TRAIN, CHIP, ABOUT = "Train and measure", "Emulated chips", "Data and installation"
# Name, section of the help, function, examples.
COMMANDS = (
    (
        "train", TRAIN, train_command,
        "firstspike train examples/digits.toml",
        "firstspike train examples/mnist-mlp.toml --set epochs=5 --directory runs/short",
        "firstspike train run.toml --images pictures",
    ),
    (
        "convert", TRAIN, convert_command,
        "firstspike convert net.onnx --dataset mnist",
        "firstspike convert net.onnx --images pictures --white 255 --steps 64 --output runs/converted",
    ),
    ("eval", TRAIN, eval_command, "firstspike eval runs/digits", "firstspike eval mnist-cnn --json"),
    ("plot", TRAIN, plot_command, "firstspike plot runs/digits --sample 3", "firstspike plot digits-cnn --format svg"),
    (
        "profile", TRAIN, profile_command,
        "firstspike profile runs/digits",
        "firstspike profile mnist-mlp --energy loihi-davies2018",
    ),
    (
        "check", CHIP, check_command,
        "firstspike check examples/digits.toml",
        "firstspike check examples/digits.toml --profile odin-like --set encoder=latency",
        "firstspike check run.toml --images pictures --profile my-chip.toml",
    ),
    (
        "emulate", CHIP, emulate_command,
        "firstspike emulate runs/digits --profile loihi-like --output report",
        "firstspike emulate mnist-cnn --bits 4 --finetune 1 --limit 1000",
        "firstspike emulate digits-cnn --profile loihi-like --export-c chip",
        "firstspike emulate report/program.safetensors --images pictures",
    ),
    ("data", ABOUT, data_command, "firstspike data", "firstspike data cifar10 --data /data --offline"),
    ("doctor", ABOUT, doctor_command, "firstspike doctor", "firstspike doctor --json"),
)  # fmt: skip


def _shown(*examples: str) -> str:
    """Return examples as the end of a help text, one per line."""
    return "\n\n".join(("Examples:", *examples))


app = typer.Typer(
    name="firstspike",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Time-to-first-spike spiking neural networks: train, measure, run on emulated chips.",
    epilog=_shown(*(entry[3] for entry in COMMANDS)),
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


for _name, _section, _function, *_examples in COMMANDS:
    app.command(_name, rich_help_panel=_section, epilog=_shown(*_examples))(_function)

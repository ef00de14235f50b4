"""The command `firstspike`: a table of its subcommands. What is slow to import is imported when it is needed."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .train import Metrics

app = typer.Typer(
    name="firstspike", no_args_is_help=True, add_completion=False, help="Time-to-first-spike spiking neural networks."
)
Folder = Annotated[Path | None, typer.Option("--data", help="Folder that holds the data sets.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("train")
def train_command(
    config: Annotated[Path, typer.Argument(help="TOML file with the settings.")],
    directory: Annotated[
        Path | None, typer.Option(help="Where the run is kept; by default runs/NAME_OF_CONFIG.", show_default=False)
    ] = None,
    data: Folder = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace a setting; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier call was broken off, or start over.")] = True,
    progress: Annotated[bool, typer.Option(help="Show progress on stderr.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train a net. Broken off at any time and called again, it goes on after its last finished epoch.

    Under torchrun, the processes share each batch: torchrun --nproc-per-node=2 -m firstspike train run.toml
    """
    with _errors():
        from . import train

        settings = train.Config.from_toml(config, dict(_change(text) for text in changes or ()))
        folder = directory or Path("runs") / config.stem
        try:
            with _terminated_as_interrupted():
                result = train.fit(settings, directory=folder, root=data, resume=resume, progress=progress)
        except KeyboardInterrupt:
            typer.echo(f"broken off; the same command goes on after the last finished epoch ({folder})", err=True)
            raise typer.Exit(130) from None
    if int(os.environ.get("RANK", "0")) > 0:  # under torchrun one process tells the result
        return
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    best, memory = f"{result.best.accuracy:.2%}", f"{result.peak_memory / 2**20:.0f} MiB"
    typer.echo(f"{settings.data}, {settings.spec}: test set after epoch {settings.epochs}, the best epoch had {best}")
    _print_metrics(result.test)
    typer.echo(f"{result.parameters:,} parameters, {result.seconds:.1f} s, peak {memory}; kept in {folder}")


@app.command("eval")
def eval_command(
    path: Annotated[Path, typer.Argument(help="A run's directory, or its model.safetensors.")],
    data: Folder = None,
    split: Annotated[str, typer.Option(help="Which images: test or train.")] = "test",
    as_json: AsJson = False,
) -> None:
    """Measure a trained net: accuracy, steps to decision, spikes."""
    with _errors():
        from . import data as data_sets
        from . import train

        if split not in ("test", "train"):
            raise ValueError(f"split must be test or train, got {split!r}")
        trained = train.load_model(path)
        dataset = data_sets.load(trained.config.data, root=data, train=split == "train")
        metrics = train.evaluate(trained.model, dataset, normalize=trained.normalize)
    if as_json:
        typer.echo(json.dumps(metrics.to_dict()))
        return
    typer.echo(f"{trained.config.data} {split}, {trained.config.spec} after epoch {trained.epoch}")
    _print_metrics(metrics)


@app.command("data")
def data_command(
    names: Annotated[list[str] | None, typer.Argument(help="By default digits, mnist, fashion-mnist.")] = None,
    data: Folder = None,
    download: Annotated[bool, typer.Option(help="Fetch what is not there.")] = True,
) -> None:
    """Find, fetch and check data sets."""
    with _errors():
        from . import data as data_sets

        missing = []
        for name in names or ["digits", "mnist", "fashion-mnist"]:
            try:
                parts = [data_sets.load(name, root=data, train=train, download=download) for train in (True, False)]
            except data_sets.NotAvailable as error:
                missing.append(str(error))
                continue
            shape = " x ".join(map(str, parts[0].input_shape))
            typer.echo(f"{name}: {len(parts[0])} + {len(parts[1])} images of {shape}, from {parts[0].source}")
        for message in missing:
            typer.echo(f"error: {message}", err=True)
        if missing:
            raise typer.Exit(1)


@app.command("backends")
def backends_command(as_json: AsJson = False) -> None:
    """Show what is compiled, which instruction set and device is in use, and why."""
    with _errors():
        from ._extension import backends

        found = backends()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, facts in found.items():
        typer.echo(name)
        for fact, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            typer.echo(f"  {fact.replace('_', ' '):<16} {text}")


@app.command(
    "emulate", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def emulate_command(context: typer.Context) -> None:
    """Run a trained net on an emulated neuromorphic chip."""
    from .emulator.cli import emulate

    command = typer.Typer(add_completion=False)
    command.command()(emulate)
    command(context.args, prog_name="firstspike emulate")


def _change(text: str) -> tuple[str, Any]:
    """ "name=value" as a pair; the value in TOML's notation, or else a text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set must be NAME=VALUE, got {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _print_metrics(metrics: Metrics) -> None:
    rows = [("accuracy", f"{metrics.accuracy:.2%} of {metrics.images} images"), ("loss", f"{metrics.loss:.4f}")]
    if metrics.steps_mean is not None:
        rows += [
            (
                "steps to decision",
                f"mean {metrics.steps_mean:.2f}, median {metrics.steps_median:g}, p95 {metrics.steps_p95:g}",
            ),
            ("ties", f"{metrics.ties:.2%}"),
            ("silent", f"{metrics.silent:.2%}"),
            ("spikes per neuron", f"{metrics.spikes_per_neuron:.3f}, {metrics.spikes_per_image:.0f} an image"),
            ("  by layer", ", ".join(f"{rate:.3f}" for rate in metrics.spikes_per_layer or ())),
        ]
    if metrics.pooled_twice is not None:
        rows.append(("pooled twice", f"{metrics.pooled_twice:.2%} of the max pools' units"))
    for name, value in rows:
        typer.echo(f"  {name:<18} {value}")


@contextmanager
def _errors() -> Iterator[None]:
    """Errors that the user can mend become one message and exit code 1; others keep their traceback."""
    from .data import NotAvailable
    from .train import Diverged

    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, NotAvailable, Diverged) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """A termination signal ends a run as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

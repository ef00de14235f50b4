"""`firstspike train`: train a net."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from ._shared import AsJson, Changes, DataFolder, Images, Offline, changed, errors, print_metrics, run_path


def train_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="TOML file with the settings.")],
    directory: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/NAME_OF_CONFIG.")] = None,
    data: DataFolder = None,
    images: Images = None,
    changes: Changes = None,
    resume: Annotated[bool, typer.Option(help="Resume an interrupted run, or start over.")] = True,
    init_from: Annotated[Path | None, typer.Option(help="Run or net whose weights the net starts with.")] = None,
    offline: Offline = False,
    progress: Annotated[bool, typer.Option(help="Show progress on stderr.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train a net. An interrupted run resumes after its last finished epoch when the command is run again.

    Under torchrun, the processes share each batch: torchrun --nproc-per-node=2 -m firstspike train run.toml
    """
    with errors():
        from .. import train

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run ends as with Ctrl-C
        settings = train.Config.from_toml(config, changed(changes))
        folder = directory or Path("runs") / config.stem
        try:
            result = train.fit(
                settings,
                directory=folder,
                root=data,
                images=images,
                init_from=None if init_from is None else run_path(init_from),
                resume=resume,
                progress=progress,
                download=False if offline else None,
            )
        except KeyboardInterrupt:
            typer.echo(f"Interrupted. Run the same command again to resume ({folder}).", err=True)
            raise typer.Exit(130) from None
    if int(os.environ.get("RANK", "0")) > 0:  # under torchrun one process prints the result
        return
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    name, best = result.run.data["test"].name, f"{result.best.accuracy:.2%}"
    typer.echo(f"{name}, {settings.spec}: test set after epoch {settings.epochs}; the best epoch had {best}")
    print_metrics(result.test)
    cost = f"{result.seconds:.1f} s, peak {result.peak_memory / 2**20:.0f} MiB"
    typer.echo(f"{result.parameters:,} parameters, {cost}; the run is in {folder}")

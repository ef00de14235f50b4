"""`firstspike check`: what a chip will refuse of a net, before it is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ._shared import AsJson, errors
from .train import _change

SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "dvs-gesture": (16, 32, 32),
}


def check_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="TOML file with the settings of a run.")],
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="generic8, loihi-like, odin-like, speck-like, or a TOML file; may be repeated. Default: all four."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace a setting; may be repeated.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(metavar="C,H,W", help="Shape of an image, where the data set is one of your own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a chip will refuse of a net, and which setting avoids it; nothing is trained, no data are read.

    Exit status: 0 where a profile takes the net (each one that --profile names), 1 where not.
    """
    with errors({r"^profile must": "--profile must"}):
        from .. import train
        from ..emulator import check
        from ..emulator import profile as profiles

        settings = train.Config.from_toml(config, dict(_change(text) for text in changes or ()))
        if settings.model != "ttfs":
            raise ValueError(f"{config} trains a net of model {settings.model!r}; only spiking nets run on chips")
        model = train.build_model(settings, input_shape=_shape(settings.data, input_shape))
        found = [check(model, name) for name in profile or profiles.names()]
    if as_json:
        typer.echo(json.dumps([one.to_dict() for one in found], indent=1))
    else:
        typer.echo("".join(one.text() for one in found), nl=False)
    fits = [one.fits for one in found]
    if not (all(fits) if profile else any(fits)):
        raise typer.Exit(1)


def _shape(data: str, given: str | None) -> tuple[int, ...]:
    if given is not None:
        try:
            shape = tuple(int(part) for part in given.split(","))
        except ValueError:
            shape = ()
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise ValueError(f"--input-shape must be C,H,W or N, such as 1,28,28, got {given!r}")
        return shape
    if data not in SHAPES:
        raise ValueError(f"--input-shape must be given: the shape of {data or 'the images'!r} is not known in advance")
    return SHAPES[data]

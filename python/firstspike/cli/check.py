"""`firstspike check`: what a chip will refuse of a net, before it is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._shared import AsJson, Images, errors
from .train import _change

if TYPE_CHECKING:
    from ..train import Config

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
        str | None,
        typer.Option(metavar="C,H,W", help="Shape of an image, or number of features, of data of your own."),
    ] = None,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Say what a chip will refuse of a net, and which setting avoids it; nothing is trained.

    Of the data only the shape of --images is read.

    Exit status: 0 if every profile that --profile names takes the net (without --profile: if at least one does), else 1.
    """
    with errors({r"^profile ": "--profile "}):
        from .. import train
        from ..emulator import check
        from ..emulator import profile as profiles

        settings = train.Config.from_toml(config, dict(_change(text) for text in changes or ()))
        if settings.model != "ttfs":
            raise ValueError(f"{config} trains a net of model {settings.model!r}; only spiking nets run on chips")
        model = train.build_model(settings, input_shape=_shape(settings, input_shape, images))
        found = [check(model, name) for name in profile or profiles.names()]
    if as_json:
        typer.echo(json.dumps([one.to_dict() for one in found], indent=1))
    else:
        typer.echo("".join(one.text() for one in found), nl=False)
    fits = [one.fits for one in found]
    if not (all(fits) if profile else any(fits)):
        raise typer.Exit(1)


def _shape(settings: Config, given: str | None, images: Path | None) -> tuple[int, ...]:
    if given is not None and images is not None:
        raise ValueError(f"--input-shape must be left out with --images, whose images have a shape, got {given!r}")
    if given is not None:
        try:
            shape = tuple(int(part) for part in given.split(","))
        except ValueError:
            shape = ()
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise ValueError(f"--input-shape must be C,H,W or N, such as 1,28,28, got {given!r}")
        return shape
    if images is not None:
        from ..data.images import image_shape

        if settings.data:
            raise ValueError(
                f"data = {settings.data!r} and --images {str(images)!r} name two data sets; drop one of them"
            )
        return image_shape(images, size=settings.image_size)
    if settings.data not in SHAPES:
        raise ValueError("--input-shape or --images must be given: the config names no data set, so no shape is known")
    return SHAPES[settings.data]

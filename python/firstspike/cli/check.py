"""`firstspike check`: what a chip will refuse of a net, before it is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._shared import AsJson, Changes, Images, changed, errors

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
    profile: Annotated[list[str] | None, typer.Option(help="By name, or a TOML file; by default all.")] = None,
    changes: Changes = None,
    input_shape: Annotated[str | None, typer.Option(metavar="C,H,W", help="Shape of data from elsewhere.")] = None,
    images: Images = None,
    as_json: AsJson = False,
) -> None:
    """Say what a chip will refuse of a net, and which setting avoids it; nothing is trained.

    Of the data only the shape of --images is read.

    Exit status: 0 if every profile that --profile names takes the net (without --profile: if at least one does), else 1.
    """
    with errors():
        from .. import train
        from ..emulator import check
        from ..emulator import profile as profiles

        settings = train.Config.from_toml(config, changed(changes))
        if settings.model != "ttfs":
            raise ValueError(f"{config} trains a net of model {settings.model!r}; only spiking nets run on chips")
        model = train.build_model(settings, input_shape=_shape(settings, input_shape, images))
        results = [check(model, name) for name in profile or profiles.names()]
    facts = json.dumps([result.to_dict() for result in results], indent=1)
    typer.echo(facts if as_json else "".join(result.text() for result in results), nl=as_json)
    fits = [result.fits for result in results]
    if not (all(fits) if profile else any(fits)):
        raise typer.Exit(1)


def _shape(settings: Config, shape: str | None, images: Path | None) -> tuple[int, ...]:
    if shape is not None:
        parts = [int(part) if part.strip().isdecimal() else 0 for part in shape.split(",")]
        if len(parts) not in (1, 3) or min(parts) < 1:
            raise ValueError(f"--input-shape must be C,H,W or N, such as 1,28,28, got {shape!r}")
        return tuple(parts)
    if images is not None:
        from ..data.images import image_shape

        return image_shape(images, size=settings.image_size)
    if settings.data not in SHAPES:
        raise ValueError("--input-shape or --images must be given: the config names no data set, so no shape is known")
    return SHAPES[settings.data]

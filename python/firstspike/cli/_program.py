"""How `firstspike emulate` gets its program: a trained net is quantised, a program file is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ._shared import Bar, run_data

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data import Dataset
    from ..emulator import Program

# Options that say how a net becomes a program; a program file has been quantised already.
_FOR_NETS = ("profile", "bits", "granularity", "observer", "drop_biases", "finetune", "seed")


def quantized(
    checkpoint: Path,
    profile: str,
    bits: int | None,
    granularity: str | None,
    observer: str,
    drop_biases: bool,
    finetune: int,
    seed: int,
    data: Path | None,
    folder: Path | None,
    offline: bool,
    no_progress: bool,
) -> tuple[nn.Module, Program]:
    """The trained net of a run and its program, fine-tuned first where asked for."""
    import torch

    from .. import train
    from ..emulator import qat, quantize
    from ..models import as_net

    net = train.load_model(checkpoint)
    images = run_data(checkpoint, train=True, images=folder, data=data, offline=offline)
    model = as_net(net, images.input_shape, name="the run's net")
    if finetune:
        model = qat.prepare(model, profile, bits=bits, granularity=granularity, observer=observer)
        qat.finetune(
            model,
            images.images,
            images.labels,
            epochs=finetune,
            generator=torch.Generator().manual_seed(seed),
            progress=None if no_progress else Bar("fine-tuning", "batch"),
        )
    program = quantize(
        model,
        profile,
        bits=bits,
        granularity=granularity,
        observer=observer,
        biases="drop" if drop_biases else "refuse",
        calibration=some(images, 200),
        name=train.load_info(checkpoint).config.spec or "network",
    )
    return net, program


def some(samples: Dataset, count: int) -> Tensor:
    """A few images, of all classes alike: those of a folder are sorted by class."""
    from ..data import draw

    return draw(samples, min(count, len(samples))).images


def refuse_options_of_nets(context: typer.Context, path: Path) -> None:
    """Raise ValueError for given options that would have no effect on a program file."""
    given = [
        "--" + name.replace("_", "-")
        for name in _FOR_NETS
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise ValueError(
            f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect on {path}: it is a program, which is "
            "quantised already; give the run that it was made from"
        )

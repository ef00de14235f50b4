"""`firstspike plot` and `firstspike profile`: look inside a trained net."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._shared import AsJson, DataFolder, Images, Offline, Run, errors, run_data, run_path

if TYPE_CHECKING:
    from torch import Tensor

    from ..models import TTFSNet
    from ..nn import Synapse

Count = Annotated[int, typer.Option("--count", min=1, help="Number of test images to use, in their order.")]


def plot_command(
    path: Run,
    out: Annotated[Path | None, typer.Option("--output", help="Folder for the pictures; by default RUN/plots.")] = None,
    sample: Annotated[int, typer.Option("--sample", min=0, help="The test image of `raster` and `membrane`.")] = 0,
    count: Count = 500,
    kind: Annotated[str, typer.Option("--format", help="Format of the pictures: png, svg or pdf.")] = "png",
    data: DataFolder = None,
    images: Images = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Write pictures of a trained net: spikes of one image, spike times, output potentials, first weights."""
    with errors():
        from .. import plot
        from .._base import checks
        from .._base.files import write_atomic
        from ..inspect import Monitor
        from ..nn import Synapse

        checks.one_of("format", kind, ("png", "svg", "pdf"))
        net, x = _net_and_images(path, max(count, sample + 1), data=data, images=images, offline=offline)
        checks.integer("sample", sample, 0, len(x) - 1)
        with Monitor(net) as seen:
            net(x)
        pictures = {"raster": plot.raster(seen, sample), "histogram": plot.histogram(seen)}
        pictures["membrane"] = plot.membrane(seen, sample)
        first = next(layer for layer in net.layers.modules() if isinstance(layer, Synapse))
        pictures["weights"] = plot.weights(first, shape=_input_size(net, first))
        folder = out or (path.parent if path.is_file() else path) / "plots"
        files = {name: folder / f"{name}.{kind}" for name in pictures}
        for name, picture in pictures.items():
            drawn = io.BytesIO()
            picture.savefig(drawn, format=kind, dpi=150)
            write_atomic(files[name], drawn.getvalue())
        names = {name: str(file) for name, file in files.items()}
        typer.echo(json.dumps(names) if as_json else "\n".join(names.values()))


def profile_command(
    path: Run,
    energy: Annotated[str, typer.Option(help="Energy table by name, or a TOML file.")] = "45nm-integer",
    count: Count = 1000,
    data: DataFolder = None,
    images: Images = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """What a trained net costs per image and layer: spikes, operations, energy, next to the net with ReLU."""
    with errors():
        from ..energy import load
        from ..inspect import profile

        figures = load(energy)
        net, x = _net_and_images(path, count, data=data, images=images, offline=offline)
        table = profile(net, x, figures)
        if as_json:
            typer.echo(table.to_json(orient="records"))
            return
        source = f"{figures.title} ({figures.source}). {figures.note}"
        typer.echo(f"Per image, means over {len(x)} test images. Energy: {source}")
        if figures.host_mac_pj is None:
            typer.echo("The table has no figure for multiply-accumulates: they are not counted.")
        typer.echo(table.drop(columns="kind").to_string(index=False, na_rep="", float_format="{:.4g}".format))


def _net_and_images(path: Path, count: int, **options: Any) -> tuple[TTFSNet, Tensor]:
    """Return the net of a run, and the first test images."""
    from ..models import as_net
    from ..train import load_model

    path = run_path(path)
    test = run_data(path, train=False, **options)
    return as_net(load_model(path), test.input_shape, name="the run's net"), test.images[:count]


def _input_size(net: TTFSNet, first: Synapse) -> tuple[int, int] | None:
    """Return height and width of a picture of one neuron's weights in a fully connected layer, channels one below the other."""
    if first.weight.dim() == 4:
        return None
    pool, inputs = getattr(first, "avg_pool", 1), first.weight.shape[1]
    width = net.input_shape[-1] // pool if len(net.input_shape) == 3 else math.isqrt(inputs)
    return (inputs // width, width) if width and inputs % width == 0 else (1, inputs)

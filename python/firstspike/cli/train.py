"""`firstspike train`, `eval`, `plot` and `profile`: train a net, measure it, look inside it."""

from __future__ import annotations

import io
import json
import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._shared import (
    AsJson,
    Changes,
    DataFolder,
    Images,
    Offline,
    Run,
    changed,
    errors,
    input_shape_of,
    print_metrics,
    run_data,
    run_path,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Dataset
    from ..energy import EnergyTable
    from ..models import TTFSNet
    from ..nn import Synapses

Count = Annotated[int, typer.Option("--count", min=1, help="Number of test images to use, in their order.")]


def train_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="TOML file with the settings.")],
    directory: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/NAME_OF_CONFIG.")] = None,
    data: DataFolder = None,
    images: Images = None,
    changes: Changes = None,
    resume: Annotated[bool, typer.Option(help="Resume an interrupted run, or start over.")] = True,
    profile: Annotated[str | None, typer.Option(help="Chip, by name or a TOML file: set what it needs.")] = None,
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
        if profile is not None:
            shape, asked = input_shape_of(settings, None, images), settings
            settings = train.recipe(asked, profile, input_shape=shape)
            for change in settings.differences(asked):
                typer.echo(f"{profile}: {change}", err=True)
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


def eval_command(
    path: Run,
    data: DataFolder = None,
    images: Images = None,
    split: Annotated[str, typer.Option(help="Which images: test or train.")] = "test",
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Measure a trained net: accuracy, also if it stopped after fewer steps, and spikes."""
    with errors():
        from .. import train
        from .._base import checks

        checks.one_of("split", split, ("test", "train"))
        path = run_path(path)
        dataset = run_data(path, train=split == "train", images=images, data=data, offline=offline)
        info, metrics = train.load_info(path), train.evaluate(train.load_model(path), dataset)
        if as_json:
            typer.echo(json.dumps(metrics.to_dict()))
        else:
            after = f" after epoch {info.epoch}" if info.epoch else ""
            typer.echo(f"{dataset.name} {split}, {info.config.spec or info.tag or 'a custom net'}{after}")
            print_metrics(metrics)


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
        from ..nn import Synapses

        checks.one_of("format", kind, ("png", "svg", "pdf"))
        net, x = _net_and_images(path, max(count, sample + 1), data=data, images=images, offline=offline)
        checks.integer("sample", sample, 0, len(x) - 1)
        with Monitor(net) as seen:
            net(x)
        first = next(layer for layer in net.modules() if isinstance(layer, Synapses))
        pictures = {
            "raster": plot.raster(seen, sample),
            "histogram": plot.histogram(seen),
            "membrane": plot.membrane(seen, sample),
            "weights": plot.weights(first, shape=_input_size(net.input_shape, first)),
        }
        files = {}
        for name, picture in pictures.items():
            drawn = io.BytesIO()
            picture.savefig(drawn, format=kind, dpi=150)
            folder = out or (path.parent if path.is_file() else path) / "plots"
            files[name] = str(write_atomic(folder / f"{name}.{kind}", drawn.getvalue()))
        typer.echo(json.dumps(files) if as_json else "\n".join(files.values()))


def profile_command(
    path: Run,
    energy: Annotated[str | None, typer.Option(help="Energy table by name, or a TOML file; by default the chip's.")] = None,
    chip: Annotated[str, typer.Option("--profile", help="Chip by name, or a TOML file: its table and schedules.")] = "generic8",
    schedule: Annotated[str | None, typer.Option(help="How the chip goes through the net; by default its usual way.")] = None,
    count: Count = 1000,
    data: DataFolder = None,
    images: Images = None,
    offline: Offline = False,
    advise: Annotated[
        bool, typer.Option("--advise", help="Measure what would lower the energy: stopping early, shorter windows, pruning.")
    ] = False,
    trained_relu: Annotated[
        Path | None, typer.Option("--relu", metavar="RUN", help="Run of a net with ReLU, to stand beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a trained net costs per image and layer: spikes, operations, energy, next to the net with ReLU.

    The last three lines say whether it needs less energy than with ReLU, what takes it, and what to change.
    """
    with errors():
        from ..emulator import profile as profiles
        from ..energy import break_even, compare, load, relu, verdict
        from ..inspect import counts, profile

        hardware = profiles.load(chip)
        order = hardware.schedule_named(schedule)
        figures = load(energy) if energy is not None else hardware.energy_table() or load("45nm-integer")
        net, test = _net_and_data(path, data=data, images=images, offline=offline)
        x = test.images[:count]
        if advise:
            _advise(net, test, count, figures, order, as_json)
            return
        beside = None if trained_relu is None else _with_relu(trained_relu, x, figures)
        table = profile(net, x, figures, schedule=order)
        if as_json:
            typer.echo(table.to_json(orient="records"))
            return
        source = f"{figures.title} ({figures.source}). {figures.note}"
        typer.echo(f"Per image, means over {len(x)} test images, on {hardware.name}, {order}. Energy: {source}")
        typer.echo(_table(table.drop(columns="kind")))
        layers = counts(net, x)
        typer.echo("\nnJ in every schedule and model, and of the same net with ReLU:")
        typer.echo(_table(compare(layers, figures)))
        if relu(layers, figures) is not None:
            typer.echo("\nWhere a layer would need as much as with ReLU:")
            typer.echo(_table(break_even(layers, figures, order)))
        if beside is not None:
            typer.echo(f"\n{beside}")
        typer.echo("\n" + "\n".join(verdict(layers, figures, order, schedules=hardware.ways())))


def _with_relu(path: Path, x: Tensor, table: EnergyTable) -> str:
    """Say what a trained net with ReLU needs for the same images."""
    from ..energy import relu
    from ..inspect import counts
    from ..train import load_model

    if table.mac_pj is None:
        raise ValueError(f'--relu needs a table with integer_mac_pj, got {table.name}; "45nm-integer" has it')
    layers = counts(load_model(run_path(path)), x)
    if any(layer.additions for layer in layers):
        raise ValueError(f"--relu must be the run of a net with ReLU, got {path}, whose net sends spikes")
    dense, nonzero = relu(layers, table), relu(layers, table, skip_zeros=True)
    return f"The net with ReLU of {path}: {dense:.4g} nJ, {nonzero:.4g} nJ where it skips zeros ({table.name})."


def _table(frame: Any) -> str:
    return str(frame.to_string(index=False, na_rep="", float_format="{:.4g}".format))


def _advise(net: TTFSNet, test: Dataset, count: int, figures: EnergyTable, schedule: str, as_json: bool) -> None:
    """Print the table of `inspect.advise`, by at most `count` test images from all of them, as their classes may be in order."""
    from ..inspect import advise

    spread = slice(None, None, -(-len(test) // count))
    images, labels = test.images[spread], test.labels[spread]
    table = advise(net, images, labels, figures, schedule=schedule)
    if as_json:
        typer.echo(table.to_json(orient="records"))
        return
    chosen = (len(images) + 1) // 2
    where = f"chosen on {chosen} test images (choice, %), with the accuracy on {len(images) - chosen} others"
    typer.echo(f"Changes without training again, {where}; energy per image by {figures.name}, {schedule}.")
    names = {"accuracy": "accuracy, %", "choice_accuracy": "choice, %", "energy_nj": "energy, nJ"}
    percent = {name: 100 * table[name] for name in ("accuracy", "choice_accuracy")}
    typer.echo(_table(table.assign(**percent).rename(columns=names)))
    relu = table.attrs["relu_nj"]
    if relu is not None:
        typer.echo(f"The same net with ReLU in the table's integers: {relu:.4g} nJ.")


def _net_and_images(path: Path, count: int, **options: Any) -> tuple[TTFSNet, Tensor]:
    """Return the net of a run, and the first test images."""
    net, test = _net_and_data(path, **options)
    return net, test.images[:count]


def _net_and_data(path: Path, **options: Any) -> tuple[TTFSNet, Dataset]:
    """Return the net of a run, and its test data."""
    from ..models import as_net
    from ..train import load_model

    path = run_path(path)
    net, test = load_model(path), run_data(path, train=False, **options)
    return as_net(net, test.input_shape, name="the run's net"), test


def _input_size(shape: tuple[int, ...], first: Synapses) -> tuple[int, int] | None:
    """Return height and width of a picture of one neuron's weights in a fully connected layer, channels one below the other."""
    if first.weight.dim() == 4:
        return None
    pool, inputs = getattr(first, "avg_pool", 1), first.weight.shape[1]
    width = shape[-1] // pool if len(shape) == 3 else math.isqrt(inputs)
    return (inputs // width, width) if width and inputs % width == 0 else (1, inputs)

"""What the commands share: options, errors as one line, the net of a run, a table of measures, a progress bar."""

from __future__ import annotations

import contextlib
import tomllib
import warnings
from collections.abc import Callable, Iterator
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..data import Dataset
    from ..train import Config, Metrics

DataFolder = Annotated[Path | None, typer.Option("--data", help="Folder that holds the data sets; digits needs none.")]
Images = Annotated[Path | None, typer.Option(help="Folder of images, train/CLASS/* and test/CLASS/*, not a data set.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch data, as with FIRSTSPIKE_OFFLINE=1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace a setting; repeatable.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run, its model.safetensors, or a net that ships (mnist-cnn).")]
SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "dvs-gesture": (16, 32, 32),
    "spoken-digits": (1, 32, 64),
    "yin-yang": (4,),
}
_EXTRAS = {"jinja2": "report", "markdown_it": "report", "matplotlib": "report", "onnx": "onnx"}  # of packages


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Print errors that the user can mend as they are (exit code 1), warnings and Ctrl-C (exit code 130) in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: typer.echo(f"warning: {message}", err=True)
        try:
            yield
        except typer.Exit:  # a RuntimeError
            raise
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            typer.echo(f'error: {error}; pip install "firstspike[{extra}]"', err=True)
            raise typer.Exit(1) from error
        except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError) as error:
            typer.echo(f"error: {error or type(error).__name__}", err=True)
            raise typer.Exit(1) from error


def changed(texts: list[str] | None) -> dict[str, Any]:
    """Return the settings of --set NAME=VALUE; a value is read as TOML, or as text if it is not TOML or would be a date."""
    settings = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ValueError(f"--set must be NAME=VALUE, got {text!r}")
        try:
            read = tomllib.loads(f"value = {value}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            read = value
        settings[name] = value if isinstance(read, (date, time)) else read  # 2048-10-10 is a net
    return settings


def input_shape_of(settings: Config, shape: str | None, images: Path | None) -> tuple[int, ...]:
    """Return the shape that --input-shape names, or the shape of the images or of the config's data set."""
    if shape is not None:
        parts = [int(part) if part.strip().isdecimal() else 0 for part in shape.split(",")]
        if len(parts) not in (1, 3) or min(parts) < 1:
            raise ValueError(f"--input-shape must be C,H,W or N, such as 1,28,28, got {shape!r}")
        return tuple(parts)
    if images is not None:
        from ..data.images import image_shape

        return image_shape(images, size=settings.image_size)
    known = SHAPES.get(settings.data) or SHAPES.get(settings.data.rpartition("-")[0])  # a speaker of spoken digits
    if known is None:
        raise ValueError("--input-shape or --images must be given: the config names no data set, so no shape is known")
    return known


def run_path(path: Path) -> Path:
    """Return the path of a run or a file; of a name without a run in a folder of that name, the net that ships under it."""
    from ..models import pretrained_file, shipped

    known = shipped.names()
    is_run = path.is_file() or any((path / name).exists() for name in ("model.safetensors", "checkpoint.json"))
    if str(path) in known and not is_run:  # a folder of pictures of a shipped net has its name, too
        return pretrained_file(str(path))
    if not path.exists():
        wanted = f"a run's folder, a file, or a net that ships ({', '.join(known)})"
        raise ValueError(f"RUN must be {wanted}, got {str(path)!r}")
    return path


def run_data(path: Path, *, train: bool, images: Path | None, data: Path | None, offline: bool) -> Dataset:
    """Load the data that the net of a run was trained or, with train=False, tested on."""
    from ..train import load_data

    return load_data(path, train=train, images=images, root=data, download=False if offline else None)


def print_metrics(metrics: Metrics) -> None:
    """Print the measures, one per line."""
    from .._base.checks import counted

    rows = [
        ("accuracy", f"{metrics.accuracy:.2%} of {counted(metrics.images, 'image')}"),
        ("loss", f"{metrics.loss:.4f}"),
    ]
    if metrics.stopped is not None:
        steps = len(metrics.stopped)
        shown = sorted({2**n for n in range(steps.bit_length())} | {steps})
        rows.append(("stopped after", ", ".join(f"{step} steps {metrics.stopped[step - 1]:.2%}" for step in shown)))
    if metrics.steps_mean is not None:
        rows += [
            ("ties", f"{metrics.ties:.2%}"),
            ("silent", f"{metrics.silent:.2%}"),
        ]
    if metrics.spikes_per_neuron is not None:
        rows += [
            ("spikes per neuron", f"{metrics.spikes_per_neuron:.3f}; {metrics.spikes_per_image:.0f} per image"),
            ("  by layer", ", ".join(f"{rate:.3f}" for rate in metrics.spikes_per_layer or ())),
        ]
    if metrics.pooled_twice is not None:
        rows.append(("pooled twice", f"{metrics.pooled_twice:.2%} of the units of max pools"))
    for name, value in rows:
        typer.echo(f"  {name:<18} {value}")


def progress_bar(title: str, unit: str) -> Callable[[int, int], None]:
    """Return a function that shows a bar on stderr; it takes the part done and the total."""
    from tqdm.auto import tqdm

    bar = tqdm(desc=title, unit=unit, leave=False, disable=None)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show

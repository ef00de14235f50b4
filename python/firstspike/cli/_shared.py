"""What the commands share: options, errors as one line, signals, a table of measures, a progress bar."""

from __future__ import annotations

import contextlib
import importlib
import re
import signal
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..data import Dataset
    from ..train import Metrics

DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Folder that holds the data sets; digits needs none.", show_default=False
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Folder of images, DIR/train/CLASS/* and DIR/test/CLASS/*, instead of a data set.",
        show_default=False,
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never fetch data; so does the environment variable FIRSTSPIKE_OFFLINE=1.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of a run, its model.safetensors, or a net that ships, such as mnist-cnn."
    ),
]

# Python's names of what the options set, as they stand in messages.
_OPTIONS = {
    r"\bresume=False\b": "--no-resume",
    r"\bdownload=False\b": "--offline",
    r"\((directory|images)=\)": r"(--\1)",
    r"\bimages=": "--images ",
    r"^directory must": "--directory must",
    r", or a net \(model=\)": "",
    r"\binit_from( =|(?= must))": "--init-from",
    r"`root`, as `--data DIR`": "`--data DIR`",
    r"^root must": "--data must",
}


_REPORT_PACKAGES = ("jinja2", "markdown_it", "matplotlib")  # of the extra `report`


@contextlib.contextmanager
def errors(names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Errors that the user can mend become one message and exit code 1; others keep their traceback.

    names: patterns of Python's argument names in messages and the command's own words for them.
    """
    from ..data import NotAvailable
    from ..train import Diverged

    try:
        yield
    except (ValueError, TypeError, OSError, NotAvailable, Diverged) as error:
        text = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            text = f"{error.filename}: {error.strerror}"
        for pattern, option in {**_OPTIONS, **(names or {})}.items():
            text = re.sub(pattern, option, text)
        typer.echo(f"error: {text}", err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _REPORT_PACKAGES:
            raise
        typer.echo(f'error: {package} is not installed; pip install "firstspike[report]"', err=True)
        raise typer.Exit(1) from error


def need_report_packages() -> None:
    """Raise ModuleNotFoundError, before a long run, where pictures and pages could not be made after it."""
    for name in _REPORT_PACKAGES:
        importlib.import_module(name)


def run_file(path: Path, option: str = "RUN") -> Path:
    """The given path, or, where it is no run, the file of the trained net that ships under that name.

    Raises ValueError that begins with `option` for what is neither.
    """
    from ..models import shipped
    from ..models.files import FILE
    from ..train import checkpoint

    if path.is_file() and path.suffix == ".toml":
        raise ValueError(
            f"{option} must be the folder of a run or a file of a net, got {str(path)!r}, which holds settings"
        )
    names = shipped.names()
    if not path.exists() and str(path) not in names:
        raise ValueError(
            f"{option} must be the folder of a run, a file, or a net that ships ({', '.join(names)}), got {str(path)!r}"
        )
    if str(path) not in names or path.is_file():
        return path
    if any((path / name).exists() for name in (FILE, checkpoint.FILE)):  # a folder of pictures has neither
        return path
    return shipped.pretrained_file(str(path))


def run_data(path: Path, *, train: bool, images: Path | None, data: Path | None, offline: bool) -> Dataset:
    """The data that the net of a run was trained or, with train=False, tested on; a warning on stderr if they have changed."""
    from ..train import load_data

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = load_data(path, train=train, images=images, root=data, download=False if offline else None)
    for warning in told:
        typer.echo(f"warning: {warning.message}", err=True)
    return found


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """A termination signal ends a run as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def print_metrics(metrics: Metrics) -> None:
    """The measures, one per line."""
    rows = [("accuracy", f"{metrics.accuracy:.2%} of {metrics.images} images"), ("loss", f"{metrics.loss:.4f}")]
    if metrics.steps_mean is not None:
        rows += [
            (
                "steps to decision",
                f"mean {metrics.steps_mean:.2f}, median {metrics.steps_median:g}, p95 {metrics.steps_p95:g}",
            ),
            ("ties", f"{metrics.ties:.2%}"),
            ("silent", f"{metrics.silent:.2%}"),
            ("spikes per neuron", f"{metrics.spikes_per_neuron:.3f}; {metrics.spikes_per_image:.0f} per image"),
            ("  by layer", ", ".join(f"{rate:.3f}" for rate in metrics.spikes_per_layer or ())),
        ]
    if metrics.pooled_twice is not None:
        rows.append(("pooled twice", f"{metrics.pooled_twice:.2%} of the units of max pools"))
    for name, value in rows:
        typer.echo(f"  {name:<18} {value}")


class Bar:
    """A progress bar on stderr, called with the part done and the total."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=total, desc=self.title, unit=self.unit, leave=False, disable=None)
        self.bar.update(done - self.bar.n)
        if done >= total:
            self.bar.close()

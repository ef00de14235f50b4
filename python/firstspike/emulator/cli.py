"""The command `firstspike emulate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from tqdm import tqdm

from .. import data as data_sets
from .. import train
from ..models import TTFSNet
from .placement.errors import DoesNotFit
from .placement.placer import Placement, place
from .program import serialization
from .program.program import Program
from .quantization import qat
from .quantization.quantizer import quantize
from .reporting.runner import float_predictions, run
from .reporting.statistics import Report, report


def emulate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's directory, its model.safetensors, or a program file.")],
    profile: Annotated[
        str, typer.Option(help="generic8, loihi-like, odin-like, speck-like, or a TOML file.")
    ] = "generic8",
    data: Annotated[
        str | None, typer.Option(help="Data set to run, by its test images; by default the run's own.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    bits: Annotated[int | None, typer.Option(help="Weight bits, 2 to the profile's.")] = None,
    granularity: Annotated[str | None, typer.Option(help="One scale a 'channel' or a 'tensor'.")] = None,
    observer: Annotated[str, typer.Option(help="Scales: 'mse' or 'max'.")] = "mse",
    drop_biases: Annotated[bool, typer.Option(help="Drop biases that the profile lacks, instead of refusing.")] = False,
    finetune: Annotated[int, typer.Option(help="Epochs of quantisation-aware fine-tuning first.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the fine-tuning.")] = 0,
    energy: Annotated[
        list[str] | None, typer.Option(help="Energy table, by name or TOML file; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Run only so many images (0: all).")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; by default all usable cores.")] = None,
    early_exit: Annotated[bool, typer.Option(help="End a sample with its first output spike.")] = False,
    strict: Annotated[bool, typer.Option(help="Stop where the program does not fit the chip.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for program, report (HTML, JSON) and table of mismatches.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write membranes and times of the first samples to this npz file.")
    ] = None,
    traced: Annotated[int, typer.Option(help="How many samples to trace.")] = 1,
) -> None:
    """Run a trained net on an emulated neuromorphic chip: answers, spikes, operations, energy, and what does not
    fit."""
    with _errors():
        if _is_program(checkpoint):
            trained, program = None, serialization.load(checkpoint)
            if data is None:
                raise ValueError("data must be given with a program file")
        else:
            trained = train.load_model(checkpoint)
            data = data or trained.config.data
            few = data_sets.load(data, root=root, train=True)
            model: Any = trained.model
            if finetune:
                model = qat.prepare(model, profile, bits=bits, granularity=granularity, observer=observer)
                _finetune(model, few, finetune, trained.normalize, seed)
            program = quantize(
                model,
                profile,
                bits=bits,
                granularity=granularity,
                observer=observer,
                biases="drop" if drop_biases else "refuse",
                normalize=trained.normalize,
                calibration=trained.normalize(few.images[:200]),
                name=trained.config.spec,
            )
        placement, refusal = _place(program, strict)
        test = data_sets.load(data, root=root, train=False)
        if limit:
            test = test.subset(slice(0, limit))
        ran = run(
            program,
            test.images,
            labels=test.labels,
            threads=threads,
            early_exit=early_exit,
            trace=traced if trace else 0,
            progress=_Bar("emulating", "image"),
        )
        expected = None if trained is None else float_predictions(trained.model, test.images, trained.normalize)
        made = report(ran, placement=placement, refusal=refusal, tables=energy or None, float_predictions=expected)
        if trace is not None:
            np.savez_compressed(trace, **ran.trace)  # type: ignore[arg-type]
        if output is not None:
            _write(made, output)
    typer.echo(made.text(), nl=False)


@contextmanager
def _errors() -> Iterator[None]:
    """Errors that the user can mend become one message and exit code 1; others keep their traceback."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, data_sets.NotAvailable) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _finetune(model: TTFSNet, few: data_sets.Dataset, epochs: int, normalize: data_sets.Normalize, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    bar = _Bar("fine-tuning", "batch")
    qat.finetune(model, few.images, few.labels, epochs=epochs, normalize=normalize, generator=draw, progress=bar)


def _place(program: Program, strict: bool) -> tuple[Placement | None, str | None]:
    """The placement, or why there is none; with `strict` that is an error."""
    try:
        return place(program), None
    except DoesNotFit as error:
        if strict:
            raise
        typer.echo(f"does not fit {program.profile.name}: {error}; its arithmetic is emulated all the same", err=True)
        return None, str(error)


def _write(made: Report, folder: Path) -> None:
    serialization.save(made.run.program, folder / "program.safetensors")
    made.write_json(folder / "report.json")
    made.mismatches().to_csv(folder / "mismatches.csv", index=False)
    made.write_html(folder / "report.html")


class _Bar:
    """A progress bar on stderr, called with done and all."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.bar: tqdm[Any] | None = None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, desc=self.title, unit=self.unit, leave=False)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.bar.close()


def _is_program(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        return serialization.KEY.encode() in opened.read(min(size, 1 << 24))

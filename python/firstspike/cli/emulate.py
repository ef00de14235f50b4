"""`firstspike emulate`: run a trained net on an emulated chip."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._shared import AsJson, DataFolder, Images, Offline, errors, own_data, run_file

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Dataset
    from ..emulator import Placement, Program, Report
    from ..train import Trained

# Options that say how a net becomes a program; a program file has been quantised already.
_FOR_NETS = ("profile", "bits", "granularity", "observer", "drop_biases", "finetune", "seed")
VECTORS = 10  # test images that become test vectors of exported C
_NAMES = {
    r"\bbits must": "--bits must",
    r"\bgranularity must": "--granularity must",
    r"\bobserver must": "--observer must",
    r"^profile must": "--profile must",
    r"^energy table must": "--energy must",
    r"^path must": "RUN must",
    r"\bfine-tune with emulator\.qat": "fine-tune with --finetune 1",
    r"\bdrop them with biases='drop'": "drop them with --drop-biases",
    r"^threads must": "--threads must",
    r"^early_exit": "--early-exit",
}


def emulate_command(
    context: typer.Context,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a run, its model.safetensors, a net that ships, such as mnist-cnn, or a program file.",
        ),
    ],
    profile: Annotated[
        str, typer.Option(help="generic8, loihi-like, odin-like, speck-like, or a TOML file.")
    ] = "generic8",
    data: DataFolder = None,
    images: Images = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set whose test images are run; by default the run's own.")
    ] = None,
    offline: Offline = False,
    bits: Annotated[int | None, typer.Option(help="Weight bits, from 2 to the profile's.")] = None,
    granularity: Annotated[str | None, typer.Option(help="One scale per 'channel' or per 'tensor'.")] = None,
    observer: Annotated[str, typer.Option(help="How scales are chosen: 'mse' or 'max'.")] = "mse",
    drop_biases: Annotated[
        bool, typer.Option("--drop-biases", help="Drop biases that the profile lacks, instead of refusing them.")
    ] = False,
    finetune: Annotated[int, typer.Option(min=0, help="Epochs of quantisation-aware fine-tuning before.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the fine-tuning.")] = 0,
    energy: Annotated[
        list[str] | None, typer.Option(help="Energy table, by name or TOML file; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Run only so many images, drawn per class (0: all).")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default one per usable core.")] = None,
    early_exit: Annotated[bool, typer.Option("--early-exit", help="End a sample with its first output spike.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop where the program does not fit the chip.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for program, report (HTML, JSON) and table of mismatches.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write membranes and times of the first samples.")
    ] = None,
    traced: Annotated[int, typer.Option(min=1, help="Number of samples to trace.")] = 1,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export-c", metavar="DIR", help="Write the program as C99, with ten test images as test vectors."
        ),
    ] = None,
    as_json: AsJson = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Show no progress bars.")] = False,
) -> None:
    """Run a trained net on an emulated neuromorphic chip.

    Reports predictions, spikes, operations, energy, and what does not fit.
    """
    with errors(_NAMES):
        from .. import data as data_sets
        from .._files import write_npz
        from ..emulator import export_c, report, run
        from ..emulator.program import serialization
        from ..emulator.reporting.runner import float_predictions

        _check_outputs(trace, {"--output": output, "--export-c": export})
        tables = _energy_tables(energy)
        checkpoint = run_file(checkpoint)
        program: Program
        if serialization.is_program(checkpoint):
            trained, program = None, serialization.load(checkpoint)
            _refuse_options_of_nets(context, checkpoint)
            if dataset is None:
                raise ValueError("--dataset must be given with a program file, which does not name its data")
        else:
            trained, program = _quantized(
                checkpoint,
                profile,
                bits,
                granularity,
                observer,
                drop_biases,
                finetune,
                seed,
                data,
                images,
                offline,
                no_progress,
            )
        placement, refusal = _place(program, strict)
        if trained is None or dataset is not None:
            assert dataset is not None
            test = data_sets.load(dataset, root=data, train=False, download=False if offline else None)
        else:
            test = own_data(trained, train=False, images=images, data=data, offline=offline)
        if 0 < limit < len(test):
            test = data_sets.draw(test, limit)
        _check_data(program, test, test.name)
        ran = run(
            program,
            test.images,
            labels=test.labels,
            threads=threads,
            early_exit=early_exit,
            trace=traced if trace else 0,
            progress=None if no_progress else _Bar("emulating", "image"),
        )
        expected = None if trained is None else float_predictions(trained.model, test.images, trained.normalize)
        made = report(ran, placement=placement, refusal=refusal, tables=tables, float_predictions=expected)
        if trace is not None:
            write_npz(trace, ran.trace)
        if output is not None:
            _write(made, output)
        if export is not None:
            written = export_c(program, export, samples=_some(test, VECTORS))
            typer.echo(
                f"C99 sources in {export}; `make -C {export} test` checks them\n{written.text()}", err=True, nl=False
            )
    typer.echo(made.to_json() if as_json else made.text(), nl=as_json)


def _quantized(
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
) -> tuple[Trained, Program]:
    """The trained net of a run and its program, fine-tuned first where asked for."""
    import torch

    from .. import train
    from ..emulator import qat, quantize

    trained = train.load_model(checkpoint)
    images = own_data(trained, train=True, images=folder, data=data, offline=offline)
    model: Any = trained.model
    if finetune:
        model = qat.prepare(model, profile, bits=bits, granularity=granularity, observer=observer)
        qat.finetune(
            model,
            images.images,
            images.labels,
            epochs=finetune,
            normalize=trained.normalize,
            generator=torch.Generator().manual_seed(seed),
            progress=None if no_progress else _Bar("fine-tuning", "batch"),
        )
    program = quantize(
        model,
        profile,
        bits=bits,
        granularity=granularity,
        observer=observer,
        biases="drop" if drop_biases else "refuse",
        normalize=trained.normalize,
        calibration=trained.normalize(_some(images, 200)),
        name=trained.config.spec,
    )
    return trained, program


def _some(samples: Dataset, count: int) -> Tensor:
    """A few images, of all classes alike: those of a folder are sorted by class."""
    from ..data import draw

    return draw(samples, min(count, len(samples))).images


def _refuse_options_of_nets(context: typer.Context, path: Path) -> None:
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


def _check_outputs(trace: Path | None, folders: dict[str, Path | None]) -> None:
    """Raise before the run where its results could not be written."""
    if trace is not None:
        if trace.suffix != ".npz":
            raise ValueError(f"--trace must name a file that ends in .npz, got {str(trace)!r}")
        if trace.is_dir() or not trace.absolute().parent.is_dir() or not os.access(trace.absolute().parent, os.W_OK):
            raise ValueError(
                f"--trace must name a file in an existing folder that can be written to, got {str(trace)!r}"
            )
    for option, folder in folders.items():
        if folder is None:
            continue
        at = folder.absolute()
        while not at.exists():
            at = at.parent
        if not at.is_dir() or not os.access(at, os.W_OK):
            raise ValueError(f"{option} must name a folder that can be written to, got {str(folder)!r}")


def _energy_tables(names: list[str] | None) -> list[Any] | None:
    from .. import energy

    return [energy.load(name) for name in names] if names else None


def _check_data(program: Program, test: Dataset, name: str) -> None:
    """Raise ValueError where a program cannot take the images of a data set."""
    from ..emulator.program.inputs import check_images

    try:
        check_images(program, tuple(test.images.shape[1:]))
    except ValueError as error:
        raise ValueError(f"the data set {name} does not suit the program: {error}") from None


def _place(program: Program, strict: bool) -> tuple[Placement | None, str | None]:
    """The placement, or why there is none; with `strict` that is an error."""
    from ..emulator import DoesNotFit, place

    try:
        return place(program), None
    except DoesNotFit as error:
        if strict:
            raise
        typer.echo(f"does not fit {program.profile.name}: {error}; its arithmetic is emulated all the same", err=True)
        return None, str(error)


def _write(made: Report, folder: Path) -> None:
    from .._files import write_text
    from ..emulator import save

    save(made.run.program, folder / "program.safetensors")
    made.write_json(folder / "report.json")
    write_text(folder / "mismatches.csv", made.mismatches().to_csv(index=False))
    made.write_html(folder / "report.html")


class _Bar:
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

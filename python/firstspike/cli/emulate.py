"""`firstspike emulate`: run a trained net on an emulated chip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._program import quantized, refuse_options_of_nets, some
from ._shared import AsJson, Bar, DataFolder, Images, Offline, errors, need_report_packages, run_data, run_file

if TYPE_CHECKING:
    from ..data import Dataset
    from ..emulator import Placement, Program, Report

VECTORS = 10  # test images that become test vectors of exported C
_NAMES = {
    r"\bbits must": "--bits must",
    r"\bgranularity must": "--granularity must",
    r"\bobserver must": "--observer must",
    r"^profile ": "--profile ",
    r"^name must": "--dataset must",
    r"^energy table ": "--energy ",
    r"^tables must": "--energy must",
    r"^directory must": "--export-c must",
    r"^path must": "RUN must",
    r"\bfine-tune with emulator\.qat": "fine-tune with --finetune 1",
    r"\bdrop them with biases='drop'": "drop them with --drop-biases",
    r"\bfewer bits, or granularity='tensor'": "a lower --bits, or --granularity tensor",
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
    image_size: Annotated[
        int,
        typer.Option(min=0, help="With a program file: pixels per side to which --images are scaled (0: as they are)."),
    ] = 0,
    offline: Offline = False,
    bits: Annotated[int | None, typer.Option(help="Weight bits, from 2 to the profile's.")] = None,
    granularity: Annotated[str | None, typer.Option(help="One scale per 'channel' or per 'tensor'.")] = None,
    observer: Annotated[str, typer.Option(help="How scales are chosen: 'mse' or 'max'.")] = "mse",
    drop_biases: Annotated[
        bool, typer.Option("--drop-biases", help="Drop biases that the profile lacks, instead of refusing them.")
    ] = False,
    finetune: Annotated[
        int, typer.Option(min=0, help="Epochs of quantisation-aware fine-tuning before the net is quantised.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the fine-tuning.")] = 0,
    energy: Annotated[
        list[str] | None, typer.Option(help="Energy table, by name or TOML file; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Number of images to run, drawn per class (0: all).")] = 0,
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
        from .._base.files import write_npz
        from ..data.dataset import drawn
        from ..emulator import export_c, report, run
        from ..emulator.export.exporting import refuse_others
        from ..emulator.program import serialization
        from ..train import predict

        _check_outputs(trace, {"--output": output, "--export-c": export})
        if output is not None:
            need_report_packages()
        if export is not None:
            refuse_others(export)
        tables = _energy_tables(energy)
        checkpoint = run_file(checkpoint)
        is_program = serialization.is_program(checkpoint)
        _check_data_options(is_program, dataset, images, image_size)
        program: Program
        if is_program:
            net, program = None, serialization.load(checkpoint)
            refuse_options_of_nets(context, checkpoint)
        else:
            net, program = quantized(
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
        test = _test_data(checkpoint, is_program, dataset, images, image_size, data, offline)
        own = is_program and images is not None
        with errors({r"; scale the images to (\d+) x \1$": r"; --image-size \1 scales them"} if own else {}):
            _check_data(program, test, f"--images {images}" if own else f"the data set {test.name}")
        chosen = None
        if limit > len(test):
            raise ValueError(f"--limit must be at most the {len(test)} images of {test.name}, got {limit}")
        if 0 < limit < len(test):
            numbers = drawn(test, limit).nonzero()[:, 0]
            test, chosen = test.subset(numbers), numbers.numpy()
        ran = run(
            program,
            test.images,
            labels=test.labels,
            threads=threads,
            early_exit=early_exit,
            trace=traced if trace else 0,
            progress=None if no_progress else Bar("emulating", "image"),
        )
        expected = None if net is None else predict(net, test.images).numpy()
        made = report(
            ran, placement=placement, refusal=refusal, tables=tables, float_predictions=expected, samples=chosen
        )
        if trace is not None:
            write_npz(trace, ran.trace)
        if output is not None:
            _write(made, output)
        if export is not None:
            written = export_c(program, export, samples=some(test, VECTORS))
            typer.echo(
                f"C99 sources in {export}; `make -C {export} test` checks them\n{written.text()}", err=True, nl=False
            )
    typer.echo(made.to_json() if as_json else made.text(), nl=as_json)


def _check_outputs(trace: Path | None, folders: dict[str, Path | None]) -> None:
    """Raise before the run where its results could not be written."""
    from .._base.files import check_folder, is_writable

    if trace is not None:
        if trace.suffix != ".npz":
            raise ValueError(f"--trace must name a file that ends in .npz, got {str(trace)!r}")
        if not is_writable(trace):
            raise ValueError(
                f"--trace must name a file in an existing folder that can be written to, got {str(trace)!r}"
            )
    for option, folder in folders.items():
        if folder is not None:
            check_folder(option, folder)


def _energy_tables(names: list[str] | None) -> list[Any] | None:
    from ..energy import load_all

    return load_all(names) if names else None


def _check_data_options(is_program: bool, dataset: str | None, images: Path | None, image_size: int) -> None:
    """Raise ValueError where the options name no data for a program file, or two, or say nothing of the data."""
    if is_program and dataset is None and images is None:
        raise ValueError("--dataset or --images must be given with a program file, which does not name its data")
    if is_program and dataset is not None and images is not None:
        raise ValueError(f"--dataset {dataset} and --images {images} name two data sets; drop one of them")
    if image_size and not (is_program and images is not None):
        raise ValueError("--image-size must come with a program file and --images; a run has the setting image_size")


def _test_data(
    path: Path,
    is_program: bool,
    dataset: str | None,
    images: Path | None,
    image_size: int,
    data: Path | None,
    offline: bool,
) -> Dataset:
    """The images that are run: those of a data set, else the run's own, or for a program file those of a folder."""
    from .. import data as data_sets

    if dataset is not None:
        return data_sets.load(dataset, root=data, train=False, download=False if offline else None)
    if not is_program:
        return run_data(path, train=False, images=images, data=data, offline=offline)
    assert images is not None
    with errors({r"the setting image_size = S \(size=S of data\.load_images\)": "--image-size S"}):
        return data_sets.load_images(images, train=False, size=image_size)


def _check_data(program: Program, test: Dataset, name: str) -> None:
    """Raise ValueError where a program cannot take the images of a data set."""
    try:
        program.check_images(tuple(test.images.shape[1:]))
        if test.classes > program.classes:
            raise ValueError(f"it has {test.classes} classes, the program tells {program.classes} apart")
    except ValueError as error:
        raise ValueError(f"{name} does not suit the program: {error}") from None


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
    from .._base.files import write_text
    from ..emulator import save

    save(made.run.program, folder / "program.safetensors")
    made.write_json(folder / "report.json")
    write_text(folder / "mismatches.csv", made.mismatches().to_csv(index=False))
    made.write_html(folder / "report.html")

"""`firstspike check` and `firstspike emulate`: what a chip refuses of a net, and a trained net on an emulated chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._shared import (
    AsJson,
    Changes,
    DataFolder,
    Images,
    Offline,
    changed,
    errors,
    input_shape_of,
    progress_bar,
    run_data,
    run_path,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import nn

    from ..data import Dataset
    from ..emulator import Placement, Program, Report

VECTORS, CALIBRATION = 10, 200  # images that become test vectors of exports; that calibrate the readout
COUNTED = 100  # images whose cycles on an FPGA are predicted
# Options that say how a net becomes a program; a program file has been quantised already.
_FOR_NETS = ("profile", "bits", "granularity", "observer", "drop_biases", "first_layer", "finetune", "seed")


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
        model = train.build_model(settings, input_shape=input_shape_of(settings, input_shape, images))
        results = [check(model, name) for name in profile or profiles.names()]
    facts = json.dumps([result.to_dict() for result in results], indent=1)
    typer.echo(facts if as_json else "".join(result.text() for result in results), nl=as_json)
    fits = [result.fits for result in results]
    if not (all(fits) if profile else any(fits)):
        raise typer.Exit(1)


def emulate_command(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run, its model.safetensors, a net that ships (mnist-cnn), or a program."),
    ],
    profile: Annotated[str, typer.Option(help="Profile by name, or a TOML file.")] = "generic8",
    data: DataFolder = None,
    images: Images = None,
    dataset: Annotated[str | None, typer.Option(help="Data set whose test images are run, not the run's own.")] = None,
    image_size: Annotated[int, typer.Option(min=0, help="With a program: pixels per side of --images.")] = 0,
    offline: Offline = False,
    bits: Annotated[int | None, typer.Option(help="Weight bits, from 2 to the profile's.")] = None,
    granularity: Annotated[str | None, typer.Option(help="One scale per 'channel' or per 'tensor'.")] = None,
    observer: Annotated[str, typer.Option(help="How scales are chosen: 'mse' or 'max'.")] = "mse",
    drop_biases: Annotated[bool, typer.Option("--drop-biases", help="Drop biases that the profile lacks.")] = False,
    first_layer: Annotated[
        str, typer.Option(help="Arithmetic of a first layer on pixels: 'integers', or 'float' on a host.")
    ] = "integers",
    finetune: Annotated[int, typer.Option(min=0, help="Epochs of quantisation-aware fine-tuning.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the fine-tuning.")] = 0,
    energy: Annotated[list[str] | None, typer.Option(help="Energy table or TOML file; may be repeated.")] = None,
    schedule: Annotated[str | None, typer.Option(help="How the chip goes through the net; by default its usual way.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Number of images to run, drawn per class (0: all).")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default one per usable core.")] = None,
    early_exit: Annotated[bool, typer.Option("--early-exit", help="End a sample with its first output spike.")] = False,
    stop_after: Annotated[int | None, typer.Option(help="Stop after so many steps, the input's window included.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="Stop a sample when its best score leads the second by so much (membrane, windows).")
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Also print accuracy and energy if stopped after each step.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop where the program does not fit the chip.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder for program, report and table of mismatches.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Write an NPZ file of the first samples' membranes.")] = None,
    traced: Annotated[int, typer.Option(min=1, help="Number of samples to trace.")] = 1,
    export: Annotated[Path | None, typer.Option("--export-c", help="Folder for C99 code and test vectors.")] = None,
    export_rtl: Annotated[
        Path | None, typer.Option(help="Folder for a core in SystemVerilog and test vectors (nets of windows).")
    ] = None,
    as_json: AsJson = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Show no progress bars.")] = False,
) -> None:
    """Run a trained net on an emulated neuromorphic chip.

    Reports predictions, spikes, operations, energy, and what does not fit.
    """
    with errors():
        import torch

        from .. import emulator, train
        from .._base.files import write_npz
        from ..data import draw, load, load_images
        from ..data.dataset import drawn
        from ..emulator.program.serialization import is_program
        from ..energy import load as load_table
        from ..models import as_net

        _check_outputs(trace, {"--output": output, "--export-c": export, "--export-rtl": export_rtl})
        tables = [load_table(name) for name in energy] if energy else None
        sources: dict[str, Any] = {"images": images, "data": data, "offline": offline}
        path = run_path(path)
        of_net = not is_program(path)
        if of_net:
            net, training = train.load_model(path), run_data(path, train=True, **sources)
            model: Any = as_net(net, training.input_shape, name="the run's net")
            options: dict[str, Any] = {"bits": bits, "granularity": granularity, "observer": observer}
            options["first_layer"] = first_layer
            if finetune:
                model = emulator.qat.prepare(model, profile, **options)
                labelled, draws = (training.images, training.labels), torch.Generator().manual_seed(seed)
                bar = None if no_progress else progress_bar("fine-tuning", "batch")
                emulator.qat.finetune(model, *labelled, epochs=finetune, generator=draws, progress=bar)
            options["calibration"] = draw(training, min(CALIBRATION, len(training))).images
            options["name"] = train.load_info(path).config.spec or "network"
            program = emulator.quantize(model, profile, biases="drop" if drop_biases else "refuse", **options)
        else:
            _check_program_options(context, path, dataset, images)
            program = emulator.load(path)
        program = emulator.stopped(program, after=stop_after, margin=margin)
        if export is not None and program.encoder.weight is not None:
            raise ValueError("--export-c writes whole nets; leave out --first-layer float, which leaves a layer to a host")
        if tables is None:
            program.profile.energy_table()  # raises before the run if it is missing
        program.profile.schedule_named(schedule)
        placement, refusal = _place(program, strict)
        if dataset is not None:
            test = load(dataset, root=data, train=False, download=False if offline else None)
        elif of_net:
            test = run_data(path, train=False, **sources)
        else:
            assert images is not None
            test = load_images(images, train=False, size=image_size)
        chosen = drawn(test, limit).nonzero()[:, 0] if 0 < limit < len(test) else torch.arange(len(test))
        part = test.subset(chosen)
        run = emulator.run(
            program,
            part.images,
            labels=part.labels,
            threads=threads,
            early_exit=early_exit,
            trace=traced if trace else 0,
            progress=None if no_progress else progress_bar("emulating", "image"),
        )
        work = None
        if program.profile.fpga is not None and placement is not None:
            work = emulator.cycles(program, draw(part, min(COUNTED, len(part))).images)
        report = emulator.report(
            run,
            placement=placement,
            refusal=refusal,
            tables=tables,
            schedule=schedule,
            float_predictions=_float_predictions(net, part, stop_after) if of_net else None,
            samples=chosen.numpy(),
            work=work,
        )
        if trace is not None:
            write_npz(trace, run.trace)
        if output is not None:
            _write(report, output)
        if export is not None:
            written = emulator.export_c(program, export, samples=draw(part, min(VECTORS, len(part))).images)
            typer.echo(f"C99 sources in {export}; `make -C {export} test` checks them", err=True)
            typer.echo(written.text(), err=True, nl=False)
        if export_rtl is not None:
            core = emulator.export_rtl(program, export_rtl, samples=draw(part, min(VECTORS, len(part))).images)
            typer.echo(f"SystemVerilog in {export_rtl}; `make -C {export_rtl} sim` checks it", err=True)
            typer.echo(core.text(), err=True, nl=False)
        stops = None
        if curve:
            stops = emulator.stopping(program, part.images, part.labels, table=tables[0] if tables else None, schedule=schedule)
        typer.echo(_json(report, stops) if as_json else report.text() + _text(stops), nl=as_json)
        if of_net and not finetune:
            _name_finetuning(report.summary())


def _float_predictions(net: nn.Module, part: Dataset, stop_after: int | None) -> NDArray[np.int64]:
    """The classes of the float net, which stops as the program does; a margin stops the program alone."""
    from ..models import as_net
    from ..models import stop_after as stopped_net
    from ..train import predict

    if stop_after is not None:
        net = stopped_net(as_net(net, part.input_shape, name="the run's net"), stop_after)
    classes: NDArray[np.int64] = predict(net, part.images).numpy()
    return classes


def _json(report: Report, stops: pd.DataFrame | None) -> str:
    """The report as JSON, with the rows of `emulator.stopping` under the key "stopping"."""
    if stops is None:
        return report.to_json()
    return json.dumps(json.loads(report.to_json()) | {"stopping": json.loads(stops.to_json(orient="records"))}, indent=1)


def _text(stops: pd.DataFrame | None) -> str:
    """The table of `emulator.stopping` as text."""
    if stops is None:
        return ""
    shown = stops.assign(accuracy=100 * stops["accuracy"]).rename(columns={"accuracy": "accuracy, %", "energy_nj": "energy, nJ"})
    return "\nstopped after so many steps:\n" + shown.to_string(index=False, na_rep="–", float_format="{:.2f}".format) + "\n"


def _name_finetuning(figures: dict[str, Any]) -> None:
    """Say how to regain what rounding lost, if it is a point or more."""
    lost = figures["float_accuracy"] - figures["accuracy"]
    if lost >= 0.01:
        typer.echo(f"rounding lost {100 * lost:.1f} points; --finetune 2 trains the net in the chip's numbers", err=True)


def _check_outputs(trace: Path | None, folders: dict[str, Path | None]) -> None:
    """Raise before the run if its results could not be written."""
    from .._base.files import check_folder, is_writable

    if trace is not None and (trace.suffix != ".npz" or not is_writable(trace)):
        raise ValueError(f"--trace must name a file in an existing folder that ends in .npz, got {str(trace)!r}")
    for option, folder in folders.items():
        if folder is not None:
            check_folder(option, folder)
    if folders["--output"] is not None:
        import jinja2  # noqa: F401  # the report needs both at the end
        import markdown_it  # noqa: F401


def _check_program_options(context: typer.Context, path: Path, dataset: str | None, images: Path | None) -> None:
    """Raise ValueError if options name no data for a program file, or two, or would have no effect on it."""
    if (dataset is None) == (images is None):
        raise ValueError(f"--dataset or --images must be given with {path}, a program, which does not name its data")
    sources = {name: context.get_parameter_source(name) for name in _FOR_NETS}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    useless = ["--" + name.replace("_", "-") for name in given]
    if useless:
        raise ValueError(f"{path} is a program, which is quantised already: leave out {', '.join(useless)}")


def _place(program: Program, strict: bool) -> tuple[Placement | None, str | None]:
    """Return the placement, or why there is none; with `strict` that is an error."""
    from ..emulator import DoesNotFit, place

    try:
        return place(program), None
    except DoesNotFit as error:
        if strict:
            raise
        typer.echo(f"does not fit {program.profile.name}: {error}; its arithmetic is emulated all the same", err=True)
        return None, str(error)


def _write(report: Report, folder: Path) -> None:
    from .._base.files import write_text
    from ..emulator import save

    save(report.run.program, folder / "program.safetensors")
    report.write_json(folder / "report.json")
    write_text(folder / "mismatches.csv", report.mismatches().to_csv(index=False))
    report.write_html(folder / "report.html")

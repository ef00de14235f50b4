"""`firstspike convert`: an ONNX file as a net of windows, in a folder that the other commands read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._shared import AsJson, DataFolder, Images, Offline, errors

if TYPE_CHECKING:
    from torch import nn

Numbers = Annotated[str | None, typer.Option(metavar="NUMBERS", help="One number, or one per channel: 0.5,0.4,0.4.")]


def convert_command(
    path: Annotated[Path, typer.Argument(metavar="NET.onnx", help="Float, QDQ or QONNX file of a ReLU net.")],
    dataset: Annotated[str | None, typer.Option(help="Data set that the net was trained on.")] = None,
    images: Images = None,
    image_size: Annotated[int, typer.Option(min=0, help="Pixels per side of --images (0: as they are).")] = 0,
    data: DataFolder = None,
    white: Annotated[float, typer.Option(help="What the largest pixel is for the net: 1, or 255.")] = 1.0,
    mean: Numbers = None,
    std: Numbers = None,
    steps: Annotated[int, typer.Option(min=1, max=255, help="T of layers that the file does not quantise.")] = 16,
    calibration: Annotated[int, typer.Option(min=2, help="Training images that choose clips.")] = 500,
    output: Annotated[Path | None, typer.Option(help="Folder of the net; by default runs/NAME_OF_FILE.")] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Convert a trained ReLU net to spike times, without training; a quantised one exactly.

    Images enter the net as (pixel - mean) / std, with pixels from 0 to --white: give all three as in its training.
    """
    with errors():
        import onnx  # noqa: F401  # named before data are fetched

        from .. import data as data_sets
        from .. import train
        from .._base.files import check_folder
        from ..conversion import convert
        from ..models import files
        from ..nn.image_scaling import as_float
        from ..train.batches import facts
        from ..train.result import RunInfo

        if (dataset is None) == (images is None):
            raise ValueError("--dataset or --images must name the images that the net was trained on")
        folder = output or Path("runs") / path.stem
        check_folder("--output", folder)
        if (folder / "checkpoint.json").exists():
            raise ValueError(f"--output must not be the folder of a training run, got {str(folder)!r}")
        net = _scaled(path, white, mean, std)
        sources: dict[str, Any] = {"root": data, "download": False if offline else None}
        parts = {
            name: data_sets.load_images(images, train=name == "train", size=image_size)
            if images is not None
            else data_sets.load(str(dataset), train=name == "train", **sources)
            for name in ("train", "test")
        }
        drawn = data_sets.draw(parts["train"], min(calibration, len(parts["train"]))).images
        converted = convert(net, as_float("images", drawn), steps)
        metrics, test = train.evaluate(converted, parts["test"]), parts["test"]
        before = train.predict(net, as_float("images", test.images)) == test.labels
        settings = train.Config(
            data=dataset or "", timing="windowed", steps=steps, input_steps=converted.input_steps, image_size=image_size
        )
        run = RunInfo(config=settings, data={name: facts(part) for name, part in parts.items()}, tag=path.name)
        files.save(converted, folder / files.FILE, run.to_dict())
        report: Any = converted.report
        accuracies = {"accuracy": metrics.accuracy, "accuracy_before": float(before.double().mean())}
    if as_json:
        layers = json.loads(report.to_json(orient="records"))
        typer.echo(json.dumps({"layers": layers, **report.attrs, **accuracies, "folder": str(folder)}))
        return
    typer.echo(report.to_string(index=False, float_format="{:.4g}".format))
    exact = "exact: every layer has the levels of the file" if report.attrs["exact"] else "rounded and clipped"
    typer.echo(f"{exact}; on {len(drawn)} training images {report.attrs['agreement']:.2%} of the decisions agree")
    typer.echo(f"error of the scores, relative: {report.attrs['error']:.2g}")
    if report.attrs["approximated"]:
        typer.echo(f"left out, as they round signed numbers: {', '.join(report.attrs['approximated'])}")
    typer.echo(
        f"{test.name} test: {accuracies['accuracy']:.2%}, before {accuracies['accuracy_before']:.2%}; the net is in {folder}"
    )


def _scaled(path: Path, white: float, mean: str | None, std: str | None) -> nn.Module:
    """Return the net of a file for images in [0, 1], which are scaled, and flat where the file takes them flat."""
    from torch import nn

    from ..conversion.onnx import read
    from ..nn import Normalize

    if not 0 < white <= 1e6:
        raise ValueError(f"--white must be a positive number, such as 1 or 255, got {white:g}")
    source = read(path)
    shift, width = _numbers("--mean", mean, 0.0), _numbers("--std", std, 1.0)
    parts: dict[str, nn.Module] = {}
    if (white, shift, width) != (1.0, [0.0], [1.0]):
        parts["scaling"] = Normalize([value / white for value in shift], [value / white for value in width])
    if source.meta["dimensions"] == 2:
        parts["flat"] = nn.Flatten()
    chain = nn.Sequential()
    for name, part in {**parts, path.stem.replace(".", "_"): source}.items():
        chain.add_module(name, part)
    return chain.eval() if parts else source


def _numbers(option: str, text: str | None, default: float) -> list[float]:
    try:
        return [default] if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} must be numbers with commas between, such as 0.5,0.4,0.4, got {text!r}") from None

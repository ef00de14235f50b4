"""Train the nets that come with the package, and write their files: one seed of Table 1's membrane rows, and nets of windows.

    python paper/pretrained.py --results DIR
    python paper/pretrained.py --chips        trains nothing; runs the nets' files on emulated chips, into their records
    python paper/pretrained.py --check        trains nothing; exit status 1 where docs/howto/pretrained.md differs

It resumes if interrupted; a net that is there already, with these weights and settings, is left as it is. The weights are
stored as float16, or as bfloat16 where training had products in bfloat16. The accuracy in the record is measured with the net
as it is loaded from the file.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import typer

import firstspike
from firstspike import data, emulator, energy, models, provenance, train
from firstspike.energy import LayerCounts
from firstspike.report import write_text
from paper import grid, job
from paper.runs import Run
from paper.session import NOT_RUN
from tools import ROOT, documents

TABLE1 = ("digits-mlp", "digits-cnn", "mnist-mlp", "mnist-cnn", "fashion-cnn")
ROW = "TTFS, membrane"
#: Few levels, and a penalty on spikes, which held-out images chose (LABBOOK.md, "Few spikes").
_FEW = {"timing": "windowed", "steps": 8, "input_steps": 15, "spike_penalty": 0.4, "threads": 1}
_FEW |= {"optimizer": "muon", "lr": 0.05, "warmup": 1.0, "label_smoothing": 0.1}
#: Nets of windows, small enough for the package.
WINDOWED = {
    "digits-windowed": {
        **_FEW,
        "spike_penalty": 0.2,
        "data": "digits",
        "spec": "16C3-MP2-32C3-AP4-10",
        "batch": 32,
        "epochs": 30,
        "augmentation": {"shift": 1},
    },
    "mnist-windowed": {
        **_FEW,
        "data": "mnist",
        "spec": "32C3-MP2-64C3-MP2-128C3-AP7-10",
        "batch": 128,
        "epochs": 12,
        "validation": 5000,
        "precision": "bfloat16",
        "augmentation": {"shift": 2},
    },
    "fashion-windowed": {
        **_FEW,
        "data": "fashion-mnist",
        "spec": "32C3-MP2-64C3-MP2-128C3-AP7-10",
        "optimizer": "adam",
        "lr": 0.004,
        "warmup": 1.2,
        "label_smoothing": 0.0,
        "batch": 64,
        "epochs": 12,
        "validation": 5000,
        "precision": "bfloat16",
        "augmentation": {"flip": True},
    },
    "cifar10-jpeg-windowed": {
        **_FEW,
        "data": "cifar10",
        "images": "cifar10-jpeg",
        "spec": "16C3-32C3-MP2-32C3-64C3-MP2-64C3-128C3-MP2-128C3-AP4-10",
        "lr": 0.04,
        "schedule": "linear",
        "batch": 256,
        "epochs": 24,
        "precision": "bfloat16",
        "augmentation": {"shift": 2, "flip": True},
    },
    "spoken-digits-windowed": {
        **_FEW,
        "data": "spoken-digits",
        "spec": "16C3-MP2-32C3-MP2-64C3-MP2-64C3-AP4-10",
        "batch": 64,
        "epochs": 20,
        "precision": "bfloat16",
        "augmentation": {"shift": 3},
    },
}
NETS = (*TABLE1, *WINDOWED)
CHIPS = ("generic8", "loihi-like")
CALIBRATION = 500  # training images
TABLE = "45nm-integer"  # of the energies beside ReLU
LICENCES = {  # of the data
    "digits": "CC BY 4.0",
    "mnist": "CC BY-SA 3.0",
    "fashion-mnist": "MIT",
    "cifar10-jpeg": "none stated",
    "spoken-digits": "CC BY-SA 4.0",
}
PAGE = ROOT / "docs" / "howto" / "pretrained.md"
FOLDER = ROOT / "python" / "firstspike" / "models" / "weights"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    results: Annotated[Path | None, typer.Option(help="Folder for the runs, one folder each.", file_okay=False)] = None,
    data_root: Annotated[Path | None, typer.Option("--data", help="Folder with the data sets.", exists=True)] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"These nets only: {', '.join(NETS)}.")] = None,
    profile: Annotated[str, typer.Option(help=f"Whose settings: {', '.join(grid.PROFILES)}.")] = "paper",
    to: Annotated[Path | None, typer.Option(help="Folder for the nets; for the profile paper by default the package.")] = None,
    chips: Annotated[bool, typer.Option("--chips", help="Train nothing; run the nets on emulated chips.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Train nothing; compare the page with the records.")] = False,
) -> None:
    """Train what is not trained yet, and write every net with its record, and the table of docs/howto/pretrained.md."""
    if check:
        raise typer.Exit(_update_page(check=True))
    if chips:
        for name in only or models.pretrained().index:
            emulate(name, None if data_root is None else str(data_root))
        raise typer.Exit(_update_page(check=False))
    if results is None:
        raise typer.BadParameter("--results must be given")
    if to is None and profile != "paper":
        raise typer.BadParameter(f"--to must be given for {profile}: the package holds nets of the profile paper")
    folder, root = to or FOLDER, None if data_root is None else str(data_root)
    try:
        runs = {name: run_of(grid.load(profile), name) for name in only or NETS}
    except ValueError as error:
        raise typer.BadParameter(f"--only or --profile: {error}") from None
    missing, origin = [], provenance.record()  # before anything is written here
    for name, run in runs.items():
        asked = f"--results DIR --only {name}" + ("" if profile == "paper" else f" --profile {profile}")
        made = {"written": origin, "command": f"python paper/pretrained.py {asked}"}
        try:
            found = ship(name, run, results / name, made, folder, root)
        except data.NotAvailable as error:
            missing.append(name)
            typer.echo(f"{name}: not made, {error}", err=True)
            continue
        shipped, trained = (100 * found[part]["accuracy"] for part in ("test", "test_as_trained"))
        size = found["bytes"] / 1e6
        typer.echo(f"{name}: {shipped:.2f} % as shipped, {trained:.2f} % as trained, {size:.2f} MB")
    if folder == FOLDER:
        _update_page(check=False)
    if missing:
        raise typer.Exit(NOT_RUN)


def emulate(name: str, root: str | None) -> None:
    """Run a net that comes with the package on the emulated chips, all test images, and keep the results in its record."""
    path = FOLDER / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    run = run_of(grid.load("paper"), name)
    images, test = (job.load(run, root, train=part) for part in (True, False))
    record["chips"], record["chips_measured"] = {}, provenance.record()
    for chip in CHIPS:
        program = emulator.quantize(models.load_pretrained(name), chip, calibration=images.images[:CALIBRATION])
        ran = emulator.run(program, test.images, labels=test.labels)
        try:
            fits: dict[str, Any] = {"placement": emulator.place(program)}
        except emulator.DoesNotFit as error:
            fits = {"refusal": str(error)}
        summary = emulator.report(ran, **fits).summary()
        kept = ("accuracy", "refusal", "latency_steps_mean", "energy_nj_per_image")
        record["chips"][chip] = {key: summary[key] for key in kept}
        if chip == CHIPS[0]:
            record["cost"] = _cost(emulator.counts(ran), summary["latency_steps_mean"])
        typer.echo(f"{name} on {chip}: {100 * summary['accuracy']:.2f} %")
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def _cost(counts: list[LayerCounts], steps: float) -> dict[str, Any]:
    """What an answer costs in integers, beside the same net with ReLU, dense."""
    schedule = "neuron-by-neuron" if counts[0].timing == "windowed" else "clocked"
    return {
        "steps": steps,
        "spikes_per_neuron": sum(layer.spikes for layer in counts) / sum(layer.neurons for layer in counts if layer.steps),
        "schedule": schedule,
        "energy_nj": energy.accounts(counts, TABLE, schedule).total,
        "relu_nj": energy.relu(counts, TABLE),
    }


def table() -> str:
    """The nets that come with the package, as a table in Markdown."""
    about = ["name", "data", "licence of the data", "net"]
    figures = ["T", "parameters", "MB", "test, %", *(f"{chip}, %" for chip in CHIPS), "steps"]
    figures += ["spikes per image", "energy, µJ", "with ReLU, dense, µJ"]
    marks = [":---"] * len(about) + ["---:"] * len(figures)
    lines = [f"| {' | '.join(cells)} |" for cells in (about + figures, marks)]
    for name, row in models.pretrained().iterrows():
        record = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        chips = record.get("chips", {})
        cells = [f"`{name}`", row["data"], LICENCES[row["data"]], row["spec"], str(row["steps"])]
        cells += [f"{row['parameters']:,}", f"{row['MB']:.2f}", f"{row['accuracy']:.2f}"]
        cells += [_on_chip(chips.get(chip)) for chip in CHIPS]
        cells += _cost_cells(record)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cost_cells(record: dict[str, Any]) -> list[str]:
    """Steps to the answer with the input's window, spikes of the float net, and energies; dashes where nothing ran on chips."""
    cost, spikes = record.get("cost"), f"{record['test']['spikes_per_image']:,.0f}"
    if cost is None:
        return ["–", spikes, "–", "–"]
    return [f"{cost['steps']:.0f}", spikes, *(f"{cost[name] / 1e3:.3g}" for name in ("energy_nj", "relu_nj"))]


def _on_chip(result: dict[str, Any] | None) -> str:
    """The accuracy of a result; it is emulated too where the net does not fit."""
    if result is None:
        return "–"
    return f"{100 * result['accuracy']:.2f}{' (does not fit)' if result['refusal'] else ''}"


def _update_page(*, check: bool) -> int:
    command = "python paper/pretrained.py --results DIR"
    return documents.update(
        [PAGE], lambda text: documents.fill(text, "pretrained", lambda words: table()), check=check, command=command
    )


def run_of(profile: grid.Profile, name: str) -> Run:
    """A net of windows, or the first seed of a Table 1 net with the membrane decoder."""
    if name in WINDOWED:
        return Run.of(WINDOWED[name])
    for condition in profile.of("table1"):
        if (condition.setup, condition.label) == (name, ROW):
            return condition.runs[0]
    raise ValueError(f"the profile {profile.name} has no row {ROW!r} of {name} in Table 1")


def ship(name: str, run: Run, results: Path, origin: dict[str, Any], folder: Path, root: str | None = None) -> dict[str, Any]:
    """Train a net in `results`, and write its file and its record into `folder`; returns the record.

    Files of this net that are there already, with the same weights and settings, stay. origin: goes into the record.
    """
    config, datasets = run.config, (job.load(run, root, train=True), job.load(run, root, train=False))
    result = train.fit(config, directory=results, datasets=datasets)
    half = copy.deepcopy(result.model).eval()
    kind = torch.bfloat16 if config.precision == "bfloat16" else torch.float16
    for parameter in half.parameters():
        if parameter.ndim > 1:  # gamma and bias are few, and stay as they are
            parameter.data = parameter.data.to(kind)
            if not bool(parameter.isfinite().all()):
                raise ValueError(f"the weights of {name} exceed the range of {kind}")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "model.safetensors"
        firstspike.save(half, made, result.run.to_dict())
        raw, net = made.read_bytes(), firstspike.load(made)
    digest, file, beside = hashlib.sha256(raw).hexdigest(), folder / f"{name}.safetensors", folder / f"{name}.json"
    if beside.is_file() and file.is_file() and file.read_bytes() == raw:
        found: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        if found["sha256"] == digest:
            return found
    record = {
        "name": name,
        "test": train.evaluate(net, datasets[1]).to_dict(),
        "test_as_trained": result.test.to_dict(),
        "parameters": result.parameters,
        "config": config.to_dict(),
        "data": result.to_dict()["data"],
        "weights": f"{str(kind).removeprefix('torch.')}; gamma and bias float32",
        "bytes": len(raw),
        "sha256": digest,
        "sessions": list(result.sessions),
        **origin,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(raw)
    write_text(beside, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return record


if __name__ == "__main__":
    app()

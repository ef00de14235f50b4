"""Conversion of trained ReLU nets to nets of windows, without retraining: the loss of accuracy by number of steps.

Trains five kinds of ReLU nets with the settings of `conversion.toml`, converts each with `firstspike.convert`, and keeps one JSON
record per net and seed in `results/PROFILE/conversion/records`. The table is made from the records alone. It resumes if
interrupted. `reproduce.py --only conversion` calls it.
"""

from __future__ import annotations

import math
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tools.tables import csv, latex, markdown
from torch import Tensor, nn

import firstspike
from firstspike import data, models, provenance, train
from firstspike.report import write_text

from .job import PACKAGES, backend
from .records import Job, Log, read_job, run_jobs
from .tables.table import mean_and_sd, of_seeds

HERE = Path(__file__).resolve().parent
CAPTION = "Conversion of trained ReLU nets to nets of windows: test accuracy, and its change by T, mean ± sd over seeds."
Shape = tuple[int, ...]


class Block(nn.Module):
    """Two convolutions with batch normalisation, and a 1x1 convolution as the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.side = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps of x, [B, C, H, W]."""
        y: Tensor = self.relu(self.body(x) + self.side(x))
        return y


def resnet(shape: Shape) -> nn.Module:
    """Eight layers: a convolution, three blocks, a fully connected layer."""
    first = nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    blocks = Block(16, 16, 2), Block(16, 32, 2), Block(32, 64, 1)
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def depthwise(shape: Shape) -> nn.Module:
    """A convolution, and three pairs of a depthwise and a 1x1 convolution."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    for inputs, outputs, stride in ((32, 64, 2), (64, 64, 2), (64, 128, 1)):
        layers += [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
        ]
        layers += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def _of_spec(spec: str, normalization: bool = False) -> Callable[[Shape], nn.Module]:
    return lambda shape: models.relu_counterpart(spec.format(math.prod(shape)), input_shape=shape, normalization=normalization)


#: The nets by name: from the shape of an image to a net with weights drawn from torch's generator.
NETS: dict[str, Callable[[Shape], nn.Module]] = {
    "MLP, {}-256-256-10": _of_spec("{}-256-256-10"),
    "CNN, 32C3-AP2-64C3-AP2-256-10": _of_spec("32C3-AP2-64C3-AP2-256-10"),
    "VGG-like, batch normalisation, max pooling": _of_spec("16C3-16C3-MP2-32C3-32C3-MP2-128-10", normalization=True),
    "ResNet-8, 1x1 shortcuts": resnet,
    "depthwise, 1x1 convolutions": depthwise,
}


def jobs(profile: str) -> list[Job]:
    """All runs of a profile, as plain values, seed by seed."""
    whole = tomllib.loads((HERE / "conversion.toml").read_text(encoding="utf-8"))
    part, shared = whole[profile], {name: whole[name] for name in ("steps", "calibration")}
    return [{"net": net, "config": {**part["config"], "seed": seed}, **shared} for seed in part["seeds"] for net in NETS]


def measure(job: Job, folder: Path, root: str | None) -> Job:
    """Train (or find) the net, convert it for each number of steps, and measure all on the test images."""
    config = train.Config.from_dict(job["config"])
    images, test = (data.load(config.data, root=root, train=part) for part in (True, False))
    torch.manual_seed(config.seed)
    net = NETS[job["net"]](images.input_shape)
    result = train.fit(
        config,
        directory=folder,
        datasets=(images, test),
        model=net,
        tag=job["net"],
        progress=False,
    )
    given = images.images[: job["calibration"]] / 255  # as `train.fit` gives pixels to its nets
    converted = {}
    for steps in job["steps"]:
        began = time.perf_counter()
        windows: Any = firstspike.convert(net, given, steps=steps)
        seconds = time.perf_counter() - began
        measured = train.evaluate(windows, test)
        converted[str(steps)] = {
            "accuracy": 100 * measured.accuracy,
            "layers": windows.report.to_dict("records"),
            "seconds": round(seconds, 3),
        }
    return {
        **job,
        "parameters": result.parameters,
        "images": len(test),
        "relu": 100 * result.test.accuracy,
        "converted": converted,
        "sessions": list(result.sessions),
        "provenance": {
            "commit": provenance.commit(HERE.parent, (".", ":!paper/results")),
            "versions": provenance.versions(PACKAGES),
            "machine": provenance.machine(),
            "backend": backend(),
        },
    }


def table(profile: str, folder: Path) -> pd.DataFrame:
    """Accuracy of each ReLU net, and the change by conversion in points, by number of steps: mean ± sd over seeds."""
    todo, rows = jobs(profile), []
    found = [record for job in todo if (record := read_job(path_of(folder, job), job)) is not None]
    for net in NETS:
        asked = [job for job in todo if job["net"] == net]
        records = [record for record in found if record["net"] == net]
        shape = {"digits": 64}.get(asked[0]["config"]["data"], 784)
        row: dict[str, Any] = {
            "net": net.format(shape),
            "parameters": f"{records[0]['parameters']:,}" if records else "–",
        }
        row["ReLU, %"] = _cell([record["relu"] for record in records], len(asked), sign=False)
        for steps in asked[0]["steps"]:
            changes = [record["converted"][str(steps)]["accuracy"] - record["relu"] for record in records]
            row[f"T = {steps}, points"] = _cell(changes, len(asked), sign=True)
        row["commit"] = ", ".join(dict.fromkeys(str(record["provenance"]["commit"])[:7] for record in records)) or "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(values: list[float], asked: int, *, sign: bool) -> str:
    if not values:
        return "not run"
    mean, sd = pd.Series(values).mean(), pd.Series(values).std()
    return of_seeds(("+" if sign and mean >= 0 else "") + mean_and_sd(mean, sd), len(values), asked)


def path_of(folder: Path, job: Job) -> Path:
    """Where the record of a job is or would be."""
    name = "".join(letter if letter.isalnum() else "-" for letter in job["net"].split(",")[0].lower())
    return folder / "records" / f"{job['config']['data']}-{name}-s{job['config']['seed']}.json"


def make(profile: str, folder: Path, root: str | None, *, report_only: bool, keep: bool, log: Log) -> int:
    """Run the jobs that have no record yet, then write the table; return the number of missing runs.

    The arguments are those of `emulator_tables.make`.
    """
    todo = {path_of(folder, job): job for job in jobs(profile)}

    def run(path: Path, job: Job) -> Job:
        return measure(job, folder / "nets" / path.stem, root)

    def tell(record: Job) -> str:
        lost = {steps: round(each["accuracy"] - record["relu"], 2) for steps, each in record["converted"].items()}
        return f"{record['net']}, seed {record['config']['seed']}: {record['relu']:.2f} %, {lost}"

    missing = run_jobs(todo, run, tell, folder, report_only=report_only, keep=keep, log=log)
    made, stem = table(profile, folder), folder / "tables" / "conversion"
    write_text(stem.with_suffix(".csv"), csv(made))
    write_text(stem.with_suffix(".md"), markdown(made))
    write_text(stem.with_suffix(".tex"), latex(made, CAPTION, "tab:conversion"))
    if missing:
        log(f"{missing} of {len(todo)} conversions are missing")
    return missing

"""What would lower the energy of nets that ship: `inspect.advise` on all test images of each net.

Keeps one JSON record per net in `results/PROFILE/advice/records`; the tables in docs/howto/less-energy.md are made from them
alone. A record of other weights counts as none. `reproduce.py` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

from firstspike import data, energy, inspect, models, nn, provenance
from firstspike.report import MISSING

from .emulator_tables import INTEGER
from .records import Job, Log, read_job, run_jobs

#: Nets by profile; with a number, run with so many input steps in place of those that it was trained with.
NETS: dict[str, tuple[tuple[str, int | None], ...]] = {
    "paper": (("fashion-windowed", 255), ("mnist-windowed", None), ("mnist-mlp", None), ("fashion-cnn", None)),
}
COLUMNS = ("change", "steps", "energy, nJ", "share", "accuracy, %", "choice, %")
_KEPT = ("change", "steps", "energy_nj", "share", "accuracy", "choice_accuracy")
_COUNTED = 100


def jobs(profile: str) -> Iterator[Job]:
    """All runs of a profile, as plain values."""
    for net, input_steps in NETS.get(profile, ()):
        shipped = json.loads(models.pretrained_file(net).with_suffix(".json").read_text(encoding="utf-8"))
        yield {"net": net, "sha256": shipped["sha256"], "input_steps": input_steps, "config": shipped["config"]}


def measure(job: Job, images: torch.Tensor, labels: torch.Tensor) -> Job:
    """The record of a job: the rows of the advice that have figures, and the energies of the other schedules and of ReLU."""
    net = models.load_pretrained(job["net"])
    if job["input_steps"] is not None:
        net.encoder = nn.WindowedEncoder(job["input_steps"])
    advice = inspect.advise(net, images, labels, INTEGER, counted=_COUNTED)
    rows = advice.loc[advice["energy_nj"].notna(), list(_KEPT)].astype({"steps": int})
    beside = energy.compare(inspect.counts(net, images[:_COUNTED]), INTEGER)
    ours = beside[beside["model"] == "operations"]
    energies = {"relu_nj": advice.attrs["relu_nj"], "schedules_nj": dict(zip(ours["schedule"], ours["net"], strict=True))}
    return {**job, "images": len(images), "rows": rows.to_dict("records"), **energies, "provenance": provenance.record()}


def table(profile: str, folder: Path, net: str, input_steps: int | None) -> pd.DataFrame:
    """One row per change, then the unchanged net neuron by neuron, and with ReLU; the row "not run" alone without a record."""
    job = next(job for job in jobs(profile) if (job["net"], job["input_steps"]) == (net, input_steps))
    record = read_job(_path(folder, job), job)
    if record is None:
        return pd.DataFrame([["not run", *[MISSING] * (len(COLUMNS) - 1)]], columns=COLUMNS)
    rows = [
        (
            row["change"],
            str(row["steps"]),
            f"{row['energy_nj']:,.0f}",
            f"{row['share']:.2f}",
            f"{100 * row['accuracy']:.2f}",
            f"{100 * row['choice_accuracy']:.2f}",
        )
        for row in record["rows"]
    ]
    others = {"none, neuron by neuron": record["schedules_nj"].get("neuron-by-neuron"), "with ReLU, dense": record["relu_nj"]}
    whole = record["rows"][0]["energy_nj"]
    rows += [(name, "", f"{value:,.0f}", f"{value / whole:.2f}", "", "") for name, value in others.items() if value is not None]
    return pd.DataFrame(rows, columns=COLUMNS)


def make(profile: str, folder: Path, root: str | None, *, report_only: bool, keep: bool, log: Log) -> int:
    """Run the jobs that have no record yet; return the number of missing runs. The arguments are those of `chips.make`."""

    def run(_: Path, job: Job) -> Job:
        test = data.load(job["config"]["data"], train=False, root=root)
        return measure(job, test.images, test.labels)

    def tell(record: Job) -> str:
        best = record["rows"][1]
        return f"{record['net']}: {best['change']}, {100 * best['share']:.0f} % of the energy"

    todo = {_path(folder, job): job for job in jobs(profile)}
    return run_jobs(todo, run, tell, folder, report_only=report_only, keep=keep, log=log)


def _path(folder: Path, job: Job) -> Path:
    window = "" if job["input_steps"] is None else f"-{job['input_steps']}"
    return folder / "records" / f"{job['net']}{window}.json"

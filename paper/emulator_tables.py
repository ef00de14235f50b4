"""The emulator's tables: accuracy by weight bits, energy and latency by chip profile, and the emulator's own speed.

    python paper/emulator_tables.py --profile quick

Trains the nets of `emulator.toml` (once: `train.fit` resumes and remembers), quantises each for every chip and width,
with and without fine-tuning, runs all test images, and keeps one JSON record a run in
`results/PROFILE/emulator/records`. Tables and the page `emulator.html` are made from the records alone. Killed, the
same command goes on.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import typer

from firstspike import data, train
from firstspike import emulator as em
from firstspike.data.cache import write_atomic
from firstspike.emulator import qat
from firstspike.emulator.run import input_times
from paper.emulator_page import write

HERE = Path(__file__).resolve().parent
Job = dict[str, Any]

app = typer.Typer(add_completion=False)


def jobs(profile: str) -> Iterator[Job]:
    """All runs of a profile, as plain values."""
    whole = tomllib.loads((HERE / "emulator.toml").read_text(encoding="utf-8"))
    if not isinstance(whole.get(profile), dict):
        raise ValueError(f"profile must be one of smoke, quick, paper, got {profile!r}")
    part = whole[profile]
    for net, settings in part["nets"].items():
        for seed in part["seeds"]:
            for chip in whole["chips"]:
                for bits in whole["weight_bits"]:
                    for tuned in (False, True):
                        if bits <= em.profile.load(chip).weight_bits:
                            yield {"net": net, "config": {**settings, "bias": False, "seed": seed}, "chip": chip,
                                   "bits": bits, "tuned": tuned, "tune_images": part["tune_images"],
                                   "tune_epochs": part["tune_epochs"]}  # fmt: skip


def key(values: Any) -> str:
    """A short name for plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def measure(job: Job, folder: Path, root: str | None) -> Job:
    """Train (or find) the net, quantise, run, and return the record."""
    config = train.Config.from_dict(job["config"])
    place = folder / "nets" / key(config.to_dict())
    train.fit(config, directory=place, root=root, progress=False)
    trained = train.load_model(place)
    images, test = (data.load(config.data, root=root, train=part) for part in (True, False))
    model: Any = trained.model
    began = time.perf_counter()
    if job["tuned"]:
        few = images.subset(slice(0, min(job["tune_images"], len(images))))
        model = qat.prepare(model, job["chip"], bits=job["bits"])
        draw = torch.Generator().manual_seed(config.seed)
        qat.finetune(model, few.images, few.labels, epochs=job["tune_epochs"], pixels=trained.pixels, generator=draw)
    tuning = time.perf_counter() - began
    calibration = trained.pixels(images.images[:200])
    program = em.quantize(model, job["chip"], bits=job["bits"], pixels=trained.pixels, calibration=calibration)
    try:
        placement, refusal = em.place(program), None
    except em.DoesNotFit as error:
        placement, refusal = None, str(error)
    with torch.inference_mode():
        answers = torch.cat([trained.model(trained.pixels(x)).argmax(1) for x in test.images.split(500)]).numpy()
    ran = em.run(program, test.images, labels=test.labels)
    own = program.profile.energy
    tables = [own, "45nm-integer"] if own not in (None, "45nm-integer") else ["45nm-integer"]
    report = em.report(ran, placement=placement, refusal=refusal, tables=[*tables], float_predictions=answers)
    core, times = program.core(), input_times(program, test.images)
    began = time.perf_counter()
    core.run(times)
    return {**job, "summary": report.summary(), "energy": json.loads(report.to_json())["energy"], "tables": tables,
            "seconds": time.perf_counter() - began, "images": len(test), "tuning seconds": tuning}  # fmt: skip


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def main(
    profile: Annotated[str, typer.Option(help="smoke, quick or paper.")] = "quick",
    results: Annotated[Path | None, typer.Option(help="Folder for results; by default paper/results.")] = None,
    data_root: Annotated[str | None, typer.Option("--data", help="Folder with the data sets.")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Run nothing; make tables and page anew.")] = False,
) -> None:
    """Run what has no record yet, then write tables and page. Options of reproduce.py that it lacks are ignored."""
    folder = (results or HERE / "results") / profile / "emulator"
    todo, missing = list(jobs(profile)), {}
    for number, job in enumerate(todo):
        path = folder / "records" / f"{key(job)}.json"
        if report_only or path.is_file():
            continue
        try:
            record = measure(job, folder, data_root)
        except (em.CannotQuantize, data.NotAvailable) as error:
            missing[key(job)] = str(error)
            typer.echo(f"not run: {job['net']} on {job['chip']}: {error}", err=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())
        told = f"{job['net']}, {job['chip']}, {job['bits']} bits{', tuned' if job['tuned'] else ''}"
        typer.echo(f"{number + 1}/{len(todo)} {told}: {record['summary']['accuracy']:.4f}", err=True)
    found = [folder / "records" / f"{key(job)}.json" for job in todo]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
    typer.echo(f"report: {write(folder, records, missing)}")


if __name__ == "__main__":
    app()

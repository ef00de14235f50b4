"""The emulator's tables: accuracy by weight bits, energy and latency by chip profile, and the emulator's own speed.

    python paper/emulator_tables.py --profile quick

Trains the nets of `emulator.toml` (once: `train.fit` resumes and remembers), quantises each for every chip and width,
with and without fine-tuning, runs all test images, and keeps one JSON record per run in
`results/PROFILE/emulator/records`. Tables and the page `emulator.html` are made from the records alone. It
resumes if interrupted. It takes all options of reproduce.py, as both get the same ones: where they choose runs
(`--only`, `--setup`, `--row`, `--seed`) it does nothing, the others that `--help` leaves out have no effect.
Exit status: 0 where everything was run, 3 where some runs were not, 2 for a wrong argument.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from firstspike import data, models, nn, train
from firstspike import emulator as em
from firstspike._base import provenance
from firstspike._base.checks import one_of
from firstspike.report import write_text
from paper.checkout import here, made_here
from paper.emulator_page import write
from paper.grid import PROFILES
from paper.job import fit
from paper.options import check_data, check_results
from paper.session import NOT_RUN

HERE = Path(__file__).resolve().parent
SECOND = {"loihi-like": ("loihi-sanafe",)}  # energy tables beside the profile's own
INTEGER = "45nm-integer"  # the energy table that all chips are compared by
Job = dict[str, Any]

app = typer.Typer(add_completion=False)


def jobs(profile: str) -> Iterator[Job]:
    """All runs of a profile, as plain values."""
    whole = tomllib.loads((HERE / "emulator.toml").read_text(encoding="utf-8"))
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


@dataclass(frozen=True)
class Net:
    """A trained net, its data, and its own predictions for the test images, in float32; the sessions that trained it."""

    trained: train.Trained
    sessions: tuple[dict[str, Any], ...]
    images: data.Dataset
    test: data.Dataset
    predictions: NDArray[np.int64]


def prepare(settings: dict[str, Any], folder: Path, root: str | None) -> Net:
    """Train (or find) the net of a job's `config`; NotAvailable where its data are not there."""
    config = train.Config.from_dict(settings)
    images, test = (data.load(config.data, root=root, train=part) for part in (True, False))
    place = folder / "nets" / key(config.to_dict())
    result = fit(config, place, (images, test))
    trained = train.load_model(place)
    return Net(trained, result.sessions, images, test, trained.predict(test.images).numpy())


def measure(job: Job, net: Net) -> Job:
    """Quantise the net as the job says, run all test images, and return the record."""
    normalize, images, test = net.trained.normalize, net.images, net.test
    model: Any = net.trained.model
    began = time.perf_counter()
    if job["tuned"]:
        few = images.subset(slice(0, min(job["tune_images"], len(images))))
        model = em.qat.prepare(model, job["chip"], bits=job["bits"])
        draw = torch.Generator().manual_seed(job["config"]["seed"])
        em.qat.finetune(model, normalize(few.images), few.labels, epochs=job["tune_epochs"], generator=draw)
    tuning = time.perf_counter() - began
    if normalize.mean is not None and normalize.std is not None:
        model = models.as_net(model)
        model.normalize = nn.Normalize(normalize.mean, normalize.std)
    program = em.quantize(model, job["chip"], bits=job["bits"], calibration=images.images[:200])
    try:
        placement, refusal = em.place(program), None
    except em.DoesNotFit as error:
        placement, refusal = None, str(error)
    ran = em.run(program, test.images, labels=test.labels)
    tables = list(dict.fromkeys([program.profile.energy or INTEGER, *SECOND.get(job["chip"], ()), INTEGER]))
    report = em.report(ran, placement=placement, refusal=refusal, tables=tables, float_predictions=net.predictions)
    core, times = program.engine(), program.input_times(test.images)
    began = time.perf_counter()
    core.run(times)
    return {**job, "summary": report.summary(), "energy": json.loads(report.to_json())["energy"], "tables": tables,
            "seconds": time.perf_counter() - began, "images": len(test), "tuning_seconds": tuning,
            "settings": net.trained.config.to_dict(), "sessions": list(net.sessions),
            "provenance": {**report.origin, "commit": provenance.commit(HERE.parent, (".", ":!paper/results"))},
            }  # fmt: skip


def read(path: Path, job: Job) -> Job | None:
    """The record of a job; None where there is none, or one that is damaged or of other settings."""
    try:
        record: Job = json.loads(path.read_text(encoding="utf-8"))
        same = all(record[name] == value for name, value in job.items())
        settings = record["settings"] if "settings" in record else job["config"]  # older records have no others
        same = same and train.Config.from_dict(settings) == train.Config.from_dict(job["config"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return record if same else None


@app.command()
def main(
    profile: Annotated[str, typer.Option(help=f"How much is run: {', '.join(PROFILES)}.")] = "quick",
    results: Annotated[Path | None, typer.Option(help="Folder for results; by default paper/results.")] = None,
    data_root: Annotated[str | None, typer.Option("--data", help="Folder with the data sets.")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Run nothing; make tables and page anew.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Count records that came with the repository; else they are made anew.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    setup: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    row: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    seed: Annotated[list[int] | None, typer.Option(hidden=True)] = None,
    executor: Annotated[str | None, typer.Option(hidden=True)] = None,
    address: Annotated[str | None, typer.Option(hidden=True)] = None,
    workers: Annotated[int | None, typer.Option(hidden=True)] = None,
    large: Annotated[bool, typer.Option("--large", hidden=True)] = False,
    png: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run what has no record yet, then write tables and page."""
    try:
        one_of("--profile", profile, PROFILES)
        todo = {key(job): job for job in jobs(profile)}
        check_data(data_root)
        check_results(results)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if only or setup or row or seed:
        typer.echo("The emulator's tables are left as they are: runs of the reproduction were chosen.", err=True)
        return
    folder = (results or HERE / "results") / profile / "emulator"
    records = {name: folder / "records" / f"{name}.json" for name in todo}
    found = {name: record for name, job in todo.items() if (record := read(records[name], job)) is not None}
    if not (keep or report_only):
        found = {name: record for name, record in found.items() if made_here(record, folder)}
    reasons = {} if report_only else _run(todo, records, found, folder, data_root)
    missing = {name: reasons.get(name, "no record yet") for name in todo if name not in found}
    typer.echo(f"report: {write(folder, todo, found, missing)}")
    if missing:
        typer.echo(f"{len(missing)} of {len(todo)} runs are missing; the report says why.", err=True)
        raise typer.Exit(NOT_RUN)


def _run(
    todo: dict[str, Job], records: dict[str, Path], found: dict[str, Job], folder: Path, root: str | None
) -> dict[str, str]:
    """Write, and add to `found`, a record for each job that has none; why not, by key, where that could not be done."""
    reasons: dict[str, str] = {}
    absent: dict[str, str] = {}  # data sets, looked for once
    waiting = {name: job for name, job in todo.items() if name not in found}
    for settings, group in groupby(waiting.items(), key=lambda item: item[1]["config"]):
        names = [name for name, _ in group]
        try:
            net = None if settings["data"] in absent else prepare(settings, folder, root)
        except data.NotAvailable as error:
            typer.echo(f"not run: {error}", err=True)
            net, absent[settings["data"]] = None, str(error)
        except Exception as error:  # one net stops no other
            traceback.print_exc()
            reasons |= dict.fromkeys(names, f"training failed: {type(error).__name__}: {error}")
            continue
        if net is None:
            reasons |= dict.fromkeys(names, absent[settings["data"]])
            continue
        for name in names:
            job = todo[name]
            told = f"{job['net']}, {job['chip']}, {job['bits']} bits{', tuned' if job['tuned'] else ''}"
            try:
                record = {"checkout": here(folder), **measure(job, net)}
            except em.CannotQuantize as error:
                typer.echo(f"not run: {told}: {error}", err=True)
                reasons[name] = str(error)
                continue
            except Exception as error:  # one run stops no other
                traceback.print_exc()
                reasons[name] = f"failed: {type(error).__name__}: {error}"
                continue
            write_text(records[name], json.dumps(record, indent=1) + "\n")
            found[name] = record
            number = list(todo).index(name) + 1
            typer.echo(f"{number}/{len(todo)} {told}: {record['summary']['accuracy']:.4f}", err=True)
    return reasons


if __name__ == "__main__":
    app()

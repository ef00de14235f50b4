"""The emulator's table: accuracy by chip profile and weight bits. Energies stand in the table of chips (chips.py).

Trains the nets of `emulator.toml` (once: `train.fit` resumes and remembers), quantises each for every chip and width,
with and without fine-tuning, runs all test images, and keeps one JSON record per run in
`results/PROFILE/emulator/records`. The table and the page `emulator.html` are made from the records alone. It
resumes if interrupted. `reproduce.py` calls it.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from firstspike import data, provenance, train
from firstspike import emulator as em
from firstspike.report import write_text

from .emulator_page import write
from .job import fit
from .records import Job, Log, here, made_here, read_job
from .runs import Run

HERE = Path(__file__).resolve().parent
INTEGER = "45nm-integer"  # the energy table that all chips are compared by


def jobs(profile: str) -> Iterator[Job]:
    """All runs of a profile, as plain values."""
    whole = tomllib.loads((HERE / "emulator.toml").read_text(encoding="utf-8"))
    part = whole[profile]
    tuning = {name: part[name] for name in ("tune_images", "tune_epochs")}
    grid = product(part["nets"].items(), part["seeds"], whole["chips"], whole["weight_bits"], (False, True))
    for (net, settings), seed, chip, bits, tuned in grid:
        if bits <= em.profile.load(chip).weight_bits:
            config = {**settings, "bias": False, "seed": seed}
            yield {"net": net, "config": config, "chip": chip, "bits": bits, "tuned": tuned, **tuning}


def key(values: Any) -> str:
    """A short name for plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Net:
    """A trained net, the sessions that trained it, its data, and its predictions for the test images, in float32."""

    net: nn.Module
    config: train.Config
    sessions: tuple[dict[str, Any], ...]
    images: data.Dataset
    test: data.Dataset
    predictions: NDArray[np.int64]


def prepare(settings: dict[str, Any], folder: Path, root: str | None) -> Net:
    """Train (or find) the net of a job's `config`; NotAvailable where its data are not there."""
    config = Run.of(settings).config
    images, test = (data.load(config.data, root=root, train=part) for part in (True, False))
    place = folder / "nets" / key(config.to_dict())
    result = fit(config, place, (images, test))
    net = train.load_model(place)
    return Net(net, config, result.sessions, images, test, train.predict(net, test.images).numpy())


def measure(job: Job, net: Net) -> Job:
    """Quantise the net as the job says, run all test images, and return the record."""
    images, test, model = net.images, net.test, net.net
    if job["tuned"]:
        few = images.subset(slice(0, min(job["tune_images"], len(images))))
        model = em.qat.prepare(model, job["chip"], bits=job["bits"], first_layer="float")
        draw = torch.Generator().manual_seed(job["config"]["seed"])
        em.qat.finetune(model, few.images, few.labels, epochs=job["tune_epochs"], generator=draw)
    program = em.quantize(
        model,
        job["chip"],
        bits=job["bits"],
        calibration=images.images[:200],
        first_layer=job.get("first_layer", "float"),
    )
    try:
        placement, refusal = em.place(program), None
    except em.DoesNotFit as error:
        placement, refusal = None, str(error)
    ran = em.run(program, test.images, labels=test.labels)
    tables = [program.profile.energy or INTEGER]
    report = em.report(ran, placement=placement, refusal=refusal, tables=tables, float_predictions=net.predictions)
    return {**job, "summary": report.summary(), "energy": json.loads(report.to_json())["energy"], "tables": tables,
            "settings": net.config.to_dict(), "sessions": list(net.sessions),
            "provenance": {**report.origin, "commit": provenance.commit(HERE.parent, (".", ":!paper/results"))},
            }  # fmt: skip


def make(profile: str, folder: Path, root: str | None, *, report_only: bool, keep: bool, log: Log) -> int:
    """Run the jobs that have no record yet, then write table and page; return the number of missing runs.

    root: folder with the data sets. keep: records of other checkouts count, too.
    """
    todo = {key(job): job for job in jobs(profile)}
    records = {name: folder / "records" / f"{name}.json" for name in todo}
    found = {name: record for name, job in todo.items() if (record := read_job(records[name], job)) is not None}
    if not (keep or report_only):
        found = {name: record for name, record in found.items() if made_here(record, folder)}
    waiting = {} if report_only else {name: job for name, job in todo.items() if name not in found}
    reasons: dict[str, str] = {}
    absent: dict[str, str] = {}  # data sets, looked for once
    for settings, group in groupby(waiting.items(), key=lambda item: item[1]["config"]):
        names = [name for name, _ in group]
        if settings["data"] not in absent:
            try:
                net = prepare(settings, folder, root)
            except data.NotAvailable as error:
                log(f"not run: {error}")
                absent[settings["data"]] = str(error)
            except Exception as error:  # one net stops no other
                traceback.print_exc()
                reasons |= dict.fromkeys(names, f"training failed: {type(error).__name__}: {error}")
                continue
        if settings["data"] in absent:
            reasons |= dict.fromkeys(names, absent[settings["data"]])
            continue
        for name in names:
            job = todo[name]
            text = f"{job['net']}, {job['chip']}, {job['bits']} bits{', tuned' if job['tuned'] else ''}"
            try:
                found[name] = {"checkout": here(folder), **measure(job, net)}
            except Exception as error:  # one run stops no other
                refused = isinstance(error, em.CannotQuantize)
                reasons[name] = str(error) if refused else f"failed: {type(error).__name__}: {error}"
                log(f"not run: {text}: {reasons[name]}")
                continue
            write_text(records[name], json.dumps(found[name], indent=1) + "\n")
            log(f"{list(todo).index(name) + 1}/{len(todo)} {text}: {found[name]['summary']['accuracy']:.4f}")
    missing = {name: reasons.get(name, "no record yet") for name in todo if name not in found}
    log(f"report: {write(folder, todo, found, missing)}")
    if missing:
        log(f"{len(missing)} of {len(todo)} emulator runs are missing; the report says why")
    return len(missing)
